"""Handwritten digits, one at a time: 1797 grey pictures of 8x8 pixels that scikit-learn has in its package.

    digits.train ──► picture (8, 8), label      four fifths, as many epochs as asked for
    digits.test  ──► picture (8, 8), label      the rest, which no training ever sees

Nothing is downloaded. Source: Alpaydin and Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998, the test part.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from jaxtyping import Float32

from flow import Array, Context, Message, Out, Promises, Range, Saved, compute, node

WHITE = 16.0
# One split for everyone and ever: a network that learned from some other run is not tested on what it has seen.
SPLIT_SEED = 0


class Digit(Message):
    """A picture of a digit, and which it is."""

    image: Float32[Array, "8 8"]
    """Grey, from 0 (paper) to 1 (ink)."""
    label: int
    """0 to 9."""


@dataclass
class Position:
    """How far a source is; kept in checkpoints."""

    sent: int = 0


@node(needs=("sklearn",), promises=Promises(given="nodes.given.learning:digits"))
async def digits(
    pictures: Out[Digit],
    context: Context,
    saved: Saved,
    *,
    part: Literal["train", "test"] = "train",
    epochs: Annotated[int, Range(1)] = 1,
    test_share: Annotated[float, Range(0.01, 0.99)] = 0.2,
) -> None:
    """Send every picture of a part of the data set once an epoch, in the same order each time, and end.

    Args:
      part: "train" or "test"; no picture is in both.
      epochs: how often each picture is sent.
      test_share: of all pictures, how many are in "test"; every source of a graph must say the same.
    """
    images, labels = await compute(load, part, test_share)
    position = saved.keep("position", Position())
    while position.sent < epochs * len(labels):
        index = position.sent % len(labels)
        await pictures.send(Digit(images[index], int(labels[index])))
        position.sent += 1
        context.metrics.count(f"{part}_pictures")


@functools.cache
def load(part: str, test_share: float) -> tuple[Array, Array]:
    """The pictures of a part (N, 8, 8) in [0, 1], and their labels (N,)."""
    from sklearn.datasets import load_digits

    found = load_digits()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(found.target))
    cut = len(order) - round(len(order) * test_share)
    chosen = order[:cut] if part == "train" else order[cut:]
    return (found.images[chosen] / WHITE).astype(np.float32), found.target[chosen].astype(np.int64)
