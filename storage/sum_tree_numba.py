"""The loops of a sum tree (`storage.sum_tree`), compiled."""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit


def _sum_up_loop(sums: Any, at: Any) -> None:
    for leaf in at:
        node = leaf
        while node > 1:
            node >>= 1
            sums[node] = sums[2 * node] + sums[2 * node + 1]


def _go_down_loop(sums: Any, left_over: Any) -> Any:
    at = np.ones(len(left_over), np.int64)
    leaves = len(sums) // 2
    level = 1
    while level < leaves:
        level *= 2
        for row in range(len(left_over)):
            node = 2 * at[row]
            left = sums[node]
            # No branch, which would be guessed wrong every other time.
            rightwards = 1 if left_over[row] >= left else 0
            left_over[row] -= left * rightwards
            at[row] = node + rightwards
    return at


# Without the GIL, so that the loop of the worker goes on; no fast-math, which would reorder sums.
sum_up = njit(cache=True, nogil=True)(_sum_up_loop)
go_down = njit(cache=True, nogil=True)(_go_down_loop)
