"""What one end of an edge counts: messages, bytes, drops, and the time it waited for the other end.

In a worker the counts are slots of the node's stats page, so that they are exact also after a SIGKILL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from flow.occupancy import Doing, Occupancy, Wait
from flow.stats import Page


class Count(Protocol):
    """A counter of a stats page, or a number in memory."""

    @property
    def value(self) -> int: ...
    def add(self, n: int = 1) -> None: ...


@dataclass
class Number:
    """A count that no page holds, for ports made in a test."""

    value: int = 0

    def add(self, n: int = 1) -> None:
        self.value += n


@dataclass
class Tally:
    """One end of an edge.

    messages, size: what this end sent, or what its node took, in messages and bytes. dropped: what is known to be
    lost, or was replaced by something newer. unsettled: what was under way to a receiver that died; each was taken
    or was lost. answered: questions that got their answer. waited_us: how long tasks of a receiver starved, or of a
    sender were blocked; they wait within `waiting`.
    """

    messages: Count = field(default_factory=Number)
    size: Count = field(default_factory=Number)
    dropped: Count = field(default_factory=Number)
    unsettled: Count = field(default_factory=Number)
    waited_us: Count = field(default_factory=Number)
    answered: Count = field(default_factory=Number)
    why: Doing = "starved"
    occupancy: Occupancy | None = None

    def __post_init__(self) -> None:
        self.waiting = Wait(self.waited_us, self.why, self.occupancy)

    @staticmethod
    def on(page: Page, name: str, why: Doing = "starved", occupancy: Occupancy | None = None) -> Tally:
        """A tally whose counts are slots of a page.

        Args:
          why: what the node is while a task of it waits at this end.
          occupancy: of the node.
        """
        return Tally(
            page.counter(name),
            page.counter(f"{name}_bytes", "B"),
            page.counter(f"{name}_dropped"),
            page.counter(f"{name}_unsettled"),
            page.counter(f"{name}_waited_us", "us"),
            why=why,
            occupancy=occupancy,
        )

    def add(self, size: int) -> None:
        """Count one message."""
        self.messages.add()
        self.size.add(size)

    def take_back(self, size: int) -> None:
        """Count one message less: it was not sent after all."""
        self.messages.add(-1)
        self.size.add(-size)
