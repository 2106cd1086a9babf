"""Metrics that a graph names and nobody has: a name that is misspelt would keep a run from ever ending.

Who counts what is known only once it is counted: what is missing is told when a run has gone for a while, and at its
end.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable

from flow.monitor import TIME_LIMITS
from flow.progress import Progress

AFTER_S = 15.0
"""A run has begun to count by then, and nobody has waited for long."""
NEAR = 0.7


class MissingMetrics:
    """What `[until]` and `[report]` of one graph name."""

    def __init__(self, until: Iterable[str], show: Iterable[str], curve: str | None) -> None:
        self._until = [name for name in until if name not in TIME_LIMITS]
        self._report = list(dict.fromkeys([*show, *([curve] if curve else [])]))
        self._told = False

    def early(self, progress: Progress) -> list[str]:
        """What to say while it runs, once. What `[report]` names may come late, and is told if a near name is there."""
        if self._told or progress.elapsed < AFTER_S:
            return []
        self._told = True
        return [*self._goals(progress, " yet"), *self._reports(progress, " yet", all_of_them=False)]

    def late(self, progress: Progress, outcome: str) -> list[str]:
        """What to say at its end. outcome: "done", "stopped" or "failed", which is cause enough."""
        if outcome == "failed":
            return []
        return [*self._goals(progress, ""), *self._reports(progress, "", all_of_them=outcome == "done")]

    def _goals(self, progress: Progress, yet: str) -> Iterable[str]:
        for name in self._until:
            if name in progress.gauges or name in progress.series:
                what = "gauge" if name in progress.gauges else "series"
                yield f"[until] {name}: it is a {what}; only what is counted, or a time, ends a run"
            elif name not in progress.counters:
                yield f"[until] {name}: nobody has counted that{yet}{_near(name, progress.counters)}"

    def _reports(self, progress: Progress, yet: str, *, all_of_them: bool) -> Iterable[str]:
        known = {*progress.counters, *progress.gauges, *progress.series}
        for name in self._report:
            # A name that is asked for beside it is not what was meant.
            near = _near(name, known - {*self._report})
            if name not in known and (near or all_of_them):
                yield f"[report] {name}: nobody has counted or recorded that{yet}{near}"


def _near(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name.lower(), [each for each in known if each != name], n=1, cutoff=NEAR)
    return f"; did you mean {close[0]}?" if close else ""
