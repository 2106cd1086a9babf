"""The shape of a batch of windows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flow.errors import StorageError
from storage.chunks import Column


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
        return {c.name: np.zeros((count, self.span(c.name)[1], *c.shape), c.dtype) for c in self.columns}

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
        expected = {c.name: (c.dtype, (count, self.span(c.name)[1], *c.shape)) for c in self.columns}
        if found != expected:
            raise StorageError(f"windows: out is {found}, needed is {expected}; window_buffers makes it")
        if scattered := [name for name, array in out.items() if not array.flags.c_contiguous]:
            raise StorageError(f"windows: out has {scattered} with gaps in memory; window_buffers makes it without")
        return out

    def span(self, name: str) -> tuple[int, int]:
        """How far before t a column begins, and how many steps it has."""
        if name == self.context_column:
            return self.context, self.context + self.length + 1
        return 0, self.length + (name == self.first_column)
