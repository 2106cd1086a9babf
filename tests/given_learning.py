"""What valid settings and inputs are of the nodes of CartPole and the digits: `Promises(given=…)` names these."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from flow.testing import Given
from nodes.experience import Observations, Transitions
from nodes.learn.classifier import Labelled
from nodes.learn.q import Experience
from nodes.messages import Weights

_SEEDS = st.integers(0, 1 << 16)
_ROWS = st.integers(1, 3)
# A network of one hidden layer; numbers of an input, and of an output.
HIDDEN = [4]
OBSERVED, ACTIONS = 3, 2
PIXELS, CLASSES = 6, 3


def weights_of_shape(inputs: int, outputs: int) -> st.SearchStrategy[Weights]:
    """Weights of a perceptron with `HIDDEN`."""
    shapes = {
        "layers.1.weight": (*HIDDEN, inputs),
        "layers.1.bias": (*HIDDEN,),
        "layers.3.weight": (outputs, *HIDDEN),
        "layers.3.bias": (outputs,),
    }

    def of_seed(seed: int) -> Weights:
        rng = np.random.default_rng(seed)
        return Weights({name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})

    return _SEEDS.map(of_seed)


def digits() -> Given:
    """The smallest part: 18 pictures."""
    return Given({"part": "test", "test_share": 0.01, "epochs": st.integers(1, 2)})


def labelled(rows: int, seed: int) -> Labelled:
    rng = np.random.default_rng(seed)
    return Labelled(rng.normal(size=(rows, 2, 3)).astype(np.float32), rng.integers(0, CLASSES, rows))


_CLASSIFIER = {"inputs": PIXELS, "classes": CLASSES, "hidden": HIDDEN, "device": "cpu"}


def classifier() -> Given:
    return Given({**_CLASSIFIER, "publish_every": st.integers(1, 3)}, {"batches": st.builds(labelled, _ROWS, _SEEDS)})


def evaluator() -> Given:
    messages = {"tests": st.builds(labelled, _ROWS, _SEEDS), "weights": weights_of_shape(PIXELS, CLASSES)}
    return Given(_CLASSIFIER, messages)


def experience(rows: int, seed: int) -> Experience:
    rng = np.random.default_rng(seed)
    shape = (rows, 3)
    terminated = rng.random(shape) < 0.2
    return Experience(
        observations=rng.normal(size=(*shape, OBSERVED)).astype(np.float32),
        actions=rng.integers(0, ACTIONS, shape),
        rewards=rng.normal(size=shape).astype(np.float32),
        next_observations=rng.normal(size=(*shape, OBSERVED)).astype(np.float32),
        terminated=terminated,
        truncated=np.zeros(shape, bool),
        first=np.zeros(shape, bool),
    )


_NETWORK = {"inputs": OBSERVED, "actions": ACTIONS, "hidden": HIDDEN, "device": "cpu"}


def q_learner() -> Given:
    settings = {**_NETWORK, "n_steps": st.integers(1, 3), "anneal_updates": 0}
    return Given(settings, {"samples": st.builds(experience, _ROWS, _SEEDS)})


def observations(rows: int, seed: int) -> Observations:
    rng = np.random.default_rng(seed)
    seen = rng.normal(size=(rows, OBSERVED)).astype(np.float32)
    return Observations(seen, np.zeros(rows, np.float32), np.zeros(rows, bool), np.arange(rows))


def q_policy() -> Given:
    settings = {**_NETWORK, "batch_max": st.integers(1, 8)}
    messages = {"requests": st.builds(observations, _ROWS, _SEEDS), "weights": weights_of_shape(OBSERVED, ACTIONS)}
    return Given(settings, messages)


def transitions(rows: int, seed: int) -> Transitions:
    rng = np.random.default_rng(seed)
    shape = (rows, 4)
    return Transitions(
        observations=rng.normal(size=(*shape, OBSERVED)).astype(np.float32),
        actions=rng.integers(0, ACTIONS, shape),
        rewards=rng.normal(size=shape).astype(np.float32),
        next_observations=rng.normal(size=(*shape, OBSERVED)).astype(np.float32),
        terminated=np.zeros(shape, bool),
        truncated=np.zeros(shape, bool),
        first=np.zeros(shape, bool),
        lane_ids=np.arange(rows),
    )


def replay() -> Given:
    settings: Mapping[str, Any] = {
        "rows": st.integers(1, 3),
        "steps": st.integers(1, 2),
        "ratio": 4.0,
        "least": 1,
        "capacity": 1000,
        "capacity_gib": 0.1,
    }
    return Given(settings, {"inserts": st.builds(transitions, _ROWS, _SEEDS)}, variables=({"T": Transitions},))
