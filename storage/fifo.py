"""A queue of rows of integers, each column an array: what comes in some order, and goes in the same."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray


class Fifo:
    """Rows of int64 columns, numbered from `head` on; new ones join at `tail`, old ones leave from the front."""

    def __init__(self, columns: Sequence[str], head: int = 0) -> None:
        self.head = self.tail = head
        self._columns: dict[str, NDArray[np.int64]] = {name: np.zeros(1024, np.int64) for name in columns}
        self._at, self._room = 0, 1024

    def append(self, *row: int) -> int:
        """Add a row, a value a column, and return its number."""
        live = self.tail - self.head
        used = self._at + live
        if used == self._room:
            # Room for as many again: each row is moved O(1) times on average.
            more = np.zeros(max(1024, live), np.int64)
            self._columns = {name: np.concatenate([self.column(name), more]) for name in self._columns}
            self._at, used, self._room = 0, live, live + len(more)
        for column, value in zip(self._columns.values(), row, strict=True):
            column[used] = value
        self.tail += 1
        return self.tail - 1

    def drop(self) -> None:
        """Forget the oldest row."""
        self._at += 1
        self.head += 1

    def column(self, name: str) -> NDArray[np.int64]:
        """A column of all rows, oldest first: a view."""
        return self._columns[name][self._at : self._at + self.tail - self.head]
