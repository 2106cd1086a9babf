"""Couples how fast a replay is drawn from to how fast it is filled.

    drawn ≤ ratio · inserted since drawing began             else drawing waits
    ratio · inserted since drawing began ≤ drawn + slack     else inserting waits

Without this a learning curve depends on how fast a machine is. Source: the rate limiter of Reverb, arXiv:2102.04736.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass
class Counts:
    """Steps so far; kept in checkpoints. begun: how many were inserted when drawing began, -1 before."""

    inserted: int = 0
    drawn: int = 0
    begun: int = -1


@dataclass
class Pace:
    """Who may go on; decisions only, no I/O and no clock.

    ratio: steps drawn for each step inserted. slack: how many of them drawing may be behind; at least as many as are
    drawn at once, or either side could wait for the other.
    """

    ratio: float
    slack: int
    counts: Counts = field(default_factory=Counts)

    @property
    def due(self) -> float:
        """Steps that are to be drawn now."""
        counts = self.counts
        return self.ratio * (counts.inserted - counts.begun) - counts.drawn if counts.begun >= 0 else 0.0

    def begin(self) -> None:
        """From here on steps may be drawn."""
        if self.counts.begun < 0:
            self.counts.begun = self.counts.inserted

    def may_draw(self, steps: int) -> bool:
        return self.due >= steps

    def may_insert(self) -> bool:
        return self.due <= self.slack
