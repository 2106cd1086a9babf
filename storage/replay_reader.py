"""Reads the windows of a batch: decodes the chunks that hold them, once each, and copies what the windows say.

    chunk 7   ├──────────────────┤                   columns of small steps: joined over all chunks of the batch,
    chunk 9                      ├────────────────┤  and taken from there by one index for all
    window              ├─── context ─┼── length ──┤ columns of large ones (frames): copied piece by piece

Decoded chunks are kept as far as `cache_bytes` goes. What is decoded once more each time costs 18 µs a chunk of 20
frames; a cache pays where windows are short and drawn again from the same chunks soon.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flow.errors import StorageError
from storage.byte_cache import ByteCache
from storage.chunks import Column, StoredChunk, parse
from storage.replay_index import Whereabouts
from storage.replay_log import ChunkLog
from storage.replay_windows import WindowShape

Batch = dict[str, NDArray[Any]]
# Steps of so many bytes are not worth joining the chunks for: that copies them once more.
_LARGE_STEP = 512


class Decoded:
    """A chunk whose large columns are decoded when they are asked for. Outlives the snapshot that it was read from.

    columns: what is decoded, as bytes by name: all columns of small steps, and with `keep` what was asked for.
    """

    __slots__ = ("_keep", "_step_bytes", "chunk", "columns")

    def __init__(self, chunk: StoredChunk, step_bytes: Mapping[str, int], keep: bool) -> None:
        self.chunk = chunk
        self._step_bytes, self._keep = step_bytes, keep
        self.columns: dict[str, bytes | memoryview] = {
            name: chunk.raw(name, size) for name, size in step_bytes.items() if size < _LARGE_STEP
        }

    def raw(self, name: str) -> bytes | memoryview:
        """A column's bytes."""
        found = self.columns.get(name)
        if found is None:
            found = memoryview(self.chunk.raw(name, self._step_bytes[name]))
            # Large columns of a whole batch are more than a core's cache holds: without a cache of chunks each is let
            # go as soon as it is copied, and the next is decoded into the same, warm memory.
            if self._keep:
                self.columns[name] = found
        return found

    def column(self, column: Column) -> NDArray[Any]:
        """A column as an array (steps, ...), read-only."""
        if not self._step_bytes[column.name]:  # frombuffer refuses an empty buffer, which a column of shape (0,) is
            return np.empty((self.chunk.steps, *column.shape), column.dtype)
        return np.frombuffer(self.raw(column.name), column.dtype).reshape(self.chunk.steps, *column.shape)


class ChunkReader:
    """The chunks of a replay, decoded. May be used in any thread.

    Args:
      where: the store, as errors name it.
      log: where they are.
      columns: of each step.
      cache_bytes: decoded chunks that are kept.
    """

    def __init__(self, where: Path, log: ChunkLog, columns: Sequence[Column], cache_bytes: int) -> None:
        self._where, self._log = where, log
        self._step_bytes = {c.name: prod(c.shape) * np.dtype(c.dtype).itemsize for c in columns}
        self._all_bytes = sum(self._step_bytes.values())
        self._lock = threading.Lock()
        self._cache_bytes = cache_bytes
        self._cache: ByteCache[Decoded] = ByteCache(cache_bytes)

    def drop(self, numbers: Sequence[int]) -> None:
        """Forget chunks that were evicted."""
        with self._lock:
            for number in numbers:
                self._cache.drop(number)

    def chunks(self, wanted: Mapping[int, tuple[int, int, int]]) -> dict[int, Decoded]:
        """Chunks by number; one that has been evicted is not among them.

        Args:
          wanted: by number, the stream, and the first step and the one behind the last, that it is to hold.

        Raises:
          StorageError: a chunk is damaged, or holds something else.
        """
        if not self._cache_bytes:
            return self._read(wanted)
        with self._lock:
            found = self._cache.get(wanted)
        if len(found) < len(wanted):
            fresh = self._read({number: at for number, at in wanted.items() if number not in found})
            with self._lock:
                for number, chunk in fresh.items():
                    self._cache.put(number, chunk, chunk.chunk.steps * self._all_bytes)
            found |= fresh
        return found

    def _read(self, wanted: Mapping[int, tuple[int, int, int]]) -> dict[int, Decoded]:
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
                found[number] = Decoded(chunk, self._step_bytes, self._cache_bytes > 0)
        return found

    def fill(
        self, anchors: NDArray[np.int64], rows: NDArray[np.int64], where: Whereabouts, shape: WindowShape, out: Batch
    ) -> NDArray[np.int64]:
        """Read windows into `out`.

        Args:
          anchors: (B, 2) of stream and step.
          rows: (B,), the row of `out` that each is for.
          where: the chunks that hold them.

        Returns:
          The rows whose window is not stored.
        """
        keys, first, which = np.unique(where.keys, return_index=True, return_inverse=True)
        streams = anchors[where.windows[first], 0]
        wanted = zip(streams.tolist(), where.starts[first].tolist(), where.stops[first].tolist(), strict=True)
        found = self.chunks(dict(zip(keys.tolist(), wanted, strict=True)))
        missing = where.missing
        if len(found) < len(keys):
            absent = np.array([key not in found for key in keys.tolist()])
            missing = np.union1d(missing, where.windows[absent[which]])
        if len(missing) < len(rows):
            kept = ~np.isin(where.windows, missing)
            pieces = Pieces(anchors[:, 1], rows, where, kept, found, shape)
            for column in shape.columns:
                if not self._step_bytes[column.name] or not out[column.name].size:
                    continue
                if self._step_bytes[column.name] >= _LARGE_STEP:
                    pieces.copy(column, out[column.name])
                else:
                    pieces.take(column, out[column.name])
            pieces.blank(out)
        return rows[missing]


class Pieces:
    """How windows lie in decoded chunks: each in one piece or several, a chunk's pieces one after the other.

    Args:
      steps, rows: (B,) t of each window, and the row of the batch that it is for.
      where, kept: which of these pieces there are.
      chunks: all that they lie in, by number.
    """

    def __init__(
        self,
        steps: NDArray[np.int64],
        rows: NDArray[np.int64],
        where: Whereabouts,
        kept: NDArray[np.bool_],
        chunks: Mapping[int, Decoded],
        shape: WindowShape,
    ) -> None:
        self._shape = shape
        self._small: dict[str, NDArray[Any]] = {}
        span = shape.context + shape.length + 1
        windows, keys, starts, stops = (part[kept] for part in where[:4])
        numbers, order = np.unique(keys, return_inverse=True)
        by_chunk = np.argsort(order, kind="stable")
        windows, order, starts, stops = windows[by_chunk], order[by_chunk], starts[by_chunk], stops[by_chunk]
        self._chunks = [chunks[number] for number in numbers.tolist()]
        origins = steps[windows] - shape.context
        # Of each piece: where in its window it begins, where in its chunk, and how many steps it has.
        self._lows = np.maximum(starts - origins, 0)
        self._sources = np.maximum(origins - starts, 0)
        self._lengths = np.minimum(origins + span, stops) - np.maximum(origins, starts)
        self._chunk_of, self._row_of = order, rows[windows]
        # (B', span): which step of all chunks joined each step of a window is; -1 before the stream's birth.
        self._windows, at = np.unique(windows, return_inverse=True)
        self._rows = rows[self._windows]
        sizes = np.array([chunk.chunk.steps for chunk in self._chunks])
        joined = (np.cumsum(sizes) - sizes)[order] + self._sources
        within = np.arange(self._lengths.sum()) - np.repeat(np.cumsum(self._lengths) - self._lengths, self._lengths)
        self._at = np.full((len(self._windows), span), -1)
        self._at[np.repeat(at, self._lengths), np.repeat(self._lows, self._lengths) + within] = (
            np.repeat(joined, self._lengths) + within
        )

    def take(self, column: Column, out: NDArray[Any]) -> None:
        """Fill a column from the joined chunks; what is before a stream's birth is rubbish until it is blanked."""
        back, steps = self._shape.span(column.name)
        at = self._at[:, self._shape.context - back :][:, :steps]
        out[self._rows] = self._joined(column).take(at, axis=0, mode="clip")

    def copy(self, column: Column, out: NDArray[Any]) -> None:
        """Fill a column piece by piece."""
        back, steps = self._shape.span(column.name)
        # Bytes, not arrays: numpy gives up the interpreter lock for each copy, and winning it back from a
        # writing thread costs more than the copy. By way of uint8, since a date lends no buffer.
        flat: Any = out.reshape(-1).view(np.uint8)
        target = memoryview(flat)
        row_bytes = len(target) // len(out)
        step = row_bytes // steps
        skipped = self._shape.context - back
        begins = np.maximum(self._lows, skipped)
        sizes = (np.minimum(self._lows + self._lengths, skipped + steps) - begins) * step
        to = self._row_of * row_bytes + (begins - skipped) * step
        frm = (self._sources + begins - self._lows) * step
        wanted = np.flatnonzero(sizes > 0)
        parts = np.stack([self._chunk_of, to, to + sizes, frm, frm + sizes])[:, wanted].T.tolist()
        last, data = -1, memoryview(b"")
        for chunk, to_low, to_high, low, high in parts:
            if chunk != last:
                last, data = chunk, self._chunks[chunk].raw(column.name)
            target[to_low:to_high] = data[low:high]

    def blank(self, out: Batch) -> None:
        """Make context zero that is not of the episode of step t.

        That is done here, since the boundary column from t on cannot tell a caller where the episode of t began.
        """
        shape = self._shape
        if shape.context_column is None or not shape.context:
            return
        stored = self._at[:, : shape.context + 1] >= 0
        begins = stored.argmax(1)
        if shape.first_column is not None:
            column = next(c for c in shape.columns if c.name == shape.first_column)
            firsts = self._joined(column).take(self._at[:, : shape.context + 1], mode="clip") & stored
            last = shape.context - firsts[:, ::-1].argmax(1)
            begins = np.where(firsts.any(1), last, begins)
        target = out[shape.context_column]
        for window in np.flatnonzero(begins):
            target[self._rows[window], : begins[window]] = np.zeros((), target.dtype)

    def _joined(self, column: Column) -> NDArray[Any]:
        found = self._small.get(column.name)
        if found is None:
            data = b"".join([chunk.columns[column.name] for chunk in self._chunks])
            found = self._small[column.name] = np.frombuffer(data, column.dtype).reshape(-1, *column.shape)
        return found
