"""Reads the windows of a batch: decodes the chunks that hold them, once each, and copies what the windows say.

    chunk 7   ├──────────────────┤                   columns of small steps: joined over all chunks of the batch,
    chunk 9                      ├────────────────┤  and taken from there by one index for all
    window              ├─── context ─┼── length ──┤ columns of large ones (frames): copied piece by piece

With `cache_bytes` decoded chunks are kept: windows whose chunks all are there are taken from the cache by one index a
column, the others as above. That pays where windows are short and drawn again from the same chunks soon.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flow.errors import StorageError
from storage.chunk_cache import ChunkCache
from storage.chunks import Column, StoredChunk, parse
from storage.replay_index import Place, Whereabouts
from storage.replay_log import ChunkLog
from storage.replay_windows import WindowShape
from storage.window_steps import WindowSteps

Batch = dict[str, NDArray[Any]]
# Steps of so many bytes are not worth joining the chunks for: that copies them once more.
_LARGE_STEP = 512


class Decoded:
    """A chunk whose large columns are decoded when they are asked for. Outlives the snapshot that it was read from.

    columns: what is decoded, as bytes by name: all columns of small steps, and with `keep` what was asked for.
    """

    __slots__ = ("_chunk", "_keep", "_step_bytes", "columns", "steps")

    def __init__(self, chunk: StoredChunk, step_bytes: Mapping[str, int], keep: bool) -> None:
        self._chunk, self.steps = chunk, chunk.steps
        self._step_bytes, self._keep = step_bytes, keep
        self.columns: dict[str, bytes | memoryview] = {
            name: chunk.raw(name, size) for name, size in step_bytes.items() if size < _LARGE_STEP
        }

    def raw(self, name: str) -> bytes | memoryview:
        """A column's bytes."""
        found = self.columns.get(name)
        if found is None:
            found = memoryview(self._chunk.raw(name, self._step_bytes[name]))
            # Large columns of a whole batch are more than a core's cache holds: without a cache of chunks each is let
            # go as soon as it is copied, and the next is decoded into the same, warm memory.
            if self._keep:
                self.columns[name] = found
        return found

    def column(self, column: Column) -> NDArray[Any]:
        """A column as an array (steps, ...), read-only."""
        if not self._step_bytes[column.name]:  # frombuffer refuses an empty buffer, which a column of shape (0,) is
            return np.empty((self.steps, *column.shape), column.dtype)
        return np.frombuffer(self.raw(column.name), column.dtype).reshape(self.steps, *column.shape)


class ChunkReader:
    """The chunks of a replay, decoded. May be used in any thread; with a cache, one thread reads at a time.

    Args:
      where: the store, as errors name it.
      log: where they are.
      columns: of each step.
      cache_bytes: decoded chunks that are kept.
      steps_max: of the whole store, so that a cache need not hold more.
    """

    def __init__(self, where: Path, log: ChunkLog, columns: Sequence[Column], cache_bytes: int, steps_max: int) -> None:
        self._where, self._log = where, log
        self._columns = {c.name: c for c in columns}
        self._step_bytes = {c.name: prod(c.shape) * np.dtype(c.dtype).itemsize for c in columns}
        steps = min(cache_bytes // max(sum(self._step_bytes.values()), 1), steps_max)
        self._cache = ChunkCache(columns, steps) if steps else None
        self._lock = threading.Lock()

    def read(self, stream: int, start: int, places: Sequence[Place], out: Batch) -> bool:
        """Read the steps of a stream from `start` on, which lie in `places`, into `out`, (steps, ...) each.

        Returns:
          Whether all were still there.

        Raises:
          StorageError: a chunk is damaged, or holds something else.
        """
        chunks = self._decoded({key: (stream, begin, end) for key, begin, end in places})
        if len(chunks) < len(places):
            return False
        for key, begin, end in places:
            low = max(start, begin)
            for name, array in out.items():
                high = min(start + len(array), end)
                array[low - start : high - start] = chunks[key].column(self._columns[name])[low - begin : high - begin]
        return True

    def fill(
        self, anchors: NDArray[np.int64], rows: NDArray[np.int64], where: Whereabouts, shape: WindowShape, out: Batch
    ) -> NDArray[np.int64]:
        """Read windows into `out`.

        Args:
          anchors: (B, 2) of stream and step.
          rows: (B,), the row of `out` that each is for, ascending.
          where: the chunks that hold them.

        Returns:
          The rows whose window is not stored.

        Raises:
          StorageError: a chunk is damaged, or holds something else.
        """
        if self._cache is None:
            missing, _ = self._fill_decoded(anchors, rows, where, shape, out)
        else:
            with self._lock:  # a chunk that is put takes the place of others
                begins = self._cache.rows(where.keys)
                kept = _whole(where, begins >= 0, len(anchors))
                self._fill_kept(self._cache, anchors, rows, where.only(kept), begins[kept], shape, out)
                missing, chunks = self._fill_decoded(anchors, rows, where.only(~kept), shape, out)
                for number, chunk in chunks.items():
                    if self._cache.rows(np.array([number]))[0] < 0:
                        self._cache.put(number, chunk.steps, chunk.column)
        return rows[missing]

    def _fill_kept(
        self,
        cache: ChunkCache,
        anchors: NDArray[np.int64],
        rows: NDArray[np.int64],
        pieces: Whereabouts,
        begins: NDArray[np.int64],
        shape: WindowShape,
        out: Batch,
    ) -> None:
        """Read windows of which all pieces are in the cache, each beginning at a row of it."""
        if not len(begins):
            return
        steps = WindowSteps(anchors[:, 1], rows, pieces, begins, shape)
        for column in shape.columns:
            if out[column.name].size:
                steps.take(column, cache.columns[column.name], out[column.name])
        if shape.context_column is not None and shape.context:
            firsts = None if shape.first_column is None else cache.columns[shape.first_column]
            steps.blank(out[shape.context_column], firsts)

    def _fill_decoded(
        self, anchors: NDArray[np.int64], rows: NDArray[np.int64], pieces: Whereabouts, shape: WindowShape, out: Batch
    ) -> tuple[NDArray[np.int64], dict[int, Decoded]]:
        """Read windows from the log; returns which are not stored, and the chunks that were decoded."""
        numbers, first, which = np.unique(pieces.keys, return_index=True, return_inverse=True)
        streams = anchors[pieces.windows[first], 0]
        wanted = zip(streams.tolist(), pieces.starts[first].tolist(), pieces.stops[first].tolist(), strict=True)
        chunks = self._decoded(dict(zip(numbers.tolist(), wanted, strict=True)))
        missing = pieces.missing
        if len(chunks) < len(numbers):
            stored = np.array([number in chunks for number in numbers.tolist()])[which]
            missing = np.union1d(missing, pieces.windows[~stored])
            pieces = pieces.only(_whole(pieces, stored, len(anchors)))
        if len(pieces.keys):
            self._copy(anchors, rows, pieces, chunks, shape, out)
        return missing, chunks

    def _copy(
        self,
        anchors: NDArray[np.int64],
        rows: NDArray[np.int64],
        pieces: Whereabouts,
        chunks: Mapping[int, Decoded],
        shape: WindowShape,
        out: Batch,
    ) -> None:
        """Copy what windows say out of decoded chunks, all of which are there."""
        # A chunk's pieces one after the other, so that a large column is decoded once.
        pieces = pieces.only(np.argsort(pieces.keys, kind="stable"))
        numbers, which = np.unique(pieces.keys, return_inverse=True)
        used = [chunks[number] for number in numbers.tolist()]
        sizes = np.array([chunk.steps for chunk in used])
        steps = WindowSteps(anchors[:, 1], rows, pieces, (np.cumsum(sizes) - sizes)[which], shape)
        for column in shape.columns:
            target, step_bytes = out[column.name], self._step_bytes[column.name]
            if step_bytes >= _LARGE_STEP and target.size:
                _copy_pieces(steps, rows[pieces.windows], which, [c.raw for c in used], column, shape, target)
            elif target.size:
                steps.take(column, _joined(column, used), target)
        if shape.context_column is not None and shape.context:
            first = self._columns.get(shape.first_column or "")
            steps.blank(out[shape.context_column], None if first is None else _joined(first, used))

    def _decoded(self, wanted: Mapping[int, tuple[int, int, int]]) -> dict[int, Decoded]:
        """Chunks by number; one that has been evicted is not among them.

        Args:
          wanted: by number, the stream, and the first step and the one behind the last, that it is to hold.
        """
        found = {}
        with self._log.reading() as get:
            for number, (stream, start, stop) in wanted.items():
                value = get(number)
                if value is None:
                    continue
                chunk = parse(bytes(value), f"{self._where}, chunk {number}")
                if (chunk.stream, chunk.start, chunk.start + chunk.steps) != (stream, start, stop):
                    raise StorageError(
                        f"{self._where}, chunk {number}: holds stream {chunk.stream} from step {chunk.start}, the "
                        f"index says stream {stream} from step {start}; the store is damaged"
                    )
                found[number] = Decoded(chunk, self._step_bytes, self._cache is not None)
        return found


def _whole(pieces: Whereabouts, there: NDArray[np.bool_], windows: int) -> NDArray[np.bool_]:
    """Of each piece, whether all pieces of its window are there."""
    broken = np.zeros(windows, np.bool_)
    broken[pieces.windows[~there]] = True
    return ~broken[pieces.windows]


def _joined(column: Column, chunks: Sequence[Decoded]) -> NDArray[Any]:
    """A column of small steps, of all chunks one behind the other."""
    data = b"".join([chunk.columns[column.name] for chunk in chunks])
    return np.frombuffer(data, column.dtype).reshape(-1, *column.shape)


def _copy_pieces(
    steps: WindowSteps,
    rows: NDArray[np.int64],
    which: NDArray[np.int64],
    chunks: Sequence[Callable[[str], bytes | memoryview]],
    column: Column,
    shape: WindowShape,
    out: NDArray[Any],
) -> None:
    """Fill a column of the batch piece by piece; rows, which: (P,) the row and the chunk of each piece."""
    back, span = shape.span(column.name)
    # Bytes, not arrays: numpy gives up the interpreter lock for each copy, and winning it back from a
    # writing thread costs more than the copy. By way of uint8, since a date lends no buffer.
    flat: Any = out.reshape(-1).view(np.uint8)
    target = memoryview(flat)
    row_bytes = len(target) // len(out)
    step = row_bytes // span
    skipped = shape.context - back
    begins = np.maximum(steps.lows, skipped)
    sizes = (np.minimum(steps.lows + steps.lengths, skipped + span) - begins) * step
    to = rows * row_bytes + (begins - skipped) * step
    frm = (steps.sources + begins - steps.lows) * step
    wanted = np.flatnonzero(sizes > 0)
    last, data = -1, memoryview(b"")
    for chunk, to_low, to_high, low, high in np.stack([which, to, to + sizes, frm, frm + sizes])[:, wanted].T.tolist():
        if chunk != last:
            last, data = chunk, memoryview(chunks[chunk](column.name))
        target[to_low:to_high] = data[low:high]
