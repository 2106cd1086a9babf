"""What valid settings and inputs are of the shards of a split module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from hypothesis import strategies as st

from flow.testing import Given
from nodes.given.learning import CLASSES, INPUTS, labelled
from nodes.learn.classifier import Pictures
from nodes.learn.pipeline import Activations, Gradients
from nodes.messages import Weights
from nodes.serve.shard import Hidden, Outputs

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


_SERVED = {name: value for name, value in _SHARDS.items() if name != "publish_every"}


def _weights(begin: int, end: int) -> Any:
    def weights(settings: Mapping[str, Any]) -> st.SearchStrategy[Weights]:
        def of_seed(seed: int) -> Weights:
            from nodes.nets.perceptron import Perceptron
            from nodes.nets.split import Shard, blocks_of, seeded
            from nodes.nets.weights import weights_of

            with seeded(str(seed)):
                blocks = blocks_of(Perceptron(INPUTS, [WIDTH, WIDTH], CLASSES))
            return Weights(weights_of(Shard(blocks[begin:end], begin).network))

        return st.integers(0, 3).map(of_seed)

    return weights


def _doubled(settings: Mapping[str, Any]) -> Any:
    return lambda hidden: Outputs(2 * hidden.values, 1)


def _hidden(block: int) -> st.SearchStrategy[Hidden]:
    return st.builds(lambda rows, seed: Hidden(_values(rows, seed), np.full(rows, block)), st.integers(1, 3), _SEEDS)


def served_first() -> Given:
    pictures = st.builds(lambda rows, seed: Pictures(labelled(rows, seed).image), st.integers(1, 3), _SEEDS)
    settings = {**_SERVED, "inputs": None, "batch_max": st.integers(1, 8), "buckets": None}
    return Given(
        {**settings, "answers": st.just([f"logits: float32 (rows, {WIDTH})", "version: int"])},
        {"requests": pictures, "weights": _weights(0, 3)},
        answers={"rest": _doubled},
        variables=({"Q": Pictures},),
    )


def served_inner() -> Given:
    messages = {"requests": _hidden(3), "weights": _weights(3, 5)}
    return Given({**_SERVED, "shard": 1}, messages, answers={"rest": _doubled})


def served_last() -> Given:
    return Given(_SERVED, {"requests": _hidden(5), "weights": _weights(5, 6)})
