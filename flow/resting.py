"""When a node is between two messages, which is when its state can be taken."""

from __future__ import annotations

import inspect
from collections.abc import Callable

import trio
from trio.lowlevel import current_task

from flow.computing import WorkThreads


class AtRest:
    """Knows when a node is between two messages: a task of it waits on a port and none of its computing goes on."""

    def __init__(self) -> None:
        self.waiting = 0
        self.takes = 0
        self.threads: WorkThreads | None = None
        self.when_resting: list[Callable[[], None]] = []
        self.when_empty_handed: list[Callable[[], None]] = []
        self.nothing_comes: Callable[[], bool] = bool
        self.at_each_rest: Callable[[], None] | None = None
        self.holding: set[trio.lowlevel.Task] = set()

    @property
    def now(self) -> bool:
        """Whether it rests now, be it with a message in hand."""
        return bool(self.waiting) and not (self.threads and self.threads.busy)

    @property
    def empty_handed(self) -> bool:
        """Whether every task that took a message has come back for the next, or has ended."""
        self.holding = {task for task in self.holding if inspect.getcoroutinestate(task.coro) != inspect.CORO_CLOSED}
        return not self.holding

    def __enter__(self) -> None:
        self.waiting += 1
        self.look()

    def __exit__(self, *exc: object) -> None:
        self.waiting -= 1

    def look(self, *, taking: bool = False) -> None:
        """Do what waits for the node to rest, if it rests now. taking: a task of it is about to wait for a message."""
        if not (self.when_resting or self.when_empty_handed or self.at_each_rest):
            return  # at each message
        if self.now:
            due, self.when_resting = self.when_resting, []
            # One that waits already may have been woken for a message, and has it in hand when it goes on.
            if taking or (self.takes and self.nothing_comes()):
                due, self.when_empty_handed = [*due, *self.when_empty_handed], []
            for act in due:
                act()
            if self.at_each_rest is not None:
                self.at_each_rest()


class Taking:
    """At rest with nothing in hand: a task waits for a message. What it may be cancelled in, and nothing is lost."""

    def __init__(self, rest: AtRest) -> None:
        self._rest = rest

    def __enter__(self) -> None:
        rest = self._rest
        rest.holding.discard(current_task())
        rest.takes += 1
        rest.waiting += 1
        rest.look(taking=True)

    def __exit__(self, *exc: object) -> None:
        rest = self._rest
        rest.takes -= 1
        rest.waiting -= 1
        if exc[0] is None:
            rest.holding.add(current_task())
