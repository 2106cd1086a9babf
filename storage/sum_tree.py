"""Numbers that are drawn in proportion to their weight: a binary tree of sums, many drawn or set at once.

      7                 a draw of u in [0, 7) goes left while u is below the left sum,
  3       4             else right with the left sum taken off
1   2   4   0

The loops are in numpy, or compiled where numba is installed; both draw the same numbers. All draws go down a level
together: each level is as many reads from memory that do not wait for each other. One draw after the other takes four
times as long, compiled or not (`python -m tools.bench.replay`).
"""

from __future__ import annotations

import functools
import importlib
import importlib.util
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from flow.errors import MissingError

Kernel = Literal["auto", "numpy", "numba"]
NO_NUMBA = 'numba is not installed; install it with: pip install "flow-research[numba]", or take the kernel "numpy"'


class Loops(Protocol):
    """What a kernel computes. sums: (2L,), the root at 1, the children of i at 2i and 2i + 1, leaves from L on."""

    def sum_up(self, sums: NDArray[np.float64], at: NDArray[np.int64]) -> None:
        """Make the sums above the nodes `at`, which are of one level, anew."""
        ...

    def go_down(self, sums: NDArray[np.float64], left_over: NDArray[np.float64]) -> NDArray[np.int64]:
        """The leaf, as a node, that each of `left_over` (B,) in [0, root) ends at; `left_over` is used up."""
        ...


@functools.cache
def loops_named(kernel: Kernel) -> Loops:
    """A kernel: "numpy", "numba", or "auto", which is numba where it is installed.

    Raises:
      MissingError: numba is named and not installed.
    """
    installed = kernel != "numpy" and importlib.util.find_spec("numba") is not None
    if kernel == "numba" and not installed:
        raise MissingError(NO_NUMBA)
    found: Any = importlib.import_module(f"storage.sum_tree_{'numba' if installed else 'numpy'}")
    loops: Loops = found
    return loops


class SumTree:
    """Weights of the numbers 0 to size - 1, all 0 at first."""

    def __init__(self, size: int, kernel: Kernel = "auto") -> None:
        self._leaves = 1 << max(size - 1, 1).bit_length()
        self._sums = np.zeros(2 * self._leaves)
        self._loops = loops_named(kernel)

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
        self._loops.sum_up(self._sums, at)

    def draw(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Draw numbers with replacement, (count,); one without weight is never drawn. Some weight must be above 0."""
        left_over = rng.random(count) * self.total
        again = left_over.copy()
        at = self._loops.go_down(self._sums, left_over)
        # Rounding may leave as much as the left sum where there is nothing to the right.
        missed = np.flatnonzero(self._sums[at] <= 0)
        if missed.size:
            at[missed] = self._go_down_carefully(again[missed])
        at -= self._leaves
        return at

    def _go_down_carefully(self, left_over: NDArray[np.float64]) -> NDArray[np.int64]:
        at = np.ones(len(left_over), np.int64)
        while at[0] < self._leaves:
            left, right = self._sums[2 * at], self._sums[2 * at + 1]
            rightwards = ((left_over >= left) | (left <= 0)) & (right > 0)
            left_over = np.where(rightwards, left_over - left, left_over)
            at = 2 * at + rightwards
        return at
