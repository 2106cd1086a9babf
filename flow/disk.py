"""What must last says so here just before it is written, so that a simulated run can let a write fail.

A graph on a real disk has no watcher, and pays one comparison a write.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

Watcher = Callable[[str, Path], None]
"""Told what is about to be written, and where. It may raise OSError in place of the disk."""

_watcher: Watcher | None = None


def about_to(what: str, path: Path) -> None:
    """Say that something is about to be written: "commit", "sync", "state", "manifest".

    Raises:
      OSError: only in a simulated run, whose disk fails now.
    """
    if _watcher is not None:
        _watcher(what, path)


@contextlib.contextmanager
def watched(by: Watcher) -> Iterator[None]:
    """While open, each write of this process is told to a watcher first."""
    global _watcher
    before, _watcher = _watcher, by
    try:
        yield
    finally:
        _watcher = before
