"""Cancel a piece of async code at its first checkpoint, at its second, and so on until it ends on its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import trio


class _StepCounter(trio.abc.Instrument):
    """Cancels a scope just before a task takes its nth step."""

    def __init__(self, task: trio.lowlevel.Task, nth: int, scope: trio.CancelScope) -> None:
        self.task, self.left, self.scope = task, nth, scope

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        if task is self.task:
            self.left -= 1
            if self.left == 0:
                self.scope.cancel()


async def cancelled_at(nth: int, work: Callable[[], Awaitable[None]]) -> bool:
    """Run `work` in this task, cancelled just before its nth step. Returns whether it got that far."""
    with trio.CancelScope() as scope:
        counter = _StepCounter(trio.lowlevel.current_task(), nth, scope)
        trio.lowlevel.add_instrument(counter)
        try:
            await work()
        finally:
            trio.lowlevel.remove_instrument(counter)
    return counter.left <= 0
