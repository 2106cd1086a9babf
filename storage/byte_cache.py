"""Decoded values that are kept in memory up to a number of bytes; those used last stay. Not locked."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from typing import Generic, TypeVar

V = TypeVar("V")


class ByteCache(Generic[V]):
    """Values by number.

    Args:
      bytes_max: what is kept at most; a value larger than all of it is not kept at all.
    """

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._values: OrderedDict[int, tuple[V, int]] = OrderedDict()
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._values)

    def get(self, numbers: Iterable[int]) -> dict[int, V]:
        """The values of those numbers of which one is kept; they are now the ones used last."""
        found = {}
        for number in numbers:
            kept = self._values.get(number)
            if kept is not None:
                self._values.move_to_end(number)
                found[number] = kept[0]
        return found

    def put(self, number: int, value: V, size: int) -> None:
        """Keep a value of `size` bytes, and let those go that were used longest ago."""
        self.drop(number)
        if size > self._bytes_max:
            return
        self._values[number] = (value, size)
        self.bytes += size
        while self.bytes > self._bytes_max:
            self.bytes -= self._values.popitem(last=False)[1][1]

    def drop(self, number: int) -> None:
        """Forget a value, if it is kept."""
        found = self._values.pop(number, None)
        if found is not None:
            self.bytes -= found[1]
