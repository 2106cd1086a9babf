"""Replay: an append-only log of time chunks on disk, and windows of it drawn at random.

    append ──► encode ──► LMDB, one transaction a group ──► index in memory
                                                              │ sample_anchors, sample_episodes
    batch of windows ◄── decode into the caller's buffers ◄───┘ read, windows, draw_windows

A stream is one lane of one incarnation of an actor; its steps count up from any start. Which anchor to
draw is apart from how it is read: uniformly here, or by a table (`storage.replay_table`), by priority for instance.

Threads: one may append while others draw and read. The index is behind a lock that is held for
microseconds, never while LMDB or a codec works; readers see LMDB through snapshots that lock nothing.
Between a draw and its read the writer may evict the window. Numbers of chunks are never used twice, so the
read finds nothing rather than something else: `windows` raises, `draw_windows` draws again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flow.errors import NotStoredError, StorageError
from storage.chunks import Column, encode
from storage.priorities import Mix
from storage.replay_group import Chunk, StreamFacts, check_columns, entry_of, facts_after
from storage.replay_index import Entry
from storage.replay_log import ChunkLog, rebuilt_index
from storage.replay_reader import Batch, ChunkReader
from storage.replay_statistics import Statistics
from storage.replay_table import Anchors, Table
from storage.replay_windows import WindowShape
from storage.sum_tree import Kernel

__all__ = ["Anchors", "Batch", "Chunk", "Column", "Mix", "Replay", "Statistics", "Table"]

_FORMAT = 1
_MAP_SLACK = 256 << 20


class Replay:
    """A replay store, opened by the one process that uses it. A context manager.

    Args:
      path: directory of the store; made when missing.
      columns: what each step holds; an existing store must have been made with the same.
      capacity_steps, capacity_bytes: the oldest chunks go when either would be passed.
      first_column: bool column, true at the first step of an episode; None: there are no episodes.
      context_column: the column that windows read with context, or None.
      cache_bytes: decoded chunks that are kept in memory, those decoded last.
      map_bytes, map_bytes_max: size of LMDB's sparse map, and where it stops growing; None: by capacity.

    Raises:
      StorageError: the store has other columns, or is open elsewhere.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        columns: Sequence[Column],
        *,
        capacity_steps: int,
        capacity_bytes: int,
        first_column: str | None = "first",
        context_column: str | None = "frames",
        map_bytes: int | None = None,
        map_bytes_max: int | None = None,
        cache_bytes: int = 0,
    ) -> None:
        self.path = Path(path)
        self.columns = {c.name: Column(c.name, np.dtype(c.dtype).str, tuple(c.shape)) for c in columns}
        for role, name in (("first_column", first_column), ("context_column", context_column)):
            if name is not None and name not in self.columns:
                raise StorageError(
                    f"{self.path}: {role}={name!r} is not among the columns {list(self.columns)}; "
                    f"name one of them, or set {role}=None"
                )
        if capacity_steps < 1 or capacity_bytes < 1:
            raise StorageError(f"{self.path}: {capacity_steps=} and {capacity_bytes=} must be 1 or more")
        self.capacity_steps, self.capacity_bytes = capacity_steps, capacity_bytes
        self._first_column, self._context_column = first_column, context_column
        self._pid, self._closed = os.getpid(), False
        self._writing, self._indexing = threading.Lock(), threading.Lock()
        self._drawn = self._redrawn = self._read_rows = 0
        # Chunks take whole pages, twice their bytes at worst, and new pages come before old ones are free.
        room = 3 * capacity_bytes + _MAP_SLACK if map_bytes is None else map_bytes
        format_ = {
            "version": _FORMAT,
            "columns": [[c.name, c.dtype, list(c.shape)] for c in self.columns.values()],
            "first": first_column,
        }
        self._log = ChunkLog(self.path, format_, room, 4 * room if map_bytes_max is None else map_bytes_max)
        self._index = rebuilt_index(self._log)
        self._tables: list[Table] = []
        self._reader = ChunkReader(self.path, self._log, tuple(self.columns.values()), cache_bytes, capacity_steps)
        _keep_freed_memory()

    def __enter__(self) -> Replay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the store. In a child that inherited it by fork this does nothing: it is the parent's."""
        if not self._closed and os.getpid() == self._pid:
            self._closed = True
            self._log.close()

    def sync(self) -> None:
        """Wait until all appended groups are on disk: each second, and at checkpoints."""
        self._check()
        self._log.sync()

    @property
    def ends(self) -> dict[int, int]:
        """For each stream ever recorded, the step its next chunk starts at if nothing is to be lost."""
        self._check()
        with self._indexing:
            return {stream: facts.end for stream, facts in self._index.streams.items()}

    def append(self, chunks: Sequence[Chunk | tuple[int, int, Mapping[str, NDArray[Any]]]]) -> None:
        """Store a group of chunks in one transaction: after a crash all of it is there, or nothing.

        A chunk that starts where its stream ended goes on. A later start leaves a gap that no window crosses.

        Raises:
          StorageError: columns that do not fit, steps that are stored already, a group above the capacity.
          DiskFullError: nothing of the group is stored; what was committed before is whole and readable.
        """
        self._check()
        group = [Chunk(*chunk) for chunk in chunks]
        for chunk in group:
            check_columns(str(self.path), chunk, self.columns)
        with self._writing:
            facts = facts_after(str(self.path), group, self._index)
            values = [encode(*chunk) for chunk in group]
            entries = [
                entry_of(chunk, len(value), self._first_column) for chunk, value in zip(group, values, strict=True)
            ]
            self._commit(values, entries, facts)

    def read(self, stream: int, start: int, stop: int, names: Sequence[str] | None = None) -> Batch:
        """Read steps start..stop-1 of a stream: name -> (stop - start, ...).

        Raises NotStoredError unless all of them are stored.
        """
        self._check()
        chosen = [self._column(name) for name in (self.columns if names is None else names)]
        out = {c.name: np.empty((stop - start, *c.shape), c.dtype) for c in chosen}
        with self._indexing:
            places = self._index.places(stream, start, stop) if start < stop else None
        if places is None or not self._reader.read(stream, start, places, out):
            raise NotStoredError(
                f"{self.path}: stream {stream} does not hold all of steps {start} to {stop - 1}; "
                f"stored of it: {self._held(stream)}"
            )
        with self._indexing:
            self._read_rows += stop - start
        return out

    def sample_anchors(self, rng: np.random.Generator, count: int, length: int, context: int) -> NDArray[np.int64]:
        """Draw anchors uniformly from all legal ones, with replacement: (count, 2) of stream and step t.

        (stream, t) is legal when steps t-context..t+length lie in one segment; context may be missing only
        before the stream's very first step. Raises StorageError when no anchor is legal yet.
        """
        self._check()
        with self._indexing:
            return self._index.draw_anchors(rng, count, length, context)

    def count_anchors(self, length: int, context: int) -> int:
        """Count the legal anchors; 0 says that it is too early to draw."""
        self._check()
        with self._indexing:
            return self._index.count_anchors(length, context)

    def sample_episodes(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Draw episodes uniformly, with replacement: (count, 3) of stream, start, stop.

        An episode counts while its first step is stored. One that is not finished, or that a gap cut off,
        counts as far as it is stored, if that is 2 steps or more.
        """
        self._check()
        with self._indexing:
            return self._index.draw_episodes(rng, count)

    def window_buffers(self, count: int, length: int, context: int) -> Batch:
        """Make `out` for `windows`: reuse it, since fresh memory costs a page fault for each 4 KiB."""
        return self._shape(length, context).buffers(count)

    def windows(self, anchors: NDArray[np.int64], length: int, context: int, out: Batch | None = None) -> Batch:
        """Read the windows at `anchors` (B, 2) into `out`, or into new arrays.

        Returns:
          The context column: (B, context + length + 1, ...), steps t-context..t+length. Context that is not
          of the episode of step t is zero: before the stream's first step, and before the last first
          step up to t. The boundary column: (B, length + 1), steps t..t+length. Others: (B, length, ...).

        Raises:
          StorageError: an anchor is not legal, or its window was evicted; `out` then holds nothing of use.
        """
        self._check()
        shape = self._shape(length, context)
        out = shape.checked(out, len(anchors))
        gone = self._fill(anchors, np.arange(len(anchors)), shape, out)
        if len(gone):
            stream, t = (int(value) for value in anchors[gone[0]])
            raise StorageError(
                f"{self.path}: {len(gone)} of {len(anchors)} windows are not stored whole. The first: stream "
                f"{stream}, step {t}, with {context} steps before and {length} after; stored of that stream: "
                f"{self._held(stream)}. Evicted since they were drawn? draw_windows draws again"
            )
        return out

    def draw_windows(
        self, rng: np.random.Generator, count: int, length: int, context: int, out: Batch | None = None
    ) -> tuple[NDArray[np.int64], Batch]:
        """Draw anchors and read their windows; what was evicted in between is drawn again, and counted.

        Returns:
          The anchors (count, 2) that were read, and the windows as `windows` gives them.
        """
        shape = self._shape(length, context)
        out = shape.checked(out, count)
        anchors = self.sample_anchors(rng, count, length, context)
        gone = self._fill(anchors, np.arange(count), shape, out)
        while len(gone):
            with self._indexing:
                self._redrawn += len(gone)
                anchors[gone] = self._index.draw_anchors(rng, len(gone), length, context)
            gone = self._fill(anchors, gone, shape, out)
        return anchors, out

    def table(
        self, length: int, context: int, *, exponent: float = 1.0, newest: int = 10_000, kernel: Kernel = "auto"
    ) -> Table:
        """Make a table, of which there may be several: steps that windows begin at, and a priority of each.

        Args:
          length, context: of its windows.
          exponent: α of its priorities.
          newest: how many of the newest steps "recent" draws from.
          kernel: what runs its loops.
        """
        self._check()
        self._shape(length, context).check()
        with self._indexing:
            made = Table(self._index, self._indexing, self.capacity_steps, length, context, exponent, newest, kernel)
            self._tables.append(made)
        return made

    def sample(
        self, table: Table, rng: np.random.Generator, count: int, mix: Mix, out: Batch | None = None
    ) -> tuple[Anchors, Batch]:
        """Draw from a table and read the windows; what was evicted in between is drawn again, and counted.

        Returns:
          What was read, and the windows as `windows` gives them.

        Raises:
          StorageError: there is nothing that the mix could draw.
        """
        shape = self._shape(table.length, table.context)
        out = shape.checked(out, count)
        drawn = table.draw(rng, count, mix)
        gone = self._fill(drawn.anchors, np.arange(count), shape, out, drawn.handles)
        while len(gone):
            again = table.draw(rng, len(gone), mix)
            for kept, fresh in zip(drawn[:3], again[:3], strict=True):
                kept[gone] = fresh
            with self._indexing:
                self._redrawn += len(gone)
            gone = self._fill(drawn.anchors, gone, shape, out, drawn.handles)
        return drawn, out

    def statistics(self) -> Statistics:
        """Count what the store holds and has done."""
        self._check()
        with self._indexing:
            index = self._index
            return Statistics(
                chunks=len(index.keys),
                steps=index.steps,
                stored_bytes=index.size,
                bytes_per_step=index.size / max(index.steps, 1),
                fill=max(index.steps / self.capacity_steps, index.size / self.capacity_bytes),
                appended_steps=index.appended,
                evicted_steps=index.appended - index.steps,
                drawn_windows=self._drawn,
                redrawn_windows=self._redrawn,
                read_rows=self._read_rows,
                streams=len(index.streams),
                segments=index.segments,
                episodes=index.episodes,
            )

    def _check(self) -> None:
        if os.getpid() != self._pid:
            raise StorageError(
                f"{self.path}: opened by process {self._pid} and used in {os.getpid()} after a fork, which "
                "corrupts LMDB; open the store in the process that uses it"
            )
        if self._closed:
            raise StorageError(f"{self.path}: the store is closed")

    def _column(self, name: str) -> Column:
        try:
            return self.columns[name]
        except KeyError:
            raise StorageError(f"{self.path}: no column {name!r}; the store has {list(self.columns)}") from None

    def _commit(self, values: Sequence[bytes], entries: Sequence[Entry], facts: Mapping[int, StreamFacts]) -> None:
        """Evict and insert in one transaction, then tell the index, which never runs ahead of the disk."""
        index = self._index
        size, steps = sum(map(len, values)), sum(entry.steps for entry in entries)
        if steps > self.capacity_steps or size > self.capacity_bytes:
            raise StorageError(
                f"{self.path}: a group of {steps} steps and {size} bytes is more than the whole capacity, "
                f"{self.capacity_steps} steps and {self.capacity_bytes} bytes; append less at a time"
            )
        while True:
            evicted = index.keys[: index.excess(steps, size, self.capacity_steps, self.capacity_bytes)]
            if self._log.write(evicted, index.keys.stop, values, entries, facts):
                break
            self._make_room()
        with self._indexing:
            self._evict(len(evicted))
            for entry in entries:
                index.append(entry)
                for table in self._tables:
                    table.on_append(entry.stream, entry.start, entry.steps)

    def _evict(self, count: int) -> None:
        for _ in range(count):
            gone = self._index.oldest_chunk()
            self._index.evict()
            for table in self._tables:
                table.on_evict(*gone)

    def _make_room(self) -> None:
        """The map cannot grow: let an eighth of the chunks go, in a transaction of its own."""
        oldest = self._index.keys[: len(self._index.keys) // 8 + 1]
        if not oldest or not self._log.write(oldest, 0, (), (), {}):
            raise StorageError(f"{self.path}: LMDB's map is full with nothing left to evict; raise map_bytes_max")
        with self._indexing:
            self._evict(len(oldest))

    def _shape(self, length: int, context: int) -> WindowShape:
        return WindowShape(tuple(self.columns.values()), length, context, self._context_column, self._first_column)

    def _fill(
        self,
        anchors: NDArray[np.int64],
        rows: NDArray[np.int64],
        shape: WindowShape,
        out: Batch,
        numbers: NDArray[np.int64] | None = None,
    ) -> NDArray[np.int64]:
        """Read the windows of some rows into `out`; return the rows whose window is not stored."""
        with self._indexing:
            known = None if numbers is None else numbers[rows]
            where = self._index.whereabouts(anchors[rows], shape.length, shape.context, known)
            self._drawn += len(rows)
            self._read_rows += len(rows) * (shape.length + shape.context + 1)
        # What is read now is younger than the look-up, so a chunk that is not there has been evicted since.
        return self._reader.fill(anchors[rows], rows, where, shape, out)

    def _held(self, stream: int) -> str:
        with self._indexing:
            stretches = [f"{start} to {stop - 1}" for s, start, stop in self._index.stretches() if s == stream]
        return ", ".join(stretches) or "nothing"


def _keep_freed_memory() -> None:
    """Make glibc keep freed blocks of a chunk's size: decoding takes 18 µs a chunk then, not 91.

    Blocks above a threshold (128 KiB at first) go back to the kernel when freed, and page-fault anew at
    each use. Freeing one such block raises the threshold to its size; the block itself is never touched.
    """
    block = bytes(4 << 20)
    del block
