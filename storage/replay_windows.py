"""The shape of a batch of windows, and how chunks are copied into one row of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flow.errors import StorageError
from storage.chunks import Column, StoredChunk


@dataclass(frozen=True, slots=True)
class WindowShape:
    """Which steps around an anchor t each column of a window holds.

    context_column   t-context ............ t ......... t+length
    first_column                            t ......... t+length
    others                                  t ..... t+length-1
    """

    columns: tuple[Column, ...]
    length: int
    context: int
    context_column: str | None
    first_column: str | None

    def buffers(self, count: int) -> dict[str, NDArray[Any]]:
        """Make arrays (count, steps, ...) for a batch."""
        return {c.name: np.zeros((count, self._span(c.name)[1], *c.shape), c.dtype) for c in self.columns}

    def check(self) -> None:
        """Raise StorageError where there are no such windows."""
        if self.length < 1 or self.context < 0:
            raise StorageError(f"windows: length={self.length} must be 1 or more, context={self.context} 0 or more")

    def checked(self, out: dict[str, NDArray[Any]] | None, count: int) -> dict[str, NDArray[Any]]:
        """Return `out` if a batch of `count` fits it exactly; make new arrays for None."""
        self.check()
        if out is None:
            return self.buffers(count)
        found = {name: (array.dtype.str, array.shape) for name, array in out.items()}
        expected = {c.name: (c.dtype, (count, self._span(c.name)[1], *c.shape)) for c in self.columns}
        if found != expected:
            raise StorageError(f"windows: out is {found}, needed is {expected}; window_buffers makes it")
        return out

    def fill(self, out: dict[str, NDArray[Any]], row: int, t: int, chunks: Sequence[StoredChunk]) -> None:
        """Copy the window at step t from the consecutive chunks that hold it into row `row` of `out`.

        Steps before the first chunk are before the stream's birth. Context of earlier episodes is zeroed
        here, since the boundary column from t on cannot tell a caller where the episode of t began.
        """
        begin = chunks[0].start
        if self.first_column is not None:
            begin = _episode_start(chunks, t, max(begin, t - self.context), self.first_column)
        for column in self.columns:
            back, steps = self._span(column.name)
            low, high = max(t - back, begin), t - back + steps
            # Bytes, not arrays: numpy gives up the interpreter lock for each copy, and winning it back from a
            # writing thread costs more than the copy.
            target = _bytes_of(out[column.name][row])
            step = target.nbytes // steps
            origin = t - back
            if low > origin:
                target[: (low - origin) * step] = bytes((low - origin) * step)
            for chunk in chunks:
                lo, hi = max(low, chunk.start), min(high, chunk.start + chunk.steps)
                if lo < hi:
                    data = memoryview(chunk.raw(column.name, step))
                    source = data[(lo - chunk.start) * step : (hi - chunk.start) * step]
                    target[(lo - origin) * step : (hi - origin) * step] = source

    def _span(self, name: str) -> tuple[int, int]:
        """How far before t a column begins, and how many steps it has."""
        if name == self.context_column:
            return self.context, self.context + self.length + 1
        return 0, self.length + (name == self.first_column)


def _bytes_of(array: NDArray[Any]) -> memoryview:
    """The memory of a contiguous array as writable bytes; by way of uint8, since a date lends no buffer."""
    flat: Any = array.reshape(-1).view(np.uint8)
    return memoryview(flat)


def _episode_start(chunks: Sequence[StoredChunk], t: int, low: int, first_column: str) -> int:
    """The last step in low..t at which an episode begins, or `low`."""
    for chunk in reversed(chunks):
        lo, hi = max(low, chunk.start), min(t + 1, chunk.start + chunk.steps)
        if lo < hi:
            found = bytes(chunk.raw(first_column, 1)).rfind(1, lo - chunk.start, hi - chunk.start)
            if found >= 0:
                return chunk.start + found
    return low
