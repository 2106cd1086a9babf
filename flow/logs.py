"""Events of a run: one line an event for people, and the same as JSON for scripts.

    logs/supervisor.log     01:47:59.120 warning learner.0  restarted after exit status 1
    logs/supervisor.jsonl   {"time": 1795571279.12, "level": "warning", "node": "learner.0", "text": …}

Each process appends to files of its own name, a line in one write: what a killed process had said is there,
and two writers of one file can't mix their lines.
"""

from __future__ import annotations

import functools
import json
import os
import re
import time
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

Level = Literal["debug", "info", "warning", "error"]
TAIL_SIZE = 16 * 1024
_ERROR = re.compile(r"[A-Za-z_][\w.]*(Error|Exception|Exit|Interrupt|Warning|Group|Cancelled)\b")


@dataclass(frozen=True)
class Event:
    """One thing that happened."""

    time: float
    """Wall time, seconds since 1970."""
    level: str
    node: str
    text: str
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def summary(self) -> str:
        """The text in one line: of a traceback the error, of other texts the first line."""
        lines = [line.strip(" |") for line in self.text.strip().splitlines()]
        if len(lines) > 1 and any("Traceback (most recent call last)" in line for line in lines):
            # Behind the error stand the notes that were added to it, and the frame of a group.
            errors = [line for line in lines if _ERROR.match(line)]
            return errors[-1] if errors else lines[-1]
        return lines[0] if lines else ""

    def line(self) -> str:
        """As people read it; further lines of the text are set in."""
        clock = time.strftime("%H:%M:%S", time.localtime(self.time)) + f".{int(self.time % 1 * 1000):03d}"
        details = "".join(f"  {key}={value}" for key, value in self.more.items())
        text = self.text.rstrip().replace("\n", "\n    ")
        return f"{clock} {self.level:<7} {self.node or '-':<12} {text}{details}"


class EventLog:
    """Appends the events of one process to `folder/name.log` and `folder/name.jsonl`."""

    def __init__(self, folder: Path, name: str) -> None:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
        self._human = os.open(folder / f"{name}.log", flags, 0o600)
        self._json = os.open(folder / f"{name}.jsonl", flags, 0o600)

    def event(self, level: Level, node: str, text: str, **more: Any) -> Event:
        """Write an event down and return it. A full disk loses the line, never the run."""
        event = Event(time.time(), level, node, text, more)
        fields = {"time": event.time, "level": level, "node": node, "text": text, **more}
        for descriptor, line in ((self._human, event.line()), (self._json, json.dumps(fields, default=str))):
            try:
                os.write(descriptor, f"{line}\n".encode("utf-8", "replace"))
            except OSError:
                continue
        return event

    def info(self, node: str, text: str, **more: Any) -> Event:
        return self.event("info", node, text, **more)

    def warning(self, node: str, text: str, **more: Any) -> Event:
        return self.event("warning", node, text, **more)

    def error(self, node: str, text: str, **more: Any) -> Event:
        return self.event("error", node, text, **more)

    def close(self) -> None:
        for descriptor in (self._human, self._json):
            os.close(descriptor)

    def __enter__(self) -> EventLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def last_events(folder: Path, most: int = 20, level: Level = "info") -> list[Event]:
    """The last events of all processes of a run, oldest first, from `level` upwards."""
    levels = ("debug", "info", "warning", "error")
    wanted = levels[levels.index(level) :]
    found = [event for path in sorted(folder.glob("*.jsonl")) for event in events_of(path) if event.level in wanted]
    return sorted(found, key=lambda event: event.time)[-most:]


def events_of(path: Path) -> list[Event]:
    """The events in the last part of a .jsonl file; a torn line is left out."""
    try:
        stat = path.stat()
        return list(_events_of(path, stat.st_ino, stat.st_size, stat.st_mtime_ns))
    except OSError:
        return []


@functools.lru_cache(maxsize=32)
def _events_of(path: Path, file_number: int, size: int, changed_ns: int) -> tuple[Event, ...]:
    """The same of a file as it is now: who looks twice a second reads again only what was written to."""
    with path.open("rb") as file:
        file.seek(max(0, size - TAIL_SIZE))
        lines = file.read().split(b"\n")
    events = []
    for line in lines[1 if size > TAIL_SIZE else 0 :]:
        try:
            fields = json.loads(line)
            time_, level, node, text = (fields.pop(key) for key in ("time", "level", "node", "text"))
            events.append(Event(float(time_), str(level), str(node), str(text), fields))
        except (ValueError, KeyError, AttributeError, TypeError):
            continue
    return tuple(events)
