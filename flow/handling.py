"""How long a node is at a message: from taking it to asking for the next.

A clock costs as much as all else that is counted of a message, so quick ones are sampled: while a message takes
less than 50 us one in 32 is timed, and counts for all 32.
"""

from __future__ import annotations

from time import perf_counter

from flow.stats import Histogram

QUICK_S = 50e-6
SKIPPED = 31


class Handling:
    """Times the messages of one port; the port asks `timed` first, to spare the calls."""

    __slots__ = ("_histogram", "_since", "_stands_for", "skip", "timed")

    def __init__(self, histogram: Histogram) -> None:
        self._histogram = histogram
        self.skip = 0
        self.timed = False
        self._since = 0.0
        self._stands_for = 1

    def began(self) -> None:
        """A message was taken, and it is the turn of one to be timed."""
        self.timed = True
        self._since = perf_counter()

    def done(self) -> None:
        """The next message is asked for."""
        self.timed = False
        seconds = perf_counter() - self._since
        self._histogram.add(int(1e6 * seconds), self._stands_for)
        self.skip = SKIPPED if seconds < QUICK_S else 0
        self._stands_for = self.skip + 1
