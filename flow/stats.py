"""Counters of a node in a memory-mapped page: no I/O a message, readable by anyone, also after a SIGKILL.

    page = header | text | directory of named slots (append-only) | slots                   | two marks
           pid, incarnation, state, beat    name, unit, kind, offset     int64, float64, rings    counters as they were

One page is one file, `state/NODE-REPLICA.page` of a run directory, with one writer: the worker that hosts
the node. A restarted node opens the same page and goes on counting. Readers map the file and never lock; what
they need to be consistent about is ordered instead:

- a slot exists once the count of the directory includes it, and is never moved or removed;
- a counter and a gauge are one aligned 8-byte store, so they are whole or not yet there;
- a series writes its pair first and its count second; its ring is longer than what readers are shown, so a
  value that is being overwritten is never one that is read;
- the text has a sequence number that is odd while it is written;
- a mark has no time while it is written. There are two, made in turn every few seconds: a reader that looks once
  can tell how fast a counter grows, also of a node that is dead.

The file is allocated when it is made, not sparse: a store to a page without a disk block behind it is SIGBUS
when the disk is full, and that would kill a worker for the sake of a counter.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from flow import stats_layout as layout
from flow.errors import RunError
from flow.histogram import BUCKETS, bucket_of
from flow.stats_layout import Kind as Kind
from flow.stats_layout import State as State
from flow.stats_reader import PageReader as PageReader
from flow.stats_reader import PageView as PageView
from flow.stats_reader import SeriesView as SeriesView
from flow.stats_reader import read_page as read_page


class Counter:
    """A whole number that grows; kept over restarts. One thread at a time may add."""

    __slots__ = ("_cell",)

    def __init__(self, cell: memoryview[int]) -> None:
        self._cell = cell

    def add(self, n: int = 1) -> None:
        self._cell[0] += n

    @property
    def value(self) -> int:
        return self._cell[0]


class Gauge:
    """A number as it is now. Not shown before it is first set."""

    __slots__ = ("_cell",)

    def __init__(self, cell: memoryview[float]) -> None:
        self._cell = cell

    def set(self, value: float) -> None:
        self._cell[0] = value

    @property
    def value(self) -> float:
        return self._cell[0]


class Series:
    """Values as they come, each with its wall time; readers see the last 512 and how many there were."""

    __slots__ = ("_count", "_ring")

    def __init__(self, count: memoryview[int], ring: memoryview[float]) -> None:
        self._count = count
        self._ring = ring

    def append(self, value: float) -> None:
        count = self._count[0]
        at = count % layout.RING_SLOTS * 2
        self._ring[at] = time.time()
        self._ring[at + 1] = value
        self._count[0] = count + 1

    @property
    def count(self) -> int:
        return self._count[0]


class Histogram:
    """How often whole numbers came, fading: each mark of the page halves what was counted before it."""

    __slots__ = ("_cells",)

    def __init__(self, cells: memoryview[float]) -> None:
        self._cells = cells

    def add(self, value: int, times: int = 1) -> None:
        self._cells[bucket_of(value)] += times

    def fade(self) -> None:
        for bucket, count in enumerate(self._cells.tolist()):
            if count:
                self._cells[bucket] = count / 2


class Page:
    """The writer's end of one page; there is one writer."""

    def __init__(self, path: Path, memory: memoryview[int]) -> None:
        """Use `Page.open`."""
        self.path = path
        self._bytes = memory
        self._words: memoryview[int] = memory.cast("q")
        self._floats: memoryview[float] = memory.cast("d")
        self._slots: dict[str, tuple[Kind, int]] = {}
        for at in range(self._words[layout.W_SLOTS]):
            name, kind, offset = self._entry(at)
            self._slots[name] = (kind, offset)
        first, second = (self._floats[(layout.AT_MARKS + at * layout.MARK_SIZE) // 8] for at in (0, 1))
        self._next_mark = int(second < first)  # in the place of the older

    @classmethod
    def open(cls, path: Path, *, node: str, replica: int = 0, worker: str = "", incarnation: int | None = None) -> Page:
        """Make the page, or open the one that is there and keep its values.

        Args:
          path: the file, usually `RunDirectory.page_file(node, replica)`.
          node, replica, worker: whose page it is; a reader shows them.
          incarnation: how often this node was started before; without it, one more than the page said.

        Raises:
          RunError: the file is there and is no page of this version, or can't be made.
        """
        path = Path(path)
        fresh = not path.exists()
        if fresh:
            layout.make_page(path)
        page = cls(path, layout.map_page(path, write=True))
        words = page._words
        words[layout.W_INCARNATION] = (
            incarnation if incarnation is not None else words[layout.W_INCARNATION] + (not fresh)
        )
        words[layout.W_PID] = os.getpid()
        words[layout.W_NODE_SIZE] = page._put(layout.AT_NODE, node, layout.NODE_MAX)
        words[layout.W_WORKER_SIZE] = page._put(layout.AT_WORKER, worker, layout.NODE_MAX)
        words[layout.W_REPLICA] = replica
        page._floats[layout.W_STARTED] = time.time()
        if not fresh and words[layout.W_TEXT_SEQUENCE] % 2:
            words[layout.W_TEXT_SEQUENCE] += 1  # the last writer was killed inside set_text
        page.set_state("starting")
        page.mark()
        return page

    def counter(self, name: str, unit: str = "", help: str = "") -> Counter:  # noqa: A002
        """The counter of that name; the same one whenever it is asked for."""
        at = self._slot("counter", name, unit, help)
        return Counter(self._words[at // 8 : at // 8 + 1])

    def gauge(self, name: str, unit: str = "", help: str = "") -> Gauge:  # noqa: A002
        """The gauge of that name."""
        at = self._slot("gauge", name, unit, help)
        return Gauge(self._floats[at // 8 : at // 8 + 1])

    def series(self, name: str, unit: str = "", help: str = "") -> Series:  # noqa: A002
        """The series of that name."""
        at = self._slot("series", name, unit, help) // 8
        return Series(self._words[at : at + 1], self._floats[at + 1 : at + layout.SERIES_SIZE // 8])

    def histogram(self, name: str, unit: str = "", help: str = "") -> Histogram:  # noqa: A002
        """The histogram of that name."""
        at = self._slot("histogram", name, unit, help) // 8
        return Histogram(self._floats[at : at + BUCKETS])

    def set_state(self, state: State) -> None:
        """Say what the node is doing, in one word."""
        self._words[layout.W_STATE] = layout.STATES.index(state)
        self._floats[layout.W_CHANGED] = time.time()

    def set_incarnation(self, incarnation: int) -> None:
        """Say how often the node was started before."""
        self._words[layout.W_INCARNATION] = incarnation
        self._floats[layout.W_STARTED] = time.time()

    def beat(self) -> None:
        """Say that the node's loop turns."""
        self._words[layout.W_BEAT] += 1
        self._floats[layout.W_BEATEN] = time.time()

    def mark(self) -> None:
        """Note all counters as they are now, beside the mark before, and let histograms fade."""
        at = (layout.AT_MARKS + self._next_mark * layout.MARK_SIZE) // 8
        self._next_mark = 1 - self._next_mark
        self._floats[at] = 0.0
        for index, (kind, offset) in enumerate(self._slots.values()):
            if kind == "counter":
                self._words[at + 1 + index] = self._words[offset // 8]
            elif kind == "histogram":
                Histogram(self._floats[offset // 8 : offset // 8 + BUCKETS]).fade()
        self._floats[at] = time.time()

    def set_text(self, text: str) -> None:
        """Say what the node does now, or its last error: up to 1 KiB, the rest is cut."""
        self._words[layout.W_TEXT_SEQUENCE] += 1
        self._words[layout.W_TEXT_SIZE] = self._put(layout.AT_TEXT, text, layout.TEXT_MAX)
        self._words[layout.W_TEXT_SEQUENCE] += 1
        self._floats[layout.W_CHANGED] = time.time()

    def close(self) -> None:
        """Let go of the page. Slots that were handed out still count: a thread may outlive its node."""
        self._slots.clear()
        for view in (self._floats, self._words, self._bytes):
            view.release()

    def _put(self, at: int, text: str, size_max: int) -> int:
        """Write text, cut where a character ends; the size in bytes."""
        raw = text.encode("utf-8", "replace")[:size_max].decode("utf-8", "ignore").encode()
        self._bytes[at : at + len(raw)] = raw
        return len(raw)

    def _entry(self, index: int) -> tuple[str, Kind, int]:
        at = layout.AT_DIRECTORY + index * layout.ENTRY_SIZE
        kind, offset, size = self._words[at // 8 : at // 8 + 3]
        name = bytes(self._bytes[at + layout.AT_ENTRY_NAME : at + layout.AT_ENTRY_NAME + size]).decode()
        return name, layout.KINDS[kind], offset

    def _slot(self, kind: Kind, name: str, unit: str, help_text: str) -> int:
        """Offset of the slot of that name; makes it if there is none."""
        known = self._slots.get(name)
        if known is not None:
            if known[0] != kind:
                raise RunError(f"{self.path}: {name!r} is a {known[0]}, asked for as a {kind}; use another name")
            return known[1]
        if not name or len(name.encode("utf-8", "replace")) > layout.NAME_MAX:
            raise RunError(f"{self.path}: the name of a {kind} holds 1 to {layout.NAME_MAX} bytes, found {name!r}")
        words, index, offset = self._words, self._words[layout.W_SLOTS], self._words[layout.W_FREE]
        size = layout.SIZES[kind]
        if index >= layout.SLOTS_MAX or offset + size > layout.AT_MARKS:
            raise RunError(
                f"{self.path}: no room for {kind} {name!r}; a page holds {layout.SLOTS_MAX} names and "
                f"{(layout.AT_MARKS - layout.AT_SLOTS) // layout.SERIES_SIZE} series. "
                "Use fewer names: what varies belongs in a value, not in a name"
            )
        if kind == "gauge":
            self._floats[offset // 8] = float("nan")
        at = layout.AT_DIRECTORY + index * layout.ENTRY_SIZE
        words[at // 8], words[at // 8 + 1] = layout.KINDS.index(kind), offset
        words[at // 8 + 2] = self._put(at + layout.AT_ENTRY_NAME, name, layout.NAME_MAX)
        words[at // 8 + 3] = self._put(at + layout.AT_ENTRY_UNIT, unit, layout.UNIT_MAX)
        words[at // 8 + 4] = self._put(at + layout.AT_ENTRY_HELP, help_text, layout.HELP_MAX)
        words[layout.W_FREE] = offset + size
        words[layout.W_SLOTS] = index + 1  # last: from here on readers see it
        self._slots[name] = (kind, offset)
        return offset
