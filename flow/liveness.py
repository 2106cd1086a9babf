"""Which loops still turn: a counter in shared memory tells, no message has to be answered.

A worker beats in the page of each node it hosts, a few times a second, from its loop. A loop that is kept by a
blocking call does not beat, whatever holds it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from flow.stats import PageReader


@dataclass
class Liveness:
    """Follows the beats of a run's nodes. state: the directory of the pages."""

    state: Path
    _readers: dict[str, PageReader] = field(default_factory=dict)
    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)
    _pids: dict[str, int] = field(default_factory=dict)
    _memory: dict[str, tuple[int, int]] = field(default_factory=dict)

    def seconds_since_beat(self, now: float) -> dict[str, float]:
        """By node replica ("actor-0"), how long its loop has not turned. `now` is any clock that goes forward."""
        for path in self.state.glob("*.page"):
            reader = self._readers.setdefault(path.stem, PageReader(path))
            view = reader.poll()
            if view is None:
                continue
            beat, _ = self._seen.get(path.stem, (-1, now))
            if view.beat != beat:
                # With its first beat that is seen a page may still say what the worker before it took.
                if self._pids.get(path.stem) == view.pid:
                    self._memory[path.stem] = view.pid, int(view.gauges.get("_memory_bytes", 0))
                self._pids[path.stem] = view.pid
                self._seen[path.stem] = (view.beat, now)
        return {key: now - when for key, (_, when) in self._seen.items()}

    def memory(self, key: str, pid: int) -> int:
        """Bytes that the worker of a node replica took at its last beat, see `Footprint`; 0 where it said none."""
        who, size = self._memory.get(key, (pid, 0))
        return size if who == pid else 0


def shown_after_s(stall_s: float) -> float:
    """When a loop that does not turn, or a computation that goes on and on, is told of: long before it is killed."""
    return max(stall_s / 3, 1.0)


Due = Literal["", "ask", "tell", "kill"]
ANSWER_S = 0.5
"""How long a worker may take to write its stack."""


class Hangs:
    """Decides what is to be done about workers whose loops do not turn. No clock of its own.

    One that has not turned for `shown_s` is asked for its stack, and told of; for `killed_s`, asked again, and killed.
    """

    def __init__(self, killed_s: float) -> None:
        self.shown_s, self._killed_s = shown_after_s(killed_s), killed_s
        self._asked_at: dict[str, float] = {}
        self._told: set[str] = set()

    def due(self, worker: str, stalled_s: float, now: float) -> Due:
        """What to do now. stalled_s: how long its loop has not turned."""
        if stalled_s < self.shown_s:
            self._asked_at.pop(worker, None)
            self._told.discard(worker)
            return ""
        asked_at = self._asked_at.get(worker)
        if asked_at is None:
            if worker in self._told and stalled_s < self._killed_s:
                return ""
            self._asked_at[worker] = now
            return "ask"
        if now - asked_at <= ANSWER_S:
            return ""
        if stalled_s >= self._killed_s:
            return "kill"
        del self._asked_at[worker]
        self._told.add(worker)
        return "tell"


def hanging_line(stack_file: Path) -> str:
    """Where a worker hangs, from the stack that faulthandler wrote: the innermost line of its main thread."""
    try:
        lines = stack_file.read_text(errors="replace").splitlines()
    except OSError:
        return "no stack was written"
    # The loop runs in the main thread, which faulthandler writes last.
    starts = [at for at, line in enumerate(lines) if "most recent call first" in line]
    frames = [line.strip() for line in lines[starts[-1] + 1 :] if line.strip().startswith("File ")] if starts else []
    return frames[0] if frames else "no stack was written"
