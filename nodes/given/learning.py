"""What valid settings and inputs are of the nodes that learn from any environment, any game and any picture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from flow.testing import Given
from nodes.experience import Actions, Observations, Transitions
from nodes.games.interface import game_named
from nodes.games.messages import Evaluations, Plans, PlayedGame, Positions, Roots, Samples, Steps
from nodes.learn.classifier import Labelled, Logits
from nodes.learn.q import Experience
from nodes.messages import Priorities, Weights

_SEEDS = st.integers(0, 1 << 16)
_ROWS = st.integers(1, 3)
INPUTS, ACTIONS, CLASSES = 3, 2, 3
GAME = "tictactoe"


def _normal(rng: np.random.Generator, *shape: int) -> Any:
    return rng.normal(size=shape).astype(np.float32)


def _weights_of(make: Any) -> Any:
    """Weights of networks of a few seeds."""

    def weights(settings: Mapping[str, Any]) -> st.SearchStrategy[Weights]:
        def of_seed(seed: int) -> Weights:
            import torch

            from nodes.nets.weights import weights_of

            torch.manual_seed(seed)
            return Weights(weights_of(make(settings)))

        return st.integers(0, 3).map(of_seed)

    return weights


def _perceptron(outputs: int) -> Any:
    def make(settings: Mapping[str, Any]) -> Any:
        from nodes.nets.perceptron import Perceptron

        return Perceptron(settings["inputs"], settings["hidden"], outputs)

    return make


def digits() -> Given:
    """The smallest part: 18 pictures."""
    return Given({"part": "test", "test_share": 0.01, "epochs": st.integers(1, 2)})


def labelled(rows: int, seed: int) -> Labelled:
    rng = np.random.default_rng(seed)
    return Labelled(_normal(rng, rows, INPUTS), rng.integers(0, CLASSES, rows))


_PICTURES = {"inputs": INPUTS, "classes": CLASSES, "hidden": st.just([4]), "device": "cpu"}


def classifier() -> Given:
    settings = {**_PICTURES, "publish_every": st.integers(1, 3)}
    return Given(settings, {"batches": st.builds(labelled, st.integers(0, 3), _SEEDS)})


def evaluator() -> Given:
    tests = st.builds(labelled, st.integers(0, 3), _SEEDS)
    return Given(_PICTURES, {"tests": tests, "weights": _weights_of(_perceptron(CLASSES))})


def examiner() -> Given:
    def answers(settings: Mapping[str, Any]) -> Any:
        return lambda asked: Logits(np.tile(asked.image.sum(-1, keepdims=True), CLASSES), 1 << 40)

    tests = st.builds(labelled, st.integers(0, 3), _SEEDS)
    messages = {"tests": tests, "weights": st.just(Weights({}))}
    return Given({}, messages, answers={"classify": answers})


def experience(rows: int, seed: int, steps: int = 2) -> Experience:
    rng = np.random.default_rng(seed)
    return Experience(
        observations=_normal(rng, rows, steps, INPUTS),
        actions=rng.integers(0, ACTIONS, (rows, steps)),
        rewards=_normal(rng, rows, steps),
        next_observations=_normal(rng, rows, steps, INPUTS),
        terminated=rng.random((rows, steps)) < 0.2,
        truncated=rng.random((rows, steps)) < 0.2,
        first=rng.random((rows, steps)) < 0.2,
        handles=np.arange(rows),
        weights=np.ones(rows, np.float32),
    )


_Q = {"inputs": INPUTS, "actions": ACTIONS, "hidden": st.just([4]), "device": "cpu"}


def q_learner() -> Given:
    settings = {**_Q, "n_steps": st.integers(1, 2), "gradient_norm_max": 10.0, "anneal_updates": 0}
    return Given(settings, {"samples": st.builds(experience, _ROWS, _SEEDS)})


def seen(rows: int, seed: int) -> Observations:
    rng = np.random.default_rng(seed)
    return Observations(_normal(rng, rows, INPUTS), _normal(rng, rows), rng.random(rows) < 0.5, np.arange(rows))


def q_policy() -> Given:
    asked = st.builds(seen, _ROWS, _SEEDS)
    return Given(_Q, {"requests": asked, "weights": _weights_of(_perceptron(ACTIONS))})


def cartpole() -> Given:
    def answers(settings: Mapping[str, Any]) -> Any:
        return lambda asked: Actions(asked.lane_ids % 2)

    settings = {
        "environment": "CartPole-v1", "lanes": st.integers(1, 2), "steps": st.integers(1, 2), "groups": 1,
        "options": None, "vector": False,
    }  # fmt: skip
    return Given(settings, answers={"policy": answers}, variables=({"A": Actions},))


def transitions(lanes: int, start: int, steps: int = 2) -> Transitions:
    rng = np.random.default_rng(start)
    return Transitions(
        observations=_normal(rng, lanes, steps, INPUTS),
        actions=rng.integers(0, ACTIONS, (lanes, steps)),
        rewards=_normal(rng, lanes, steps),
        next_observations=_normal(rng, lanes, steps, INPUTS),
        terminated=np.zeros((lanes, steps), bool),
        truncated=np.zeros((lanes, steps), bool),
        first=np.zeros((lanes, steps), bool),
        lane_ids=np.arange(lanes),
    )


def transitions_replay() -> Given:
    settings = {
        "rows": 2, "steps": 1, "ratio": 1.0, "least": 2, "capacity": 1000, "capacity_gib": 0.1, "cache_gib": 0.01,
        "how": "uniform",
    }  # fmt: skip
    stream = st.integers(2, 4).map(lambda count: [transitions(2, start) for start in range(count)])
    said = st.builds(lambda handle: Priorities(np.array([handle]), np.ones(1, np.float32)), st.integers(0, 3))
    return Given(settings, {"priorities": said}, streams={"inserts": stream}, variables=({"T": Transitions},))


def _rules() -> Any:
    return game_named(GAME)


def _board(rng: np.random.Generator, rows: int) -> Any:
    return _normal(rng, rows, *_rules().observation_shape)


def positions(rows: int, seed: int) -> Positions:
    rng = np.random.default_rng(seed)
    legal = rng.random((rows, _rules().actions)) < 0.7
    legal[:, 0] = True
    return Positions(_board(rng, rows), legal, np.zeros(rows, bool))


def planner() -> Given:
    def answers(settings: Mapping[str, Any]) -> Any:
        def answer(asked: Any) -> Evaluations:
            rows = len(asked.slots)
            return Evaluations(
                np.zeros(rows, np.float32),
                np.zeros((rows, _rules().actions), np.float32),
                np.full(rows, 0.25, np.float32),
                1,
                0,
            )

        return answer

    settings = {"simulations": st.integers(1, 3), "kernel": "numpy", "positions_max": 8}
    asked = st.builds(positions, _ROWS, _SEEDS)
    return Given(settings, {"requests": asked}, answers={"roots": answers, "steps": answers})


_MODEL = {"game": GAME, "network": "mlp", "width": 4, "blocks": 0, "bins": 0, "device": "cpu"}


def _muzero(settings: Mapping[str, Any]) -> Any:
    from nodes.nets.muzero import build

    rules = game_named(settings["game"])
    return build("mlp", rules.observation_shape, rules.actions, width=4, blocks=0, bins=0)


def roots(rows: int, seed: int) -> Roots:
    rng = np.random.default_rng(seed)
    return Roots(_board(rng, rows), np.zeros(rows, np.int64), np.arange(rows) + 4 * (seed % 8))


def steps(rows: int, seed: int) -> Steps:
    rng = np.random.default_rng(seed)
    slots = np.arange(rows) + 4 * (seed % 8)
    return Steps(np.zeros(rows, np.int64), slots, rng.integers(0, _rules().actions, rows), slots)


def model() -> Given:
    messages = {"roots": st.builds(roots, _ROWS, _SEEDS), "weights": _weights_of(_muzero)}
    return Given({**_MODEL, "slots_max": 100, "batch_max": 8}, messages, streams={"steps": st.just([])})


def samples(rows: int, seed: int, unroll: int = 2) -> Samples:
    rng = np.random.default_rng(seed)
    actions = _rules().actions
    return Samples(
        observations=_board(rng, rows),
        actions=rng.integers(0, actions, (rows, unroll)),
        rewards=_normal(rng, rows, unroll),
        values=rng.uniform(-1, 1, (rows, unroll + 1)).astype(np.float32),
        policies=np.full((rows, unroll + 1, actions), 1 / actions, np.float32),
        real=np.ones((rows, unroll + 1), bool),
        weights=np.ones(rows, np.float32),
        handles=np.arange(rows),
        versions=np.zeros(rows, np.int64),
    )


def muzero_learner() -> Given:
    settings = {**_MODEL, "optimiser": st.sampled_from(["sgd", "adam"]), "learning_rate": 0.01, "publish_every": 1}
    return Given(settings, {"samples": st.builds(samples, _ROWS, _SEEDS)})


def played(moves: int, seed: int) -> PlayedGame:
    rng = np.random.default_rng(seed)
    actions = _rules().actions
    return PlayedGame(
        _board(rng, moves),
        rng.integers(0, actions, moves),
        np.zeros(moves, np.float32),
        rng.uniform(-1, 1, moves).astype(np.float32),
        np.full((moves, actions), 1 / actions, np.float32),
        np.zeros(moves, np.int64),
        np.ones(moves, bool),
        True,
    )


def games_replay() -> Given:
    settings = {
        "batch": 2, "unroll": 2, "least_positions": 2, "samples_a_position": 1.0, "slack": 10,
        "capacity_positions": 1000, "capacity_gib": 0.1, "td_steps": 0,
    }  # fmt: skip
    priorities = st.builds(lambda place: Priorities(np.array([place]), np.ones(1, np.float32)), st.integers(0, 3))
    return Given(settings, {"inserts": st.builds(played, st.integers(1, 4), _SEEDS), "priorities": priorities})


def reanalysed_games() -> Given:
    # Of nim, whose games can be told from where they begin: what is planned anew must have been played by its rules.
    rules = game_named("nim")

    def game(seed: int) -> PlayedGame:
        rng = np.random.default_rng(seed)
        position, seen, moves, paid = rules.start(rng), [], [], []
        while not position.over:
            seen.append(position.observation())
            moves.append(int(rng.choice(np.flatnonzero(position.legal()))))
            position = position.after(moves[-1])
            paid.append(position.reward)
        count = len(moves)
        policies = np.full((count, rules.actions), 1 / rules.actions, np.float32)
        values = rng.uniform(-1, 1, count).astype(np.float32)
        rewards = np.array(paid, np.float32)
        played_by = np.zeros(count, np.int64)
        whole = np.ones(count, bool)
        return PlayedGame(np.stack(seen), np.array(moves), rewards, values, policies, played_by, whole, True)

    like = games_replay()
    settings = {**like.settings, "game": "nim", "refreshes_a_game": 1.0}
    messages = {**like.messages, "inserts": st.builds(game, _SEEDS)}
    return Given(settings, messages, answers={"planner": plans})


def plans(settings: Mapping[str, Any]) -> Any:
    """A planner that has visited every legal move as often."""

    def answer(asked: Positions) -> Plans:
        rows = len(asked.noisy)
        visits = asked.legal.astype(np.int32)
        priors = visits / np.maximum(visits.sum(1, keepdims=True), 1)
        return Plans(visits, np.zeros(rows, np.float32), priors.astype(np.float32), 0)

    return answer


def board() -> Given:
    openings = {"opening_share": st.sampled_from([0.0, 0.5]), "opening_moves": st.integers(1, 3)}
    settings = {"game": GAME, "lanes": st.integers(1, 2), "groups": 1, "temperature": 1.0, **openings}
    return Given(settings, answers={"planner": plans})


_PONG = "atari:pong(history=1,side=16,colour=false,all_actions=false)"


def atari_planned() -> Given:
    settings = {
        "game": _PONG, "lanes": st.integers(1, 2), "groups": 1, "stretch": st.integers(1, 3),
        "lookahead": st.integers(1, 2), "cool_updates": st.just([1]), "threads": 1, "episode_frames_max": 200,
    }  # fmt: skip
    return Given(settings, answers={"planner": plans})


def atari_returns() -> Given:
    settings = {"game": _PONG, "lanes": st.integers(1, 2), "every": 1, "episode_frames_max": 40}
    return Given(settings, {"weights": st.just(Weights({}))}, answers={"planner": plans})


def exam() -> Given:
    tensors = st.just(Weights({}))
    return Given({"game": "nim", "every": 1, "at_once": 256}, {"weights": tensors}, answers={"planner": plans})


def ladder() -> Given:
    settings = {
        "game": GAME, "network": "mlp", "width": 4, "blocks": 0, "bins": 0, "simulations": st.integers(1, 3),
        "games": st.integers(2, 4), "every": st.integers(1, 2),
    }  # fmt: skip
    return Given(settings, {"weights": _weights_of(_muzero)}, answers={"planner": plans})


def arena() -> Given:
    settings = {
        "game": "nim", "opponent": "random", "games": st.integers(2, 5), "every": st.integers(1, 3), "engine": "",
        "prefix": st.sampled_from(["", "random_"]),
    }  # fmt: skip
    return Given(settings, {"weights": st.just(Weights({}))}, answers={"planner": plans})
