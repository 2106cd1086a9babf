"""Which part of a piece of memory is free: first fit, lowest address first, neighbours joined again.

A state machine with no memory of its own. Taking the lowest place that fits uses the same few pages again and again:
they are in the processor's cache, and no page is touched that the messages under way do not need.
"""

from __future__ import annotations

from bisect import bisect_left

ALIGNMENT = 64
"""Every place is a multiple of a cache line, in bytes."""


class Arena:
    """Places in `size` bytes of memory."""

    def __init__(self, size: int) -> None:
        self.size = size
        # Free stretches in order of address; no two touch.
        self._starts = [0]
        self._sizes = [size]

    @property
    def free(self) -> int:
        """Bytes that nobody holds; not all of them in one stretch."""
        return sum(self._sizes)

    def take(self, size: int) -> int | None:
        """Where `size` bytes may be put from now on; None if there is no such stretch."""
        size = rounded(size)
        index = next((index for index, room in enumerate(self._sizes) if room >= size), None)
        if index is None:
            return None
        start, room = self._starts[index], self._sizes[index]
        if room == size:
            del self._starts[index], self._sizes[index]
        else:
            self._starts[index], self._sizes[index] = start + size, room - size
        return start

    def give_back(self, start: int, size: int) -> None:
        """What `take` gave for `size` is free again.

        Raises:
          ValueError: some of it was free already.
        """
        end = start + rounded(size)
        at = bisect_left(self._starts, start)
        # Where the free stretch below ends, and the one above begins.
        below = self._starts[at - 1] + self._sizes[at - 1] if at else 0
        above = self._starts[at] if at < len(self._starts) else self.size
        if start < below or end > above:
            raise ValueError(f"bytes {start} to {end} of {self.size} are not all in use")
        if at < len(self._starts) and end == above:
            end += self._sizes[at]
            del self._starts[at], self._sizes[at]
        if at and start == below:
            self._sizes[at - 1] = end - self._starts[at - 1]
        else:
            self._starts.insert(at, start)
            self._sizes.insert(at, end - start)


def rounded(size: int) -> int:
    """Bytes that a block of `size` takes: whole cache lines, at least one."""
    return max(ALIGNMENT, (size + ALIGNMENT - 1) // ALIGNMENT * ALIGNMENT)
