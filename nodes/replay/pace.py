"""How much is sampled for what is inserted: two rates held together, whatever each side's speed is.

        inserted ─►  due = ratio · (inserted - begun) - sampled      samples that inserts have called for, and not had
    a batch may be sent while due ≥ batch
    more may be inserted while due ≤ ratio · slack

Whoever is ahead waits: that withholds the credit of the edge behind it, so that what is learned does not depend on how
fast a machine is. Since ratio · slack ≥ batch, one of the two may always go on; `check` refuses anything else, and the
tests walk through all that can happen. Source: the rate limiter of Reverb, arXiv:2102.04736, §3.4.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import trio

from flow.errors import SettingError


@dataclass
class Counts:
    """Steps inserted, and steps or windows sampled; kept in checkpoints. begun: inserted when sampling began, or -1."""

    inserted: int = 0
    sampled: int = 0
    begun: int = -1


def check(*, least: tuple[str, int], capacity: tuple[str, int]) -> None:
    """Hold settings, each with its name, to what can happen at all.

    Raises:
      SettingError: sampling would never begin.
    """
    if least[1] > capacity[1]:
        raise SettingError(
            f"{least[0]}={least[1]} is more than {capacity[0]}={capacity[1]}: no sample would be sent; "
            f"set {least[0]} = {capacity[1]} or less, or raise {capacity[0]}"
        )


def check_slack(ratio: float, slack: int, batch: int) -> None:
    """Hold a pace to its law.

    Raises:
      SettingError: slack is too small for a whole batch, so that both would wait for each other.
    """
    if slack * ratio < batch:
        raise SettingError(
            f"slack={slack} positions, sampled {ratio:g} times each, are less than batch={batch}: playing and "
            f"learning would wait for each other; set slack = {math.ceil(batch / ratio)} or more"
        )


class Pace:
    """Says when to insert and when to sample.

    Args:
      counts: what was done so far; kept up here.
      ratio: samples for each insert.
      batch: how many are sampled at once.
      slack: inserts that may be ahead; None: as few as a batch takes, so that samples follow from inserts alone.
      least: inserted before the first sample.
    """

    def __init__(self, counts: Counts, ratio: float, batch: int, *, slack: int | None = None, least: int = 0) -> None:
        if slack is not None:
            check_slack(ratio, slack, batch)
        self._counts, self._ratio, self._batch, self._least = counts, ratio, batch, least
        # A batch short of one: with that much due nothing can be sent, so inserting must go on.
        self._due_max = batch if slack is None else ratio * slack
        self._changed = trio.lowlevel.ParkingLot()

    @property
    def due(self) -> float:
        """Samples that are called for."""
        counts = self._counts
        return self._ratio * (counts.inserted - counts.begun) - counts.sampled if counts.begun >= 0 else 0.0

    def may_sample(self) -> bool:
        """Whether a batch is called for."""
        return self._counts.begun >= 0 and self._counts.inserted >= self._least and self.due >= self._batch

    def may_insert(self) -> bool:
        """Whether more may be inserted."""
        return self._counts.begun < 0 or self._counts.inserted < self._least or self.due <= self._due_max

    def begin(self, inserted: int) -> None:
        """Count what samples are due from so many inserts on, if that has not begun."""
        if self._counts.begun < 0:
            self._counts.begun = inserted
            self._changed.unpark_all()

    def note_inserted(self, count: int) -> None:
        """So many were inserted."""
        self._counts.inserted += count
        self._changed.unpark_all()

    def note_sampled(self) -> None:
        """A batch was sent."""
        self._counts.sampled += self._batch
        self._changed.unpark_all()

    async def wait_to_sample(self) -> None:
        """Until enough was inserted for another batch."""
        while not self.may_sample():
            await self._changed.park()

    async def wait_to_insert(self) -> None:
        """Until enough was sampled for more to be inserted."""
        while not self.may_insert():
            await self._changed.park()
