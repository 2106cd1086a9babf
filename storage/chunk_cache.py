"""Decoded chunks that are kept in memory, in one array a column, so that a batch is taken from them by one index.

    column   [ chunk 4 | chunk 9 | chunk 7 |  chunk 31  | free ]      a ring: the next chunk goes over the oldest
                                                          ▲ next

Chunks that lie each in memory of their own cost a batch a call each and, worse, walks through page tables; the bench
`tools.bench.replay` has its hot batch beside bare numpy. A ring lets go what was decoded longest ago, not what was used
longest ago: the same where draws are uniform, and it keeps the newest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.chunks import Column


class ChunkCache:
    """Chunks by number; a number is never used twice. Not locked.

    Args:
      columns: of each step.
      steps_max: what is kept at most; a chunk of more is not kept at all.
    """

    def __init__(self, columns: Sequence[Column], steps_max: int) -> None:
        self._columns = tuple(columns)
        # Where nothing was written yet it takes no memory.
        self.columns: dict[str, NDArray[Any]] = {c.name: np.empty((steps_max, *c.shape), c.dtype) for c in columns}
        self._steps_max = steps_max
        self._row_of: dict[int, int] = {}
        self._kept: deque[tuple[int, int]] = deque()  # number and first row, oldest first
        self._next = 0

    def rows(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """The row of `columns` at which each of those chunks (N,) begins, and -1 for one that is not kept."""
        found = self._row_of.get
        return np.array([found(number, -1) for number in numbers.tolist()], np.int64)

    def put(self, number: int, steps: int, column: Callable[[Column], NDArray[Any]]) -> None:
        """Keep a chunk that is not kept, in the place of those that were put longest ago.

        Args:
          steps: K of it.
          column: gives a column, (K, ...).
        """
        if steps > self._steps_max:
            return
        if self._next + steps > self._steps_max:
            self._let_go(self._next, self._steps_max)
            self._next = 0
        row, self._next = self._next, self._next + steps
        self._let_go(row, self._next)
        for each in self._columns:
            self.columns[each.name][row : self._next] = column(each)
        self._row_of[number] = row
        self._kept.append((number, row))

    def _let_go(self, low: int, high: int) -> None:
        """Forget the chunks that begin in those rows: there they are the oldest."""
        while self._kept and low <= self._kept[0][1] < high:
            del self._row_of[self._kept.popleft()[0]]
