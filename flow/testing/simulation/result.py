"""What came of one simulated run, and where it parts from another of the same seed."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from flow.testing.simulation.faults import Fault
from flow.testing.simulation.journal import TIMELINE, Violation


@dataclass(frozen=True)
class Result:
    """What came of one run. digest: of all that happened in it; seconds: virtual and real."""

    seed: int
    faults: tuple[Fault, ...]
    injected: Counter[str]
    violations: tuple[Violation, ...]
    digest: str
    messages: int
    seconds: float
    real_seconds: float
    outcome: str
    counts: Counter[tuple[str, str]]
    events: tuple[tuple[Any, ...], ...] = ()

    def with_violation(self, rule: str, text: str, timeline: tuple[str, ...] = ()) -> Result:
        """The same, and something wrong with it."""
        return replace(self, violations=(*self.violations, Violation(rule, text, timeline)))

    def differing(self, other: Result) -> Result:
        """This result, and where the events of another run of the same seed part from its own."""
        for at, (mine, others) in enumerate(zip_longest(self.events, other.events)):
            if mine != others:
                before = tuple(f"{event[0]:10.4f}  {' '.join(map(str, event[1:]))}" for event in self.events[:at])
                text = f"the same seed gave {_told(mine)}, and the second time {_told(others)}"
                return self.with_violation("not the same run", text, before[-TIMELINE:])
        return self


def _told(event: tuple[Any, ...] | None) -> str:
    return "the end" if event is None else f"'{' '.join(map(str, event[1:]))}' at {event[0]:.4f} s"
