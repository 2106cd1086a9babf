"""What valid settings and inputs are of the shards of a split module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from flow.testing import Given
from nodes.given.learning import CLASSES, INPUTS, labelled
from nodes.learn.pipeline import Activations, Gradients

# Three shards of Linear(3, 4), ReLU | Linear(4, 4), ReLU | Linear(4, 3).
WIDTH = 4
_SHARDS: dict[str, Any] = {
    "module": "nodes.nets.perceptron:Perceptron",
    "arguments": st.just([f"inputs={INPUTS}", f"hidden=[{WIDTH}, {WIDTH}]", f"outputs={CLASSES}"]),
    "split": st.just([0, 3, 5]),
    "shards": 3,
    "shape": None,
    "publish_every": st.integers(1, 3),
    "device": "cpu",
}
_SEEDS = st.integers(0, 1 << 16)
_Steps = st.SearchStrategy[list[Any]]


def _values(rows: int, seed: int) -> Any:
    return np.random.default_rng(seed).normal(size=(rows, WIDTH)).astype(np.float32)


def _steps(block: int) -> _Steps:
    """Up to three steps of two parts each, of which the first shard holds no more ahead than it may."""

    def made(count: int, rows: int, seed: int) -> list[Activations]:
        return [
            Activations(_values(rows, seed + n), np.arange(rows) % CLASSES, 0, n // 2, 0, n % 2, 2, 0.5, block)
            for n in range(2 * count)
        ]

    return st.builds(made, st.integers(0, 3), st.integers(1, 3), _SEEDS)


def _gradients(parts: int) -> _Steps:
    def made(count: int, seed: int) -> list[Gradients]:
        return [Gradients(_values(2, seed + n), 0, n // parts, 0, n % parts) for n in range(parts * count)]

    return st.builds(made, st.integers(0, 3), _SEEDS)


def first() -> Given:
    """Batches of two rows in one part, and the gradients of those that come back."""
    batches = st.builds(labelled, st.just(2), _SEEDS)
    return Given({**_SHARDS, "micro_batches": 1}, {"batches": batches}, streams={"gradients": _gradients(1)})


def inner() -> Given:
    def two_rows(settings: Mapping[str, Any]) -> _Steps:
        return st.builds(
            lambda count, seed: [
                Activations(_values(2, seed + n), np.arange(2), 0, n // 2, 0, n % 2, 2, 0.5, 3)
                for n in range(2 * count)
            ],
            st.integers(0, 3),
            _SEEDS,
        )

    return Given({**_SHARDS, "shard": 1}, streams={"activations": two_rows, "gradients": _gradients(2)})


def last() -> Given:
    return Given(_SHARDS, streams={"activations": _steps(5)})
