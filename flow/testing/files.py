"""Hears what a node does with files below its directory, before it is done, so that a test can let it fail.

Python tells an audit hook of each file that is opened, and of what is made, moved or removed; what must last is told
by `flow.disk`. Files that a library opens by itself, as LMDB does, are heard only where the latter tells of them.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from flow import disk

Hear = Callable[[str], None]

_EVENTS = {"open": "open", "os.mkdir": "make", "os.rename": "move", "os.remove": "remove"}
# An audit hook stays for as long as the process; this is what it tells now, and below which directory.
_hearing: tuple[str, Hear] | None = None
_hooked = False


@contextmanager
def heard(directory: Path, hear: Hear) -> Iterator[None]:
    """While open, what is done with files below a directory is told first; what `hear` raises is raised there."""
    global _hearing, _hooked
    if not _hooked:
        sys.addaudithook(_audit)
        _hooked = True
    before, _hearing = _hearing, (f"{directory.resolve()}{os.sep}", hear)
    try:
        with disk.watched(lambda what, path: _tell(f"write of {what} to", path)):
            yield
    finally:
        _hearing = before


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _hearing is not None and event in _EVENTS:
        _tell(_EVENTS[event], arguments[0])


def _tell(what: str, path: object) -> None:
    if _hearing is None or not isinstance(path, (str, os.PathLike)):
        return  # an open of a descriptor, which was heard when it was made
    below, hear = _hearing
    place = os.path.abspath(path)
    if place.startswith(below):
        hear(f"{what} {place.removeprefix(below)}")
