"""What one end of an edge counts: messages, bytes, drops, and the time it waited for the other end.

In a worker the counts are slots of the node's stats page, so that they are exact also after a SIGKILL.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

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
    or was lost. waited_us: how long a receiver starved, or a sender was blocked.
    """

    messages: Count = field(default_factory=Number)
    size: Count = field(default_factory=Number)
    dropped: Count = field(default_factory=Number)
    unsettled: Count = field(default_factory=Number)
    waited_us: Count = field(default_factory=Number)

    @staticmethod
    def on(page: Page, name: str) -> Tally:
        """A tally whose counts are slots of a page."""
        return Tally(
            page.counter(name),
            page.counter(f"{name}_bytes", "B"),
            page.counter(f"{name}_dropped"),
            page.counter(f"{name}_unsettled"),
            page.counter(f"{name}_waited_us", "us"),
        )

    def add(self, size: int) -> None:
        """Count one message."""
        self.messages.add()
        self.size.add(size)

    def waited(self, seconds: float) -> None:
        self.waited_us.add(int(seconds * 1e6))
