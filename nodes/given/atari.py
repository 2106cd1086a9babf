"""What the nodes of LASER on Atari are given."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from flow.testing import Given
from nodes.atari_games import action_count
from nodes.messages import Actions, Observations, Trajectories, Weights

GAME = "pong"
SIDE = 84
STEPS = 2


def _random(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def observations(rows: int, seed: int) -> Observations:
    """What lanes 0 … see."""
    rng = _random(seed)
    return Observations(
        rng.integers(0, 255, (rows, 4, SIDE, SIDE), dtype=np.uint8),
        rng.normal(size=rows).astype(np.float32),
        rng.integers(0, action_count(GAME), rows),
        rng.random(rows) < 0.5,
        np.arange(rows) + 8 * (seed % 64),
    )


def trajectories(rows: int, seed: int, *, steps: int = STEPS, first: bool = True) -> Trajectories:
    """Unrolls of whole episodes."""
    rng = _random(seed)
    actions = action_count(GAME)
    begun = np.zeros((rows, steps + 1), bool)
    begun[:, 0] = first
    return Trajectories(
        frames=rng.integers(0, 255, (rows, steps + 4, SIDE, SIDE), dtype=np.uint8),
        first=begun,
        actions=rng.integers(0, actions, (rows, steps)).astype(np.uint8),
        rewards=rng.normal(size=(rows, steps)).astype(np.float32),
        terminated=np.zeros((rows, steps), bool),
        logits=rng.normal(size=(rows, steps, actions)).astype(np.float32),
        last_rewards=np.zeros(rows, np.float32),
        last_actions=np.zeros(rows, np.int64),
        cores=np.zeros((rows, 0), np.float32),
        versions=np.zeros(rows, np.int64),
        streams=np.arange(rows) + 100 * (seed % 1000),
        starts=np.zeros(rows, np.int64),
    )


_SEEDS = st.integers(0, 1 << 16)


def _weights(settings: Mapping[str, Any]) -> st.SearchStrategy[Weights]:
    from nodes.nets.interface import build
    from nodes.nets.weights import weights_of

    def of_seed(seed: int) -> Weights:
        import torch

        torch.manual_seed(seed)
        return Weights(weights_of(build(settings["network"], action_count(settings["game"]), bf16=False)))

    return st.integers(0, 3).map(of_seed)


def _of(make: Any, most: int = 3) -> st.SearchStrategy[Any]:
    return st.builds(make, st.integers(1, most), _SEEDS)


def actor() -> Given:
    def answers(settings: Mapping[str, Any]) -> Any:
        def answer(seen: Observations) -> Actions:
            rows = len(seen.first)
            logits = np.zeros((rows, action_count(GAME)), np.float32)
            return Actions(seen.last_actions % action_count(GAME), logits, np.zeros((rows, 0), np.float32), 3)

        return answer

    settings = {"game": GAME, "lanes": 2, "steps": st.integers(1, 3), "threads": 1}
    return Given(settings, answers={"policy": answers})


_SMALL = {"game": GAME, "network": "small", "device": "cpu", "precision": "float32"}


def policy() -> Given:
    return Given({**_SMALL, "batch_max": st.integers(1, 8)}, {"requests": _of(observations), "weights": _weights})


def replayer() -> Given:
    settings = {"game": GAME, "network": "small", "device": "cpu"}
    return Given(settings, {"stored": _of(trajectories), "weights": _weights})


def replay() -> Given:
    settings = {
        "unrolls": st.integers(1, 2),
        "steps": 2,
        "draw": "windows",
        "least_steps": 4,
        "capacity_steps": 1000,
        "capacity_gib": 0.1,
    }
    stream = st.lists(st.integers(1, 3), max_size=4).map(
        lambda sizes: [trajectories(size, index) for index, size in enumerate(sizes)]
    )
    return Given(settings, streams={"inserts": stream})


def learner() -> Given:
    unrolls = _of(trajectories, 2)
    settings = {
        **_SMALL, "batch": 2, "replay_share": st.sampled_from([0.0, 0.5]), "learning_rate": 1e-3, "entropy_cost": 0.01,
        "optimiser": "rmsprop", "anneal_frames": 0,
    }  # fmt: skip
    return Given(settings, {"online": unrolls, "replayed": unrolls})
