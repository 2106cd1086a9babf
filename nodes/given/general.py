"""What valid settings and inputs of nodes for any graph are, where types cannot say."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from jaxtyping import Float32, UInt8

from flow import Array, Message
from flow.testing import Given, messages
from flow.testing.cases import Count
from nodes.experience import Actions
from nodes.messages import Weights
from nodes.sink.wav import Audio
from storage.recording import RecordingWriter

GAME = "classic/tictactoe-v3"


class Picture(Message):
    """An image."""

    image: UInt8[Array, "2 3"]


class Features(Message, repeatable=True):
    """What a served module is asked."""

    features: Float32[Array, "lanes 3"]
    scale: Float32[Array, "lanes"]


def shuffled() -> Given:
    """Enough messages that the order of two seeds differs."""
    numbered = st.integers(4, 6).map(lambda count: [Count(np.array([n])) for n in range(count)])
    return Given({"seed": None, "size": st.integers(3, 5)}, streams={"items": numbered}, variables=({"M": Count},))


def written_metrics() -> Given:
    return Given({"series": ["numbers"], "gauges": None, "counters": ["numbers"]}, variables=({"M": Count},))


def sounds() -> Given:
    samples = npst.arrays(np.float32, st.integers(0, 4), elements=st.floats(-2, 2, width=32))
    clips = messages(Audio, samples=samples, rate=st.integers(1, 96_000))
    return Given({"folder": ""}, {"clips": clips})


def pictures() -> Given:
    return Given({"folder": "", "field": "image"}, variables=({"M": Picture},))


def in_the_run() -> Given:
    """Files of the node's own place."""
    return Given({"path": ""}, variables=({"M": Count},))


@functools.cache
def _recording() -> str:
    path = Path(tempfile.mkdtemp(prefix="flow-given-")) / "numbers.flow"
    with RecordingWriter(path, Count) as writer:
        for number in range(5):
            writer.write(Count(np.array([number])))
    return str(path)


def recorded() -> Given:
    return Given({"path": _recording(), "passes": st.sampled_from([None, 1, 2])})


def _served(settings: Mapping[str, Any]) -> st.SearchStrategy[Features]:
    rows = st.tuples(st.integers(1, 3), st.integers(0, 99))
    return rows.map(lambda drawn: _features(*drawn))


def _features(rows: int, seed: int) -> Features:
    rng = np.random.default_rng(seed)
    return Features(rng.standard_normal((rows, 3), np.float32), rng.standard_normal(rows, np.float32))


_MODULE: dict[str, Any] = {
    "module": "nodes.given.served:Plain",
    "arguments": None,
    "inputs": None,
    "answers": ["logits: float32 (rows, 2)", "values: float32 (rows)"],
    "device": "cpu",
    "precision": "float32",
    "batch_max": st.integers(1, 8),
    "buckets": None,
}


def served_module() -> Given:
    fixed = {**_MODULE, "weights": "", "file": ""}
    return Given(fixed, {"requests": _served}, variables=({"Q": Features},))


def served_with_weights() -> Given:
    def weights(settings: Mapping[str, Any]) -> st.SearchStrategy[Weights]:
        return st.integers(0, 9).map(
            lambda n: Weights(
                {"inner.weight": np.full((2, 3), n / 8, np.float32), "inner.bias": np.full(2, n / 4, np.float32)}
            )
        )

    return Given(_MODULE, {"requests": _served, "weights": weights}, variables=({"Q": Features},))


def _first_legal(settings: Mapping[str, Any]) -> Any:
    return lambda positions: Actions(positions.legal.argmax(1))


def self_played() -> Given:
    settings = {"environment": GAME, "options": None, "lanes": st.integers(1, 3), "moves_max": st.integers(2, 20)}
    return Given(settings, answers={"policy": _first_legal}, variables=({"A": Actions},))


def matched() -> Given:
    settings = {"environment": GAME, "options": None, "lanes": st.integers(1, 3), "moves_max": st.integers(2, 20)}
    return Given(settings, answers={"first": _first_legal, "second": _first_legal})
