"""The whole LASER loop on Pong, started from Python: what `loop` and `startup` measure."""

from __future__ import annotations

from tools.bench.running import Ran, edge, go, node

GAME = "pong"
BATCH = 32
LEAST = 640  # steps stored before the first sample: replay must have begun before what is measured


def laser_run(
    share: float,
    until: dict[str, float],
    *,
    lanes: int = 32,
    network: str = "small",
    steady: tuple[str, float] | None = None,
) -> Ran:
    """Run it: actor and replay in one worker, everything with a network in another.

    Args:
      share: of replayed unrolls in the learner's batch; 0 is one pass for each online frame.
      steady: see `go`.
    """
    model = {"game": GAME, "network": network}
    nodes = [
        node("actor", "nodes.env.atari:actor", game=GAME, lanes=lanes),
        node("policy", "nodes.serve.policy:policy", **model),
        node("replay", "nodes.replay.trajectories:replay", unrolls=max(1, round(BATCH * share)), least_steps=LEAST),
        node("replayer", "nodes.learn.replayer:replayer", **model),
        node(
            "learner",
            "nodes.learn.laser:learner",
            **model,
            learning_rate=6e-4,
            entropy_cost=0.01,
            replay_share=share,
            batch=BATCH,
        ),
    ]
    edges = [
        edge("actor.policy", "policy.requests"),
        edge("actor.trajectories", "learner.online", mode="copy", credit=2),
        edge("actor.trajectories", "replay.inserts", mode="copy"),
        edge("replay.samples", "replayer.stored", credit=1),
        edge("replayer.replayed", "learner.replayed", credit=1),
        edge("learner.weights", "policy.weights"),
        edge("learner.weights", "replayer.weights"),
    ]
    places = {"actor": ["actor", "replay"], "model": ["policy", "replayer", "learner"]}
    return go(nodes, edges, places, until, steady=steady, memory=True)
