"""A forgotten `await` is an error of the node that forgot it.

    out.send(item)      makes a coroutine and drops it: nothing is sent, and Python only warns, on stderr, once

Python says so when the coroutine is dropped, which is at once and in the task that made it; so a context variable knows
the node.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

import trio

from flow.errors import ForgottenAwaitError

_WARNING = r"coroutine '(.*)' was never awaited"
_hears: ContextVar[Callable[[str], None] | None] = ContextVar("hears_forgotten", default=None)
_before: list[Callable[..., Any]] = []


@contextmanager
def no_forgotten_await(scope: trio.CancelScope) -> Iterator[None]:
    """What a node runs in: cancels `scope` when a coroutine is dropped that was not awaited.

    Raises:
      ForgottenAwaitError: one was; raised at the end, when `scope` has been left.
    """
    found: list[str] = []

    def hear(text: str) -> None:
        found.append(text)
        scope.cancel()

    _listen()
    token = _hears.set(hear)
    try:
        yield
    finally:
        _hears.reset(token)
    if found:
        raise ForgottenAwaitError(found[0])


def _listen() -> None:
    """See to it that Python's warning comes here, whatever is done with warnings else."""
    if warnings.showwarning is not _show:
        _before[:] = [warnings.showwarning]
        warnings.showwarning = _show
        warnings.filterwarnings("always", _WARNING, RuntimeWarning)


def _show(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    forgotten, hear = re.match(_WARNING, str(message)), _hears.get()
    if forgotten is None or hear is None:
        _before[0](message, category, filename, lineno, file, line)
        return
    hear(
        f"{Path(filename).name}:{lineno}: {forgotten[1]}(…) is called without await, so it does nothing; "
        f"write await {forgotten[1].rpartition('.')[2]}(…)"
    )
