"""One plain line every few seconds, for a log file, a pipe or a terminal without UTF-8."""

from __future__ import annotations

import re
import sys
from types import TracebackType
from typing import TextIO

from flow.logs import Event
from flow.progress import Progress
from flow.view.numbers import about, clean, duration, rate, real, whole

EVERY_S = 5.0
_START = re.compile(r", start \d+")
"""What tells two tracebacks of one failing node apart, and nothing else."""


def plain_line(progress: Progress) -> str:
    """`frames 120,000 (5,900/s)  episodes 41  episode_return -20.3  updates 310 (4.1/s)  left 3 min`."""
    parts = []
    for name in progress.shown:
        if progress.parted(name)[1]:
            continue  # a copy of a sweep is told beside what all have
        if name in progress.counters:
            counter = progress.counters[name]
            speed = f" ({rate(counter.rate)})" if counter.rate > 0 else ""
            parts.append(f"{name} {whole(counter.total)}{speed}")
        elif name in progress.gauges:
            parts.append(f"{name} {real(progress.gauges[name].value)}")
        elif name in progress.series and progress.series[name].mean is not None:
            parts.append(f"{name} {real(progress.series[name].mean or 0.0)}{_copies(progress, name)}")
    if progress.faults:
        parts.append(f"faults {len(progress.faults)}")
    left = f"left {about(progress.left)}" if progress.left is not None else f"at {duration(progress.elapsed)}"
    return "  ".join(clean(part) for part in [*parts, left])


def _copies(progress: Progress, name: str) -> str:
    """What each copy of a sweep says of a series."""
    found = [(copy, progress.series[full].mean) for copy, full in progress.of_copies(name) if full in progress.series]
    said = [f"{copy} {real(mean)}" for copy, mean in found if mean is not None]
    return f" ({', '.join(said)})" if said else ""


def _key(event: Event) -> tuple[float, str, str]:
    return event.time, event.node, event.text


class PlainView:
    """Writes a line every 5 seconds, and each new event when it comes."""

    def __init__(self, stream: TextIO | None = None, every_s: float = EVERY_S) -> None:
        self._stream = stream or sys.stdout
        self._every_s = every_s
        self._next: float | None = None
        self._shown: set[tuple[float, str, str]] = set()
        self._told: set[tuple[str, str]] = set()

    def show(self, progress: Progress) -> None:
        """Show how the run stands; does nothing most of the time."""
        # Not by their times: what one process says may come to its log after what another said later.
        for event in progress.events:
            if _key(event) not in self._shown and event.level in ("warning", "error"):
                self._tell(event)
        self._shown = {_key(event) for event in progress.events}
        if self._next is None:
            self._next = progress.now + self._every_s
        elif progress.now >= self._next:
            self._next = max(self._next + self._every_s, progress.now)
            self._say(plain_line(progress))

    def _tell(self, event: Event) -> None:
        """Say an event, a traceback with its lines; one that was said before only by what it says."""
        what = f"{event.level}: {event.node}".strip()
        lines = event.text.rstrip().split("\n")
        key = (event.node, _START.sub("", event.text))
        if len(lines) > 1 and key in self._told:
            self._say(f"{what} {event.summary} (the traceback is the same as above)")
            return
        self._told.add(key)
        self._say(f"{what} {lines[0]}", *(f"    {line}" for line in lines[1:]))

    def _say(self, *lines: str) -> None:
        encoding = getattr(self._stream, "encoding", None) or "utf-8"
        kept = [f"{' ' * (len(line) - len(line.lstrip(' ')))}{clean(line)}".rstrip() for line in lines]
        text = "\n".join(kept).encode(encoding, "replace").decode(encoding)
        try:
            self._stream.write(text + "\n")
            self._stream.flush()
        except OSError:
            return  # whoever read this is gone, which is no reason to end a run

    def __enter__(self) -> PlainView:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        pass
