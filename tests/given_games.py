"""What valid settings and inputs of MuZero's nodes are, where types cannot say: `Promises(given=…)` names these."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from flow.testing import Given
from nodes.games.interface import Position, game_named
from nodes.games.messages import Plans, PlayedGame, Positions, Roots, Samples, Steps, Surprises
from nodes.messages import Weights

GAME = "nim"
ACTIONS, SEEN = 12, 15
_SEEDS = st.integers(0, 1 << 16)
_NETWORK = {"game": GAME, "network": "mlp", "width": 4, "blocks": 0, "bins": st.integers(0, 1), "device": "cpu"}


def _of(make: Any, most: int = 3) -> st.SearchStrategy[Any]:
    return st.builds(make, st.integers(1, most), _SEEDS)


@functools.cache
def _positions() -> list[Position]:
    return game_named(GAME).starts()


@functools.cache
def _model() -> Any:
    from tests.nodes.plan.exact_model import ExactModel

    return ExactModel(_positions())


def planner() -> Given:
    """Asked with the rules as its model; without noise, which is drawn as questions come, and so without dice."""
    from tests.nodes.plan.exact_model import asking

    def positions(rows: int, seed: int) -> Positions:
        chosen = np.random.default_rng(seed).integers(0, len(_positions()), rows)
        return asking([_positions()[at] for at in chosen])

    settings = {"simulations": st.integers(1, 6), "positions_max": st.integers(1, 8), "searches": 1, "kernel": "numpy"}
    return Given(
        settings,
        {"requests": _of(positions)},
        answers={"roots": lambda _: _model().roots, "steps": lambda _: _model().steps},
    )


def _advise(_: Mapping[str, Any]) -> Any:
    def answer(asked: Positions) -> Plans:
        share = asked.legal / asked.legal.sum(1, keepdims=True)
        return Plans(asked.legal.astype(np.int32), np.zeros(len(share), np.float32), share.astype(np.float32), 3)

    return answer


def selfplay() -> Given:
    settings = {"game": GAME, "lanes": st.integers(1, 3), "groups": 1, "warm_moves": st.integers(0, 9)}
    return Given(settings, answers={"planner": _advise})


def arena() -> Given:
    settings = {"game": GAME, "opponent": "random", "games": st.integers(2, 5), "every": st.integers(1, 3)}
    return Given(
        settings, {"weights": st.builds(lambda: Weights({"w": np.zeros(1, np.float32)}))}, answers={"planner": _advise}
    )


def exam() -> Given:
    settings = {"game": GAME, "every": st.integers(1, 3), "at_once": st.integers(40, 200)}
    return Given(
        settings, {"weights": st.builds(lambda: Weights({"w": np.zeros(1, np.float32)}))}, answers={"planner": _advise}
    )


def _weights(settings: Mapping[str, Any]) -> st.SearchStrategy[Weights]:
    from nodes.nets.muzero import build
    from nodes.nets.weights import weights_of

    def of_seed(seed: int) -> Weights:
        import torch

        torch.manual_seed(seed)
        return Weights(weights_of(build("mlp", (SEEN,), ACTIONS, width=settings["width"], bins=settings["bins"])))

    return st.integers(0, 3).map(of_seed)


def model() -> Given:
    """Steps lead from slots that are never filled: what is in others depends on who was served first."""

    def roots(rows: int, seed: int) -> Roots:
        rng = np.random.default_rng(seed)
        return Roots(rng.normal(size=(rows, SEEN)).astype(np.float32), np.full(rows, seed % 3), np.arange(rows))

    def steps(rows: int, seed: int) -> Steps:
        actions = np.random.default_rng(seed).integers(0, ACTIONS, rows)
        return Steps(np.full(rows, seed % 3), 500 + np.arange(rows), actions, 8 + np.arange(rows))

    settings = {**_NETWORK, "batch_max": st.integers(1, 8), "slots_max": 1000}
    return Given(settings, {"roots": _of(roots), "steps": _of(steps), "weights": _weights})


def replay() -> Given:
    def game(moves: int, seed: int) -> PlayedGame:
        rng = np.random.default_rng(seed)
        return PlayedGame(
            rng.normal(size=(moves, SEEN)).astype(np.float32),
            rng.integers(0, ACTIONS, moves),
            rng.normal(size=moves).astype(np.float32),
            rng.normal(size=moves).astype(np.float32),
            rng.dirichlet(np.ones(ACTIONS), moves).astype(np.float32),
            np.full(moves, seed),
        )

    settings = {
        "batch": st.integers(1, 3), "unroll": st.integers(1, 3), "least_positions": 4, "slack": 50,
        "samples_a_position": 2.0, "capacity_positions": 1000, "capacity_gib": 0.01, "discount": 1.0,
        "priority_exponent": 0.0,
    }  # fmt: skip

    def late(rows: int, seed: int) -> Surprises:
        return Surprises(np.arange(rows) + (1 << 40), np.ones(rows, np.float32))

    return Given(settings, {"inserts": _of(game, 9), "surprises": _of(late)})


def learner() -> Given:
    unroll = 2

    def samples(rows: int, seed: int) -> Samples:
        rng = np.random.default_rng(seed)
        return Samples(
            rng.normal(size=(rows, SEEN)).astype(np.float32),
            rng.integers(0, ACTIONS, (rows, unroll)),
            rng.normal(size=(rows, unroll)).astype(np.float32),
            rng.normal(size=(rows, unroll + 1)).astype(np.float32),
            rng.dirichlet(np.ones(ACTIONS), (rows, unroll + 1)).astype(np.float32),
            rng.random((rows, unroll + 1)) < 0.7,
            np.ones(rows, np.float32),
            rng.integers(0, 99, rows),
            np.zeros(rows, np.int64),
        )

    settings = {
        **_NETWORK, "optimiser": st.sampled_from(["adam", "sgd"]), "learning_rate": 1e-3, "decay_updates": 0,
        "publish_every": st.integers(1, 3), "value_cost": 1.0, "weight_decay": 1e-4,
    }  # fmt: skip
    return Given(settings, {"samples": _of(samples)})
