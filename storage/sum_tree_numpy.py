"""The loops of a sum tree (`storage.sum_tree`) in numpy."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def sum_up(sums: NDArray[np.float64], at: NDArray[np.int64]) -> None:
    """As `Loops.sum_up`."""
    level = len(sums) >> 1
    # From both children, never by adding a difference: rounding does not pile up.
    while level > 1 and 4 * len(at) <= level:
        level >>= 1
        at = at >> 1
        sums[at] = sums.take(2 * at) + sums.take(2 * at + 1)
    while level > 1 and len(at):  # to make whole levels anew is less now than to find what changed in them
        level >>= 1
        sums[level : 2 * level] = sums[2 * level : 4 * level : 2] + sums[2 * level + 1 : 4 * level : 2]


def go_down(sums: NDArray[np.float64], left_over: NDArray[np.float64]) -> NDArray[np.int64]:
    """As `Loops.go_down`."""
    at = np.ones(len(left_over), np.int64)
    left = np.empty(len(left_over))
    rightwards = np.empty(len(left_over), np.bool_)
    for _ in range((len(sums) >> 1).bit_length() - 1):
        at <<= 1
        sums.take(at, out=left, mode="clip")  # "raise", the default, would copy `left` first
        np.greater_equal(left_over, left, out=rightwards)
        left *= rightwards
        left_over -= left
        at += rightwards
    return at
