"""Blocking work, away from the loop.

    answers = await compute(forward, batch.questions)

A GPU step, a codec, an emulator: each runs in a thread of the node's own, so that the loop always answers. A
thread that lives as long as its node costs a third of one taken from a pool for each call, and keeps what belongs
to a thread (a CUDA stream, a codec's context) in one place.
"""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter_ns
from typing import Any, Generic, ParamSpec, TypeVar, cast

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
    arguments: tuple[Any, ...] = ()
    result: Any = None
    error: BaseException | None = None
    asked: int = field(default_factory=perf_counter_ns)
    began: int = 0
    ended: int = 0

    def work(self) -> None:
        """In the thread: call the function."""
        self.began = perf_counter_ns()
        try:
            self.result = self.function(*self.arguments)
        except BaseException as error:
            self.error = error
        self.ended = perf_counter_ns()

    def outcome(self) -> Any:
        """In the loop: what came of it."""
        if self.error is not None:
            raise self.error
        return self.result


@dataclass
class _Call(_Work):
    """Work that its caller waits for."""

    caller: trio.lowlevel.Task = field(default_factory=trio.lowlevel.current_task)
    token: trio.lowlevel.TrioToken = field(default_factory=trio.lowlevel.current_trio_token)

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
        self._work: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._now: _Call | None = None
        # A daemon: a thread stuck in a driver must not keep a stopping process alive.
        self._thread = threading.Thread(target=self._run, name=f"{node} {name}", daemon=True)
        self._thread.start()

    async def run(self, function: Callable[..., R], *arguments: Any, told: Told | None = None) -> R:
        """The function's result. A call once begun is waited for, also when the caller is cancelled."""
        await trio.lowlevel.checkpoint_if_cancelled()
        work = _Call(function, arguments)
        self._work.put(work)
        # An event in a shielded scope says the same and costs twice as much.
        await trio.lowlevel.wait_task_rescheduled(_not_cancelled)
        if told is not None:
            told(self.name, _named(function), work.asked, work.began, work.ended)
        return cast(R, work.outcome())

    def computing(self) -> Computing | None:
        """What it computes now, None if it waits for work."""
        work, ident = self._now, self._thread.ident
        return None if work is None or ident is None else Computing(self.name, ident, work.began)

    def stop(self) -> None:
        """Let the thread end when it has done what it was given."""
        self._work.put(None)

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            self._now = work
            work.work()
            self._now = None
            try:
                work.token.run_sync_soon(work.done)
            except trio.RunFinishedError:  # the loop ended first; nobody waits
                return
            del work


class AheadThread(Generic[R]):
    """A thread that is in the next call of one function when its result is asked for.

    Everything but the call itself happens in the loop.
    """

    def __init__(self, node: str, name: str, function: Callable[[], R]) -> None:
        self.name, self._function = name, function
        self._token = trio.lowlevel.current_trio_token()
        self._come: deque[_Work] = deque()
        self._caller: trio.lowlevel.Task | None = None
        self._asked = 0
        self._over = False
        self._thread = threading.Thread(target=self._run, name=f"{node} {name}", daemon=True)
        self._thread.start()

    async def next(self, told: Told | None) -> R:
        """The next result; it is waited for, also when the caller is cancelled."""
        await trio.lowlevel.checkpoint_if_cancelled()
        self._asked = perf_counter_ns()
        if self._come:
            await trio.lowlevel.cancel_shielded_checkpoint()
        else:
            self._caller = trio.lowlevel.current_task()
            await trio.lowlevel.wait_task_rescheduled(_not_cancelled)
        work, asked, self._asked = self._come.popleft(), self._asked, 0
        if told is not None:
            told(self.name, _named(self._function), asked, min(asked, work.ended), work.ended)
        return cast(R, work.outcome())

    def computing(self) -> Computing | None:
        """The call whose result is waited for; one that nobody has asked for is no computation."""
        ident = self._thread.ident
        return Computing(self.name, ident, self._asked) if self._caller is not None and ident is not None else None

    def stop(self) -> None:
        """Let the thread end with the call that it is in."""
        self._over = True

    def _run(self) -> None:
        failed = False
        while not self._over and not failed:
            work = _Work(self._function)
            work.work()
            failed = work.error is not None
            try:
                self._token.run_sync_soon(self._came, work)
            except trio.RunFinishedError:  # the loop ended first; nobody waits
                return
            del work

    def _came(self, work: _Work) -> None:
        self._come.append(work)
        if self._caller is not None:
            trio.lowlevel.reschedule(self._caller)
            self._caller = None


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
        self._ahead: list[AheadThread[Any]] = []

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

    def ahead(self, name: str, function: Callable[[], R]) -> AheadThread[R] | None:
        """A thread that calls the function again and again; None where blocking work is done in the loop."""
        self._ahead.append(AheadThread(self._node, name, function))
        return self._ahead[-1]

    async def next(self, ahead: AheadThread[R]) -> R:
        """The next result of a thread of `ahead`."""
        self._count(1)
        try:
            return await ahead.next(self.told)
        finally:
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
        workers: list[WorkThread | AheadThread[Any]] = [*self._threads.values(), *self._ahead]
        return [each for worker in workers if (each := worker.computing()) is not None]

    def _count(self, calls: int) -> None:
        self.busy += calls
        if self._occupancy is not None:
            self._occupancy.compute(calls)

    def stop(self) -> None:
        for worker in self._threads.values():
            worker.stop()
        for ahead in self._ahead:
            ahead.stop()


class InTheLoop(WorkThreads):
    """Blocking work done at once, in no thread: where a test's clock must not jump over it, and a debugger follows."""

    async def run(self, thread: str, function: Callable[..., R], *arguments: Any) -> R:
        await trio.lowlevel.checkpoint()
        return function(*arguments)

    def ahead(self, name: str, function: Callable[[], R]) -> None:
        return None


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


class Arriving(Generic[R]):
    """Results of calls that only wait for what was begun before: a step of emulators, an answer of a device.

        with Arriving(env.recv, thread="emulator") as steps:
            env.send(actions)
            ...
            observations, *rest = await steps.next()

    A thread of its own waits in the next call already when a result is asked for. `compute` hands each call to its
    thread, which wakes for it only to wait: 2 % of the steps of an Atari actor on two cores (tools.bench.stepping).

    Args:
      function: called again as soon as it has returned.
      thread: what its thread is called.
      release: makes a call return that waits for what nobody will begin; called at the end, in the loop.
    """

    def __init__(self, function: Callable[[], R], *, thread: str, release: Callable[[], object]) -> None:
        self._function, self._name, self._release = function, thread, release
        self._threads = current_threads.get()
        self._ahead = None if self._threads is None else self._threads.ahead(thread, function)

    def __enter__(self) -> Arriving[R]:
        return self

    def __exit__(self, *exc: object) -> None:
        if self._ahead is not None:
            self._ahead.stop()
            self._release()

    async def next(self) -> R:
        """The next result, in the order in which they came; raises what the function raised, which ends it."""
        if self._ahead is None or self._threads is None:
            return await compute(self._function, thread=self._name)
        return await self._threads.next(self._ahead)


async def sleep_until(moment: float) -> None:
    """Sleep until a moment of `trio.current_time()`, as `trio.sleep_until`, and be told to wait, not to be busy."""
    threads = current_threads.get()
    if threads is None:  # a node called from a test without a runtime
        await trio.sleep_until(moment)
    else:
        await threads.sleep_until(moment)
