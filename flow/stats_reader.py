"""The reader's end of a page of counters: a consistent view of a live, an ended or a killed node.

A reader takes no lock and can't slow a writer down. It trusts nothing that it reads: a page is a file, and
what does not make sense in it is left out rather than followed.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from flow import stats_layout as layout
from flow.errors import RunError
from flow.histogram import BUCKETS
from flow.stats_layout import Kind

TEXT_TRIES = 8


@dataclass(frozen=True)
class SeriesView:
    """The last values of a series, oldest first; up to 512."""

    count: int
    """How many there were in all."""
    times: tuple[float, ...]
    """Wall time of each, seconds since 1970."""
    values: tuple[float, ...]
    lost: int = 0
    """Values that came since the last poll and were overwritten before this one."""


@dataclass(frozen=True)
class PageView:
    """What a page said at one moment."""

    node: str
    replica: int
    worker: str
    pid: int
    incarnation: int
    state: str
    beat: int
    started: float
    """Wall time of the node's last start."""
    changed: float
    """Wall time of the last change of state or text."""
    text: str
    beaten: float = 0.0
    """Wall time of the last beat; 0 before the first."""
    marked: float = 0.0
    """Wall time of the mark that `before` is from."""
    before: dict[str, int] = field(default_factory=dict)
    """Counters as they were then: 5 to 10 s before the last beat, or when the node's worker began."""
    counters: dict[str, int] = field(default_factory=dict)
    histograms: dict[str, tuple[float, ...]] = field(default_factory=dict)
    """Fading counts by bucket, see `flow.histogram`."""
    gauges: dict[str, float] = field(default_factory=dict)
    series: dict[str, SeriesView] = field(default_factory=dict)
    units: dict[str, str] = field(default_factory=dict)
    helps: dict[str, str] = field(default_factory=dict)
    away: int = layout.HERE
    """Whether its worker is of another machine, where its pid is."""

    def has_process(self, is_alive: Callable[[int], bool]) -> bool:
        """Whether its worker lives, as is_alive says of pids of this machine, or its host says of it."""
        return is_alive(self.pid) if self.away == layout.HERE else self.away == layout.AWAY


@dataclass(frozen=True)
class _Slot:
    name: str
    kind: Kind
    offset: int
    unit: str
    help: str


class PageReader:
    """A page kept mapped, for those who look again and again."""

    def __init__(self, path: Path) -> None:
        self.path = Path(path)
        self._memory: memoryview[int] | None = None
        self._inode = -1
        self._seen: dict[str, int] = {}
        self._text = ""
        self._slots: list[_Slot] = []

    def read(self) -> PageView | None:
        """The page as it is now, series with their last 512 values; None when there is no page yet.

        Raises:
          RunError: the file is no page.
        """
        return self._view(since=None)

    def poll(self) -> PageView | None:
        """As `read`, but each series holds only what came since the last poll, and counts what was missed."""
        view = self._view(since=self._seen)
        if view is not None:
            self._seen = {name: one.count for name, one in view.series.items()}
        return view

    def close(self) -> None:
        """Unmap the page."""
        if self._memory is not None:
            self._memory.release()
            self._memory = None

    def _view(self, since: dict[str, int] | None) -> PageView | None:
        memory = self._mapped()
        if memory is None:
            return None
        words = struct.unpack_from("=16q", memory)
        started, changed = struct.unpack_from("=2d", memory, layout.W_STARTED * 8)
        beaten, away = struct.unpack_from("=dq", memory, layout.W_BEATEN * 8)
        marked, mark = _older_mark(memory)
        view = PageView(
            node=_text(memory, layout.AT_NODE, words[layout.W_NODE_SIZE], layout.NODE_MAX),
            replica=words[layout.W_REPLICA],
            worker=_text(memory, layout.AT_WORKER, words[layout.W_WORKER_SIZE], layout.NODE_MAX),
            pid=words[layout.W_PID],
            incarnation=words[layout.W_INCARNATION],
            state=layout.STATES[words[layout.W_STATE]]
            if 0 <= words[layout.W_STATE] < len(layout.STATES)
            else "starting",
            beat=words[layout.W_BEAT],
            started=started,
            changed=changed,
            text=self._read_text(memory),
            beaten=beaten,
            marked=marked,
            away=away,
        )
        for index, slot in enumerate(self._directory(memory, words[layout.W_SLOTS])):
            _read_slot(memory, slot, view, since)
            if slot.kind == "counter" and marked:
                view.before[slot.name] = mark[index]
        return view

    def _mapped(self) -> memoryview[int] | None:
        """The mapping of the file that has the name now; another file there is another node's life."""
        try:
            status = os.stat(self.path)
            if status.st_size == 0:
                return None
            if self._memory is None or status.st_ino != self._inode:
                self._memory = layout.map_page(self.path, write=False)
                self._inode, self._seen, self._slots, self._text = status.st_ino, {}, [], ""
        except FileNotFoundError:
            return None
        except OSError as error:
            raise RunError(f"{self.path}: can't read this page of counters: {error.strerror}") from error
        return self._memory

    def _read_text(self, memory: memoryview[int]) -> str:
        """The text; the last whole one if its writer is in the middle of it, or died there."""
        for _ in range(TEXT_TRIES):
            before, size = struct.unpack_from("=2q", memory, layout.W_TEXT_SEQUENCE * 8)
            text = _text(memory, layout.AT_TEXT, size, layout.TEXT_MAX)
            (after,) = struct.unpack_from("=q", memory, layout.W_TEXT_SEQUENCE * 8)
            if before == after and before % 2 == 0:
                self._text = text
                break
        return self._text

    def _directory(self, memory: memoryview[int], count: int) -> list[_Slot]:
        """All slots; only those not seen before are read, since a slot never changes."""
        for index in range(len(self._slots), min(max(count, 0), layout.SLOTS_MAX)):
            at = layout.AT_DIRECTORY + index * layout.ENTRY_SIZE
            kind, offset, name_size, unit_size, help_size = struct.unpack_from("=5q", memory, at)
            if not 0 <= kind < len(layout.KINDS):
                break
            if offset % 8 or not layout.AT_SLOTS <= offset <= layout.SIZE - layout.SIZES[layout.KINDS[kind]]:
                break
            self._slots.append(
                _Slot(
                    _text(memory, at + layout.AT_ENTRY_NAME, name_size, layout.NAME_MAX),
                    layout.KINDS[kind],
                    offset,
                    _text(memory, at + layout.AT_ENTRY_UNIT, unit_size, layout.UNIT_MAX),
                    _text(memory, at + layout.AT_ENTRY_HELP, help_size, layout.HELP_MAX),
                )
            )
        return self._slots


def read_page(path: Path) -> PageView | None:
    """The page as it is now; None when there is none yet.

    Raises:
      RunError: the file is no page.
    """
    reader = PageReader(path)
    try:
        return reader.read()
    finally:
        reader.close()


def _text(memory: memoryview[int], at: int, size: int, size_max: int) -> str:
    return bytes(memory[at : at + min(max(size, 0), size_max)]).decode("utf-8", "replace")


def _older_mark(memory: memoryview[int]) -> tuple[float, tuple[int, ...]]:
    """The older of the whole marks: when it was made, and each slot's word; time 0 if there is none."""
    found = []
    for at in (layout.AT_MARKS, layout.AT_MARKS + layout.MARK_SIZE):
        (when,) = struct.unpack_from("=d", memory, at)
        words = struct.unpack_from(f"={layout.SLOTS_MAX}q", memory, at + 8)
        # A page of the time before there were marks may have a series here, whose bytes are no time of day.
        if 1e9 < when < 1e11 and struct.unpack_from("=d", memory, at) == (when,):
            found.append((when, words))
    return min(found, default=(0.0, ()))


def _read_slot(memory: memoryview[int], slot: _Slot, view: PageView, since: dict[str, int] | None) -> None:
    if slot.unit:
        view.units[slot.name] = slot.unit
    if slot.help:
        view.helps[slot.name] = slot.help
    if slot.kind == "counter":
        (view.counters[slot.name],) = struct.unpack_from("=q", memory, slot.offset)
    elif slot.kind == "gauge":
        (value,) = struct.unpack_from("=d", memory, slot.offset)
        if not math.isnan(value):
            view.gauges[slot.name] = value
    elif slot.kind == "histogram":
        view.histograms[slot.name] = struct.unpack_from(f"={BUCKETS}d", memory, slot.offset)
    else:
        first = 0 if since is None else since.get(slot.name, 0)
        view.series[slot.name] = _read_series(memory, slot.offset, first, lossless=since is not None)


def _read_series(memory: memoryview[int], offset: int, first: int, *, lossless: bool) -> SeriesView:
    """Values from number `first` on, as far as the ring still has them whole."""
    (count,) = struct.unpack_from("=q", memory, offset)
    begin = max(first, count - layout.RING, 0)
    pairs = _ring(memory, offset + 8, begin, count)
    (after,) = struct.unpack_from("=q", memory, offset)
    # The writer may be at work on value number `after`, in the place of number after - RING_SLOTS.
    torn = min(max(after - layout.RING_SLOTS + 1 - begin, 0), max(count - begin, 0))
    return SeriesView(
        count=count,
        times=pairs[2 * torn :: 2],
        values=pairs[2 * torn + 1 :: 2],
        lost=max(min(begin + torn, count) - first, 0) if lossless else 0,
    )


def _ring(memory: memoryview[int], at: int, begin: int, end: int) -> tuple[float, ...]:
    """Time and value of each number from `begin` to `end`, which lie in at most two pieces."""
    pairs: tuple[float, ...] = ()
    while begin < end:
        place = begin % layout.RING_SLOTS
        size = min(end - begin, layout.RING_SLOTS - place)
        pairs += struct.unpack_from(f"={2 * size}d", memory, at + 16 * place)
        begin += size
    return pairs
