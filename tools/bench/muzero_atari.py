"""Measure MuZero's acting on Atari: planned actions a second, beside the same search without flow and bare network.

    python -m tools.bench.muzero_atari                       two minutes
    python -m tools.bench.muzero_atari --lanes 8 --groups 2

Actor, planner and model are those of graphs/muzero_atari.toml with its settings, the network fresh; nothing is learned
meanwhile. An environment step is an action of the agent, four frames. "The same search without flow" does what they do
in one thread: emulator, trees, network. "Bare network calls" are its representation once and its dynamics and
prediction once a simulation, on batches of one group's lanes, with no tree and no game. Like a worker, both compute
with one thread: what flow does on the other core meanwhile, emulator and trees, is in its favour.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import numpy as np

from tools.bench.running import edge, go, node
from tools.bench.table import Figures, interleaved, print_table

GRAPH = Path(__file__).parents[2] / "graphs" / "muzero_atari.toml"
TARGET = 60.0
WARM_S = 4.0
FLOW, SEARCH, CALLS = "flow: actor, planner, model", "the same search without flow", "bare network calls"
NODES = "tools.bench.nodes_for_muzero"


def main() -> None:
    """Parse the command line, measure, and print the table."""
    params = tomllib.loads(GRAPH.read_text())["params"]
    parser = argparse.ArgumentParser(prog="python -m tools.bench.muzero_atari", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds, A B A B (default 3)")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each measurement (default 10)")
    for name in ("lanes", "groups", "simulations", "side", "history", "width", "blocks", "bins"):
        parser.add_argument(f"--{name}", type=int, default=params[name], help="default %(default)s, as in the graph")
    parser.add_argument("--game", default=params["game"], help="default %(default)s, as in the graph")
    parser.add_argument("--bare", choices=["search", "calls"], help="only that; prints steps/s and CPU-ms a step")
    options = parser.parse_args()
    if options.bare:
        print(*bare(options))
        return
    figures = Figures()
    cases = [lambda: flow_case(figures, options)]
    cases += [lambda what=what, name=name: bare_case(figures, what, name) for what, name in
              (("search", SEARCH), ("calls", CALLS))]  # fmt: skip
    interleaved(options.rounds, cases)
    figures.hold(FLOW, "steps/s", TARGET)
    figures.relate(FLOW, "CPU-ms", SEARCH)
    figures.relate(SEARCH, "steps/s", CALLS)
    print_table(figures, ("flow-research", "torch", "ale-py", "numba", "numpy"))


def task_of(options: argparse.Namespace) -> str:
    """The game as nodes name it."""
    return f"atari:{options.game}(history={options.history},side={options.side},colour=false,all_actions=false)"


def flow_case(figures: Figures, options: argparse.Namespace) -> None:
    """One run."""
    game = task_of(options)
    network: dict[str, Any] = {
        "game": game, "network": "atari", "width": options.width, "blocks": options.blocks, "bins": options.bins,
    }  # fmt: skip
    nodes = [
        node("actor", "nodes.env.atari_planned:actor", game=game, lanes=options.lanes, groups=options.groups),
        node("planner", "nodes.plan.muzero:planner", simulations=options.simulations, discount=0.997,
             two_players=False, noise_alpha=0.25, searches=options.groups),
        node("model", "nodes.serve.muzero:model", **network, device="cpu"),
        node("weights", f"{NODES}:fresh_weights", **network),
        node("sink", f"{NODES}:game_sink"),
    ]  # fmt: skip
    edges = [
        edge("actor.planner", "planner.requests"),
        edge("planner.roots", "model.roots"),
        edge("planner.steps", "model.steps"),
        edge("actor.games", "sink.games"),
        edge("weights.weights", "model.weights"),
    ]
    places = {"play": ["actor", "planner", "model"], "rest": ["weights", "sink"]}
    ran = go(nodes, edges, places, {"minutes": 3}, steady=("moves", options.seconds + WARM_S))
    moves, wall, cpu = ran.between("moves", WARM_S)
    figures.add(FLOW, "steps/s", moves / wall)
    figures.add(FLOW, "CPU-ms", 1e3 * cpu / moves)


def bare_case(figures: Figures, what: str, name: str) -> None:
    """What is beside it, in a process of its own."""
    command = [sys.executable, "-m", "tools.bench.muzero_atari", *sys.argv[1:], "--bare", what]
    out = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    rate, cpu = (float(word) for word in out.split()[-2:])
    figures.add(name, "steps/s", rate)
    figures.add(name, "CPU-ms", cpu)


def bare(options: argparse.Namespace) -> tuple[float, float]:
    """Steps a second and CPU-ms a step of one loop."""
    import torch  # the runs above do not need it in this process

    from nodes.games.atari import Emulator, atari_task
    from nodes.serve.muzero import Served

    torch.set_num_threads(1)
    torch.manual_seed(0)
    task = atari_task(task_of(options))
    served = Served(task.observation_shape, task.actions, "atari", options.width, options.blocks, options.bins,
                    action_planes=task.action_planes())  # fmt: skip
    emulator = Emulator(task, options.lanes, 0)
    act = _Searching(served, emulator, options.simulations) if options.bare == "search" else None
    calls = _Calling(served, emulator.observations(), options.simulations)
    work = act or calls
    work()
    began, cpu, steps = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - began < options.seconds:
        work()
        steps += options.lanes
    return steps / (time.perf_counter() - began), 1e3 * (time.process_time() - cpu) / steps


class _Calling:
    """A search's calls of the network, and nothing else."""

    def __init__(self, served: Any, seen: np.ndarray, simulations: int) -> None:
        import torch

        self._network, self._simulations = served.network, simulations
        self._seen, self._actions = torch.from_numpy(seen), torch.zeros(len(seen), dtype=torch.int64)

    def __call__(self) -> None:
        import torch

        with torch.inference_mode():
            hidden = self._network.represent(self._seen)
            self._network.predict(hidden)
            for _ in range(self._simulations):
                hidden, _ = self._network.dynamics(hidden, self._actions)
                self._network.predict(hidden)


class _Searching:
    """What actor, planner and model do, in one thread."""

    def __init__(self, served: Any, emulator: Any, simulations: int) -> None:
        self._served, self._emulator, self._simulations = served, emulator, simulations
        self._rng = np.random.default_rng(0)

    def __call__(self) -> None:
        from nodes.algo.puct import Rules, Trees, kernel_named
        from nodes.algo.root import choose, priors_of, with_noise
        from nodes.games.messages import Roots, Steps

        seen = self._emulator.observations()
        rows = len(seen)
        nobody = np.zeros(rows, np.int64)
        slots = np.arange(rows) * (self._simulations + 1)
        root = self._served.roots(Roots(seen, nobody, slots), rows)
        everyone = np.ones(rows, bool)
        noisy = with_noise(priors_of(root.logits), everyone, 0.25, 0.25, self._rng)
        trees = Trees(noisy, self._simulations, Rules(0.997), kernel_named("auto"))
        while not trees.full:
            parents, actions = trees.select()
            said = self._served.steps(
                Steps(nobody, slots + parents, actions.astype(np.int64), slots + trees.size), rows
            )
            trees.expand(said.rewards, priors_of(said.logits), said.values)
        self._emulator.step(choose(trees.root_visits(), np.ones(rows), self._rng))


if __name__ == "__main__":
    main()
