"""The steps of a node's tasks: counted, timed, one of them cancelled, and a node that will not stop stopped."""

from __future__ import annotations

import ctypes
import signal
import threading
import time
import types
from collections.abc import Awaitable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

import outcome
import trio

from flow.computing import current_threads

if TYPE_CHECKING:
    from flow.testing.trial import Trial

# So many steps without anything passing a port, none of them after a sleep of some length: the node spins.
SPIN_MAX = 4000
SLEEP_S = 0.01
# So many although it sleeps in between: it polls for what will never come.
POLL_MAX = 6_000
# CPU seconds of one step that hold up everyone else in a worker.
HOG_S = 0.05
# Real seconds after which a trial is broken off.
ALARM_S = 60.0

_monotonic, _thread_time = time.monotonic, time.thread_time  # a trial may change what the module holds


class DoesNotStopError(BaseException):
    """Thrown into a node that would go on for ever. Not an Exception: a node that catches those must not keep it."""


class Steps(trio.abc.Instrument):
    """Counts the steps of all tasks of the node, and acts at some of them.

    clock: CPU time of this thread. inside: whether a step of the node goes on now. hogs: CPU seconds by step.
    """

    clock = staticmethod(_thread_time)

    def __init__(self, trial: Trial) -> None:
        self.trial, self.task = trial, trio.lowlevel.current_task()
        self.count, self.inside = 0, False
        self.hogs: dict[int, float] = {}
        self._events, self._since, self._event_at, self._now = 0, 0, 0, 0.0
        self._began, self._spent = 0.0, 0.0

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task.context.get(current_threads) is not self.trial.stage.threads:
            return
        self.count += 1
        self.inside = True
        events, now = len(self.trial.record.events), trio.current_time()
        if events != self._events:
            self._events, self._since, self._event_at = events, self.count, self.count
        elif now - self._now >= SLEEP_S:
            self._since = self.count
        self._now = now
        if self.count - self._event_at == POLL_MAX:
            self.trial.cancel(f"it looks again and again, {POLL_MAX} times, for what does not come")
        if self.count == self.trial.how.cancel_at:
            self.trial.cancel()
        if self.count - self._since == SPIN_MAX:
            self.trial.cancel(f"it takes step after step, {SPIN_MAX} of them, while nothing passes its ports")
        self._began, self._spent = _thread_time(), self.trial.stage.blocking.spent

    def after_task_step(self, task: trio.lowlevel.Task) -> None:
        if self.inside:
            self.inside = False
            took = _thread_time() - self._began - (self.trial.stage.blocking.spent - self._spent)
            if took > HOG_S:
                self.hogs[self.count] = took

    @property
    def does_not_stop(self) -> bool:
        return self.count - self._since > 2 * SPIN_MAX


def _never_let_go(coroutine: Any) -> None:
    """Keep a coroutine that ignores its end: to let go of it, at exit even, would run it once more, for ever."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(coroutine))


@types.coroutine
def _stepped(coroutine: Coroutine[Any, Any, Any], steps: Steps) -> Generator[Any, Any, Any]:
    send, value = coroutine.send, None
    while True:
        if steps.does_not_stop:
            _never_let_go(coroutine)
            raise DoesNotStopError("it does not stop when it is cancelled: it goes on step after step")
        try:
            trap = send(value)
        except StopIteration as stop:
            return stop.value
        try:
            value = yield trap
            send = coroutine.send
        except BaseException as error:
            value, send = error, coroutine.throw


async def stepped(coroutine: Coroutine[Any, Any, Any], steps: Steps) -> Any:
    """Await a node, and leave it when it goes on for ever."""
    awaited: Awaitable[Any] = _stepped(coroutine, steps)
    return await awaited


def throw_into(task: trio.lowlevel.Task, error: BaseException) -> None:
    """Wake the tasks below this one that wait and ignore that they are cancelled, with an error."""
    children = [child for nursery in task.child_nurseries for child in nursery.child_tasks]
    for child in children:
        throw_into(child, error)
    if not children and task is not trio.lowlevel.current_task():
        trio.lowlevel.reschedule(task, outcome.Error(error))


class Alarm:
    """Breaks off a trial that never gives the loop back; only in the main thread, where a signal can."""

    def __enter__(self) -> None:
        self._set = (
            threading.current_thread() is threading.main_thread() and not signal.getitimer(signal.ITIMER_REAL)[0]
        )
        if self._set:
            self._before = signal.signal(signal.SIGALRM, self._ring)
            signal.setitimer(signal.ITIMER_REAL, ALARM_S)

    def __exit__(self, *exc: object) -> None:
        if self._set:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, self._before)

    @staticmethod
    def _ring(*_: object) -> None:
        raise DoesNotStopError(f"it does not give the loop back: nothing else ran for {ALARM_S:g} s")
