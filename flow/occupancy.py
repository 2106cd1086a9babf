"""What a node spends its time on: it is busy, starved, blocked or paused, one of them at any moment.

    a thread of it computes                                busy
    a task of it waits for room to send                    blocked
    a task of it waits for a message, an answer, a value   starved
    or a moment (`flow.sleep_until`)
    the inspector holds it                                 paused
    else                                                   busy

The first line that holds counts, so that the four add up to the time that passed. Times are accounted when a task
begins or ends a wait, never for a message that need not wait, and with each beat of the worker, so that a wait
under way is seen too.
"""

from __future__ import annotations

from time import perf_counter
from typing import Literal, Protocol

from flow.stats import Counter, Page

Doing = Literal["busy", "starved", "blocked", "paused"]
DOINGS: tuple[Doing, ...] = ("busy", "starved", "blocked", "paused")


class Adds(Protocol):
    """A count that grows."""

    def add(self, n: int = 1) -> None: ...


class Occupancy:
    """Accounts one node's time into its page, in counters `_busy_us`, `_starved_us`, `_blocked_us`, `_paused_us`."""

    def __init__(self, page: Page) -> None:
        self._counters: dict[Doing, Counter] = {doing: page.counter(f"_{doing}_us", "us") for doing in DOINGS}
        self._since = 0.0
        self._runs = False
        self._computing = 0
        self._waits = {"starved": 0, "blocked": 0, "paused": 0}
        self._doing: Doing = "busy"

    def start(self) -> None:
        """The node begins; none of its tasks waits."""
        self._since, self._runs, self._doing, self._computing = perf_counter(), True, "busy", 0
        self._waits = dict.fromkeys(self._waits, 0)

    def stop(self) -> None:
        """The node ended or failed: its time is nobody's."""
        self.settle()
        self._runs = False

    def settle(self) -> None:
        """Account the time until now."""
        now = perf_counter()
        if self._runs:
            self._counters[self._doing].add(int(1e6 * (now - self._since)))
        self._since = now

    def wait(self, why: Doing, tasks: int) -> None:
        """One task more waits for that reason (1), or one less (-1)."""
        self._waits[why] += tasks
        self._turn()

    def compute(self, calls: int) -> None:
        """One thread more computes (1), or one less (-1)."""
        self._computing += calls
        self._turn()

    def _turn(self) -> None:
        waits = self._waits
        doing: Doing = (
            "busy"
            if self._computing
            else "blocked"
            if waits["blocked"]
            else "starved"
            if waits["starved"]
            else "paused"
            if waits["paused"]
            else "busy"
        )
        if doing != self._doing:
            self.settle()
            self._doing = doing


class Wait:
    """Waiting at one end of an edge, as a context: sums the time of all tasks that wait there.

    total_us: where it is summed. why: what the node then is, "starved" or "blocked". occupancy: the node's.
    """

    __slots__ = ("_occupancy", "_since", "_tasks", "_total_us", "_why")

    def __init__(self, total_us: Adds, why: Doing = "starved", occupancy: Occupancy | None = None) -> None:
        self._total_us = total_us
        self._why: Doing = why
        self._occupancy = occupancy
        self._tasks = 0
        self._since = 0.0

    def __enter__(self) -> None:
        self.settle()
        self._tasks += 1
        if self._occupancy is not None:
            self._occupancy.wait(self._why, 1)

    def __exit__(self, *exc: object) -> None:
        self.settle()
        self._tasks -= 1
        if self._occupancy is not None:
            self._occupancy.wait(self._why, -1)

    def settle(self) -> None:
        """Sum the time until now."""
        now = perf_counter()
        if self._tasks:
            self._total_us.add(int(1e6 * (now - self._since) * self._tasks))
        self._since = now
