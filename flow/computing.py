"""Blocking work, away from the loop.

    answers = await compute(forward, batch.questions)

A GPU step, a codec, an emulator: each runs in a thread of the node's own, so that the loop always answers. A
thread that lives as long as its node costs a third of one taken from a pool for each call, and keeps what belongs
to a thread (a CUDA stream, a codec's context) in one place.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter_ns
from typing import Any, ParamSpec, TypeVar, cast

import trio

from flow.occupancy import Occupancy

P = ParamSpec("P")
R = TypeVar("R")


Told = Callable[[str, str, int, int, int], None]
"""Told a thread's name and a function's, and when it was asked for, began and ended, in ns of `perf_counter_ns`."""


@dataclass(frozen=True)
class Computing:
    """A computation under way. thread: its name among the node's, and `ident` Python's. began: ns."""

    thread: str
    ident: int
    began: int


@dataclass
class _Work:
    function: Callable[..., Any]
    arguments: tuple[Any, ...]
    caller: trio.lowlevel.Task
    token: trio.lowlevel.TrioToken
    result: Any = None
    error: BaseException | None = None
    asked: int = field(default_factory=perf_counter_ns)
    began: int = 0
    ended: int = 0

    def done(self) -> None:
        """In the loop: the caller goes on."""
        trio.lowlevel.reschedule(self.caller)


def _named(function: Callable[..., Any]) -> str:
    function = function.func if isinstance(function, partial) else function
    return getattr(function, "__qualname__", type(function).__name__)


def _not_cancelled(_: object) -> trio.lowlevel.Abort:
    return trio.lowlevel.Abort.FAILED


class WorkThread:
    """One thread that does what it is given, in order."""

    def __init__(self, node: str, name: str) -> None:
        self.name = name
        self._work: queue.SimpleQueue[_Work | None] = queue.SimpleQueue()
        self._now: _Work | None = None
        # A daemon: a thread stuck in a driver must not keep a stopping process alive.
        self._thread = threading.Thread(target=self._run, name=f"{node} {name}", daemon=True)
        self._thread.start()

    async def run(self, function: Callable[..., R], *arguments: Any, told: Told | None = None) -> R:
        """The function's result. A call once begun is waited for, also when the caller is cancelled."""
        await trio.lowlevel.checkpoint_if_cancelled()
        work = _Work(function, arguments, trio.lowlevel.current_task(), trio.lowlevel.current_trio_token())
        self._work.put(work)
        # An event in a shielded scope says the same and costs twice as much.
        await trio.lowlevel.wait_task_rescheduled(_not_cancelled)
        if told is not None:
            told(self.name, _named(function), work.asked, work.began, work.ended)
        if work.error is not None:
            raise work.error
        return cast(R, work.result)

    def computing(self) -> Computing | None:
        """What it computes now, None if it waits for work."""
        work, ident = self._now, self._thread.ident
        return None if work is None or ident is None else Computing(self.name, ident, work.began)

    def stop(self) -> None:
        """Let the thread end when it has done what it was given."""
        self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work.began = perf_counter_ns()
            self._now = work
            try:
                work.result = work.function(*work.arguments)
            except BaseException as error:
                work.error = error
            work.ended = perf_counter_ns()
            self._now = None
            try:
                work.token.run_sync_soon(work.done)
            except trio.RunFinishedError:  # the loop ended first; nobody waits
                return
            del work


class WorkThreads:
    """The threads of one node, made when first used.

    busy: calls under way, during which it is not at rest. told: hears of each call that is done.
    """

    def __init__(self, node: str, occupancy: Occupancy | None = None) -> None:
        self.busy = 0
        self.told: Told | None = None
        self._occupancy = occupancy
        self._node = node
        self._threads: dict[str, WorkThread] = {}

    async def run(self, thread: str, function: Callable[..., R], *arguments: Any) -> R:
        worker = self._threads.get(thread)
        if worker is None:
            worker = self._threads[thread] = WorkThread(self._node, thread)
        self._count(1)
        try:
            return await worker.run(function, *arguments, told=self.told)
        finally:
            # In the step in which the caller goes on, so that nobody takes the node to be at rest in between.
            self._count(-1)

    async def sleep_until(self, moment: float) -> None:
        """Sleep; the node is told to wait meanwhile, not to be busy."""
        if self._occupancy is not None:
            self._occupancy.wait("starved", 1)
        try:
            await trio.sleep_until(moment)
        finally:
            if self._occupancy is not None:
                self._occupancy.wait("starved", -1)

    def computing(self) -> list[Computing]:
        """What its threads compute now."""
        return [each for worker in self._threads.values() if (each := worker.computing()) is not None]

    def _count(self, calls: int) -> None:
        self.busy += calls
        if self._occupancy is not None:
            self._occupancy.compute(calls)

    def stop(self) -> None:
        for worker in self._threads.values():
            worker.stop()


class InTheLoop(WorkThreads):
    """Blocking work done at once, in no thread: where a test's clock must not jump over it, and a debugger follows."""

    async def run(self, thread: str, function: Callable[..., R], *arguments: Any) -> R:
        await trio.lowlevel.checkpoint()
        return function(*arguments)


current_threads: ContextVar[WorkThreads | None] = ContextVar("current_threads", default=None)


async def compute(function: Callable[..., R], *arguments: Any, thread: str = "compute") -> R:
    """Run blocking work in a thread of the node's own and wait for its result.

    Args:
      thread: which of the node's threads; calls that name the same one run one after the other.
    """
    threads = current_threads.get()
    if threads is None:  # a node called from a test without a runtime
        return await trio.to_thread.run_sync(function, *arguments)
    return await threads.run(thread, function, *arguments)


async def sleep_until(moment: float) -> None:
    """Sleep until a moment of `trio.current_time()`, as `trio.sleep_until`, and be told to wait, not to be busy."""
    threads = current_threads.get()
    if threads is None:  # a node called from a test without a runtime
        await trio.sleep_until(moment)
    else:
        await threads.sleep_until(moment)
