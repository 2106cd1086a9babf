"""The ledger of a run: on every edge, what was sent was received, was dropped, or is under way."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from flow.stats import read_page

_NAME = re.compile(r"edge\.(?P<edge>.+)\.(?P<end>sent|received)(?P<what>|_dropped|_unsettled)")


@dataclass
class EdgeCount:
    """What the ends of one edge counted, over all replicas.

    unsettled: messages under way to a receiver that died; each was received or was lost.
    """

    sent: int = 0
    received: int = 0
    dropped: int = 0
    unsettled: int = 0

    @property
    def under_way(self) -> int:
        """Messages neither received nor known to be lost, those `unsettled` and lost included."""
        return self.sent - self.received - self.dropped


def edge_counts(state: Path) -> dict[str, EdgeCount]:
    """The counts of every edge of a run, from the pages in its `state` directory."""
    counts: dict[str, EdgeCount] = {}
    # What came out is read before what went in: what goes in meanwhile then looks under way, and is.
    ends: dict[bool, list[tuple[re.Match[str], int]]] = {False: [], True: []}
    for sending in (False, True):
        for path in sorted(state.glob("*.page")):
            view = read_page(path)
            for name, value in view.counters.items() if view is not None else ():
                match = _NAME.fullmatch(name)
                if match is not None and (match["end"] == "sent" and not match["what"]) is sending:
                    ends[sending].append((match, value))
    for found in ends.values():
        for match, value in found:
            count = counts.setdefault(match["edge"], EdgeCount())
            if match["what"] == "_dropped":
                count.dropped += value
            elif match["what"]:
                count.unsettled += value
            elif match["end"] == "sent":
                count.sent += value
            else:
                count.received += value
    return counts


class Ledger:
    """Looks at a run's edges now and then. late: pages of other hosts are copies, some fractions of a second old."""

    def __init__(self, state: Path, *, late: bool) -> None:
        self._state, self._late = state, late
        self._before: dict[str, EdgeCount] = {}

    def problems(self) -> list[str]:
        """Edges on which more came out than went in."""
        counts = edge_counts(self._state)
        if self._late:
            # What had come out when it was looked at last has gone in by now, also in the oldest copy.
            before, self._before = self._before, counts
            then = {edge: before.get(edge, EdgeCount()) for edge in counts}
            counts = {edge: replace(then[edge], sent=count.sent) for edge, count in counts.items()}
        return problems(counts)


def problems(counts: dict[str, EdgeCount]) -> list[str]:
    """Edges on which more came out than went in."""
    return [
        f"edge {edge}: {count.received} received and {count.dropped} dropped, but only {count.sent} sent"
        for edge, count in counts.items()
        if count.under_way < 0
    ]
