"""What a rule of the contract is, and what it looks at."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from flow.errors import FlowError
from flow.node_type import NodeType
from flow.testing.case import Case
from flow.testing.cases import Wants
from flow.testing.trial import How, Record, play

# How much longer than the loop's own CPU time a rule may take: threads of a node, and other programs, have the rest.
WALL = 4.0


class Budget:
    """Seconds of this thread's CPU, so that a busy machine tries no less; or more of the clock's, if those go first."""

    def __init__(self, seconds: float = float("inf")) -> None:
        self.seconds = seconds
        self._cpu, self._wall = time.thread_time(), time.monotonic()

    @property
    def spent(self) -> float:
        return max(time.thread_time() - self._cpu, (time.monotonic() - self._wall) / WALL)

    @property
    def over(self) -> bool:
        return self.spent > self.seconds


class BrokenError(AssertionError):
    """A node broke a rule; the text says how."""


class UnfitError(Exception):
    """A case that says nothing of a rule. refused: the node refuses it by name, as it may; "" if it broke another."""

    def __init__(self, refused: str = "") -> None:
        super().__init__(refused)
        self.refused = refused


@dataclass
class Subject:
    """A node and a case, held to a rule. budget: of a long loop, which had better stop when it is over."""

    type: NodeType[Any]
    case: Case
    budget: Budget = field(default_factory=Budget)
    tried: int = 0
    _plain: Record | None = field(default=None, repr=False)

    def play(self, how: How | None = None, case: Case | None = None) -> Record:
        """Play the case, or another, and count that."""
        self.tried += 1
        return play(self.type, case or self.case, how)

    def plain(self) -> Record:
        """The case as it is, played once.

        Raises:
          UnfitError: the node fails on it, which is another rule's matter, or refuses it.
        """
        if self._plain is None:
            self._plain = self.sound(self.play())
        return self._plain

    def sound(self, record: Record) -> Record:
        """The record of a trial that went well. Raises UnfitError if it did not."""
        if record.nonconforming or record.stuck:
            raise UnfitError
        if record.error is not None:
            raise UnfitError(str(record.error) if isinstance(record.error, FlowError) else "")
        return record

    def count(self, *kinds: str) -> int:
        """How many ports of these kinds the node has."""
        return sum(port.kind in kinds for port in self.type.ports.values())

    def steps(self, last: int) -> list[int]:
        """1, 2, … `last`, fewer when time runs out: first a few from all over, then those between."""
        return sorted(range(1, last + 1), key=lambda step: (bin(step)[::-1].find("1") < 2, step))

    @property
    def late(self) -> bool:
        return self.budget.over

    def with_settings(self, **settings: Any) -> Case:
        return replace(self.case, settings={**self.case.settings, **settings})


@dataclass(frozen=True)
class Rule:
    """One rule.

    Attributes:
      id: "C07". line: what it says. applies: "" for a node it speaks of, else why it does not.
      check: raises BrokenError where the node breaks it, UnfitError where the case says nothing.
      wants: what cases it is tried on.
      some: it is kept if one case shows it, and broken if none does.
    """

    id: str
    line: str
    check: Callable[[Subject], None]
    applies: Callable[[NodeType[Any]], str]
    wants: Wants = field(default_factory=lambda: Wants(least=1))
    some: bool = False


def kinds_of(node_type: NodeType[Any]) -> set[str]:
    return {port.kind for port in node_type.ports.values()}


def always(node_type: NodeType[Any]) -> str:
    return ""


def needs(*kinds: str) -> Callable[[NodeType[Any]], str]:
    """A rule for nodes that have a port of one of these kinds."""

    def applies(node_type: NodeType[Any]) -> str:
        return "" if kinds_of(node_type) & set(kinds) else f"it has no {' and no '.join(kinds)} port"

    return applies
