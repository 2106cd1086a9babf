"""What a node did in a trial."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from flow.context import MetricsInMemory
from flow.saved import Packed, pack
from flow.testing.stage import Event

NOTHING = pack({})


@dataclass
class Record:
    """What a node did.

    Attributes:
      events: what passed its ports, in order. heard_before_cancel: how many of them before it was cancelled.
      error: what it raised. stuck: why it had to be stopped, "" if it ended itself.
      steps: of all its tasks. hogs: CPU seconds by step, of those that took long. effects: see Faults.
      snapshot, snapshot_events: its state when it was taken, and how many events came before. state: at its end.
      stopping_s: how long it took to end once cancelled. ended: whether it returned of itself.
      complaints: what it did to its surroundings. nonconforming: what it tried to say that its types do not allow.
    """

    events: list[Event] = field(default_factory=list)
    heard_before_cancel: int | None = None
    error: BaseException | None = None
    stuck: str = ""
    steps: int = 0
    hogs: dict[int, float] = field(default_factory=dict)
    effects: list[str] = field(default_factory=list)
    injected: bool = False
    snapshot: Packed | None = None
    snapshot_events: int = 0
    state: Packed | None = None
    state_error: Exception | None = None
    stopping_s: float = 0.0
    ended: bool = False
    cancelled: bool = False
    complaints: list[str] = field(default_factory=list)
    nonconforming: list[str] = field(default_factory=list)
    digests: list[bytes] = field(default_factory=list)
    metrics: MetricsInMemory = field(default_factory=MetricsInMemory)

    def taken(self, stop: int | None = None) -> list[Event]:
        return [event for event in self.events[:stop] if event.kind == "taken"]

    def said(self, start: int = 0, stop: int | None = None) -> dict[str, list[Any]]:
        """By port, what it said: messages sent, asked, published with their version, and answers by question."""
        found: dict[str, list[Any]] = {}
        for event in self.events[start:stop]:
            if event.kind == "answered" or event.kind == "published":
                found.setdefault(event.port, []).append((event.number, event.message))
            elif event.kind != "taken":
                found.setdefault(event.port, []).append(event.message)
        for port, items in found.items():
            if any(event.kind == "answered" and event.port == port for event in self.events[start:stop]):
                items.sort(key=lambda pair: pair[0])
        return found
