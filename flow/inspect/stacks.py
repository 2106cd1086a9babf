"""Where a node is now: the frames of its tasks, which wait somewhere, and of its threads, which compute."""

from __future__ import annotations

import linecache
import sys
import threading
import traceback
from collections.abc import Iterable, Iterator
from types import FrameType

import trio


def task_stacks(root: trio.lowlevel.Task) -> list[list[str]]:
    """A task and all that it started, each as its name and its frames, outermost first."""
    found = [[root.name, *_lines((frame, line) for frame, line in root.iter_await_frames())]]
    for nursery in root.child_nurseries:
        for task in nursery.child_tasks:
            found += task_stacks(task)
    return found


def thread_stacks(prefix: str) -> list[list[str]]:
    """The threads whose names begin so, each as its name and its frames, outermost first."""
    frames = sys._current_frames()
    return [
        [thread.name, *_lines(reversed(list(traceback.walk_stack(frames[thread.ident]))))]
        for thread in threading.enumerate()
        if thread.name.startswith(prefix) and thread.ident in frames
    ]


# What every task and thread stands in or ends in, and tells nothing about a node.
_MACHINERY = ("/trio/_core/", "/threading.py", "/flow/worker.py", "/flow/host.py")


def _lines(frames: Iterable[tuple[FrameType, int]]) -> Iterator[str]:
    for frame, line in frames:
        code = frame.f_code
        if any(part in code.co_filename for part in _MACHINERY):
            continue
        source = linecache.getline(code.co_filename, line, frame.f_globals).strip()
        yield f'File "{code.co_filename}", line {line}, in {code.co_name}' + (f": {source}" if source else "")
