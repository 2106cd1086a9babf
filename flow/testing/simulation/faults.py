"""What goes wrong in a simulated run, and when: a list that a seed draws, and that a failing run is shrunk by.

| kind  | what happens                                                                | counted in           |
| raise | a node raises at one of its steps: at a port, before or after, or a computation | steps of that node   |
| kill  | a worker is gone, with all its nodes, without any cleanup                   | events of the worker |
| late  | a message takes up to seconds longer, and all behind it on its connection   | messages on the wire |
| hang  | a node does nothing for a while                                             | steps of that node   |
| disk  | a write fails with "Input/output error"                                     | writes               |
| full  | a write fails with "No space left on device", for which a run may end       | writes               |
| stop  | Ctrl-C: the run drains                                                      | events of the run    |
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

KINDS = ("raise", "kill", "late", "hang", "disk", "full", "stop")
# A full disk ends a run for good and Ctrl-C early; neither is drawn unless asked for, since the runs would be short.
USUAL = ("raise", "kill", "late", "hang", "disk")
MOST = 5
_HOW_MANY = (1, 1, 2, 2, 3, MOST)
_SECONDS = (0.001, 0.05, 1.0, 5.0)
# Faults are drawn a little beyond the length of a run without any: what they cause makes it longer.
_BEYOND = 1.2


class InjectedFault(Exception):
    """Raised in a node by a simulated run."""


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong. target: a node replica, a worker, or "". at: at which count. seconds: how long."""

    kind: str
    target: str
    at: int
    seconds: float = 0.0

    def __str__(self) -> str:
        what = {
            "raise": f"{self.target} raises at its step {self.at}",
            "kill": f"worker {self.target} is killed at its event {self.at}",
            "late": f"message {self.at} on the wire is {self.seconds:g} s late",
            "hang": f"{self.target} hangs for {self.seconds:g} s at its step {self.at}",
            "disk": f"write {self.at} fails: input/output error",
            "full": f"write {self.at} fails: no space left",
            "stop": f"Ctrl-C at event {self.at} of the run",
        }
        return what[self.kind]


@dataclass
class Survey:
    """How long a run is: by kind of count and target, what a run without faults came to."""

    counts: Counter[tuple[str, str]] = field(default_factory=Counter)

    def targets(self, what: str) -> list[tuple[str, int]]:
        return sorted((target, count) for (kind, target), count in self.counts.items() if kind == what)


_COUNTED_IN = {
    "raise": "steps",
    "hang": "steps",
    "kill": "events",
    "late": "packets",
    "disk": "writes",
    "full": "writes",
    "stop": "total",
}


def draw_faults(random: Random, survey: Survey, kinds: Sequence[str]) -> tuple[Fault, ...]:
    """Between one and five faults; fewer where a graph has nothing that a kind could befall."""
    drawn: list[Fault] = []
    for _ in range(random.choice(_HOW_MANY)):
        kind = random.choice(list(kinds))
        targets = survey.targets(_COUNTED_IN[kind])
        if not targets:
            continue
        target, count = random.choice(targets)
        at = random.randint(1, max(1, round(count * _BEYOND)))
        seconds = random.choice(_SECONDS) if kind in ("late", "hang") else 0.0
        if kind in ("stop", "full") and any(fault.kind == kind for fault in drawn):
            continue
        drawn.append(Fault(kind, target, at, seconds))
    return tuple(drawn)


class Faults:
    """The faults of one run as it comes to them. count: how far everything has come; injected: what happened."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        self.injected: Counter[str] = Counter()
        self.last_at = 0.0
        self._at: dict[tuple[str, str], dict[int, list[Fault]]] = defaultdict(lambda: defaultdict(list))
        for fault in faults:
            self._at[_COUNTED_IN[fault.kind], fault.target][fault.at].append(fault)

    def come(self, what: str, target: str = "") -> list[Fault]:
        """One more of this; what goes wrong now. Each happens once."""
        key = (what, target)
        self.counts[key] += 1
        waiting = self._at.get(key)
        return waiting.pop(self.counts[key], []) if waiting else []
