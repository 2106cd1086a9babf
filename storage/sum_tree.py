"""Numbers that are drawn in proportion to their weight: a binary tree of sums, many drawn or set at once.

      7                 a draw of u in [0, 7) goes left while u is below the left sum,
  3       4             else right with the left sum taken off
1   2   4   0
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray


class SumTree:
    """Weights of the numbers 0 to size - 1, all 0 at first."""

    def __init__(self, size: int) -> None:
        self._leaves = 1 << max(size - 1, 1).bit_length()
        self._sums = np.zeros(2 * self._leaves)

    @property
    def total(self) -> float:
        """The sum of all weights."""
        return float(self._sums[1])

    def __getitem__(self, numbers: NDArray[np.int64]) -> NDArray[np.float64]:
        found: NDArray[np.float64] = self._sums[numbers + self._leaves]
        return found

    def set(self, numbers: NDArray[np.int64], weights: NDArray[Any] | float) -> None:
        """Give numbers (B,) weights of 0 or more; of a number that is named twice the last counts."""
        at = numbers + self._leaves
        self._sums[at] = weights
        while len(at) and at[0] > 1:
            at = np.unique(at >> 1)
            # From both children, never by adding a difference: rounding does not pile up.
            self._sums[at] = self._sums[2 * at] + self._sums[2 * at + 1]

    def draw(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Draw numbers with replacement, (count,); one without weight is never drawn."""
        left_over = rng.random(count) * self.total
        at = np.ones(count, np.int64)
        while at[0] < self._leaves:
            left, right = self._sums[2 * at], self._sums[2 * at + 1]
            # Rounding may leave as much as the left sum where there is nothing to the right.
            rightwards = (left_over >= left) & (right > 0)
            left_over = np.where(rightwards, left_over - left, left_over)
            at = 2 * at + rightwards
        return at - self._leaves
