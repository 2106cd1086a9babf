"""Where each stored step lies, which windows may be drawn, and what is oldest. In memory; no I/O, no locks.

    chunks    0 1 2 3 4 5 6 ...       numbered as they came, over all streams; the oldest go first
    stream 7  [0──20)[20──40)  [60──80)[80──100)
    segments  [0 ─────── 40)   [60 ───────── 100)     steps without a gap
    episodes      [9 ──────── 40)  [65 ─ 71)[71 ──── from a first step to the next, or to the segment's end

Chunks leave in the order they came, so a stream loses its steps from the front, and so does the list of
episodes. That makes every table here a queue or an array.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flow.errors import StorageError
from storage.fifo import Fifo

# Instead of the number of the chunk before: there is a gap, or nothing was ever recorded before.
_GAP, _BIRTH = -1, -2


class Entry(NamedTuple):
    """What the index knows of one chunk."""

    stream: int
    start: int
    steps: int
    size: int
    """Bytes as stored."""
    firsts: Sequence[int]
    """Offsets within the chunk at which an episode begins, ascending."""


class Place(NamedTuple):
    """One stored chunk that holds steps start..stop-1."""

    key: int
    start: int
    stop: int


class Whereabouts(NamedTuple):
    """The chunks that windows lie in, each window in one or several; (P,) each but `missing`.

    windows: which of the windows. keys: of the chunks. starts, stops: the steps that each holds. missing: windows of
    which not all is stored.
    """

    windows: NDArray[np.int64]
    keys: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]
    missing: NDArray[np.int64]

    def only(self, pieces: NDArray[Any]) -> Whereabouts:
        """Some of the pieces, by a mask or an index."""
        windows, keys, starts, stops = (part[pieces] for part in self[:4])
        return Whereabouts(windows, keys, starts, stops, self.missing)


@dataclass(slots=True)
class _Stream:
    """One stream: its chunks oldest first, and its segments by slot."""

    birth: int
    end: int
    appended: int = 0
    starts: array[int] = field(default_factory=lambda: array("q"))
    stops: array[int] = field(default_factory=lambda: array("q"))
    keys: array[int] = field(default_factory=lambda: array("q"))
    gone: int = 0
    """Leading entries of the three arrays that are evicted and not yet cut off."""
    segments: deque[int] = field(default_factory=deque)
    open_episode: int = -1
    """Number of the episode that goes on at `end`, or -1."""


class ReplayIndex:
    """The index of one replay store.

    Args:
      next_key: the number the next chunk gets.
    """

    def __init__(self, next_key: int = 0) -> None:
        self.steps = self.size = self.appended = 0
        self.streams: dict[int, _Stream] = {}
        # Steps are numbered as they come: `place` is that of a chunk's first, counted from when this index was made.
        # `before` and `after` are the numbers of a chunk's neighbours in its stream.
        self._chunks = Fifo(("stream", "start", "steps", "size", "place", "before", "after"), next_key)
        self._linked = 0
        self._episodes = Fifo(("stream", "start", "stop"))
        self._short: set[int] = set()
        self._segments: NDArray[np.int64] = np.zeros((4, 64), np.int64)
        self._free: list[int] = list(range(64))
        self._version = 0
        self._laws: dict[tuple[int, int], tuple[int, NDArray[np.int64], NDArray[np.int64]]] = {}

    @property
    def keys(self) -> range:
        """Numbers of the stored chunks, oldest first."""
        return range(self._chunks.head, self._chunks.tail)

    @property
    def segments(self) -> int:
        """How many contiguous stretches of steps are stored."""
        slots: int = self._segments.shape[1]
        return slots - len(self._free)

    @property
    def episodes(self) -> int:
        """How many episodes `draw_episodes` chooses from."""
        return self._episodes.tail - self._episodes.head - len(self._short)

    def remember(self, stream: int, birth: int, end: int, appended: int) -> None:
        """Take over what an earlier process recorded of a stream, before its chunks are added again."""
        self.streams[stream] = _Stream(birth, end, appended)
        self.appended += appended

    def append(self, entry: Entry) -> int:
        """Add a new chunk at the end of its stream and return its number."""
        stream = self.streams.get(entry.stream)
        if stream is None:
            stream = self.streams[entry.stream] = _Stream(entry.start, entry.start)
        stream.end = entry.start + entry.steps
        stream.appended += entry.steps
        self.appended += entry.steps
        return self.link(entry)

    def link(self, entry: Entry) -> int:
        """Make a chunk findable. Called alone when a store is opened again: its steps were counted before."""
        stream = self.streams[entry.stream]
        stop = entry.start + entry.steps
        goes_on = bool(stream.segments) and self._segments[1, stream.segments[-1]] == entry.start
        before = stream.keys[-1] if goes_on else _BIRTH if entry.start == stream.birth else _GAP
        key = self._chunks.append(*entry[:4], self._linked, before, _GAP)
        self._linked += entry.steps
        if goes_on:
            self._chunks.column("after")[before - self._chunks.head] = key
        else:
            self._begin_segment(entry.stream, stream, entry.start)
        self._segments[1, stream.segments[-1]] = stop
        stream.starts.append(entry.start)
        stream.stops.append(stop)
        stream.keys.append(key)
        self.steps += entry.steps
        self.size += entry.size
        self._version += 1
        self._link_episodes(entry, stream, stop)
        return key

    def evict(self) -> None:
        """Forget the oldest chunk."""
        stream_id, start, steps = self.oldest_chunk()
        size = int(self._chunks.column("size")[0])
        self._chunks.drop()
        stream = self.streams[stream_id]
        stream.gone += 1
        if stream.gone > 64 and stream.gone * 2 > len(stream.starts):
            del stream.starts[: stream.gone], stream.stops[: stream.gone], stream.keys[: stream.gone]
            stream.gone = 0
        slot = stream.segments[0]
        self._segments[0, slot] = start + steps
        if self._segments[1, slot] == start + steps:
            # begin = end = 0 makes the slot's count of windows zero until it is used again.
            self._segments[:, slot] = 0
            self._free.append(stream.segments.popleft())
        while self._episodes.head < self._episodes.tail and self._oldest_episode_within(stream_id, start + steps):
            self._short.discard(self._episodes.head)
            if stream.open_episode == self._episodes.head:
                stream.open_episode = -1
            self._episodes.drop()
        self.steps -= steps
        self.size -= size
        self._version += 1

    def excess(self, steps: int, size: int, steps_max: int, size_max: int) -> int:
        """Count the oldest chunks that must go before `steps` steps of `size` bytes fit the capacity."""
        steps_over, size_over = self.steps + steps - steps_max, self.size + size - size_max
        count = 0
        # One row at a time: an insert makes room for itself, so only a few chunks go each time.
        for chunk_steps, chunk_size in zip(self._chunks.column("steps"), self._chunks.column("size"), strict=True):
            if steps_over <= 0 and size_over <= 0:
                break
            steps_over -= int(chunk_steps)
            size_over -= int(chunk_size)
            count += 1
        return count

    def places(self, stream: int, start: int, stop: int) -> list[Place] | None:
        """Find the chunks that hold steps start..stop-1 of a stream, in order; None unless all are stored."""
        known = self.streams.get(stream)
        if known is None:
            return None
        starts, stops, keys = known.starts, known.stops, known.keys
        at = bisect_right(starts, start, known.gone) - 1
        found: list[Place] = []
        while start < stop:
            if not known.gone <= at < len(starts) or not starts[at] <= start < stops[at]:
                return None
            found.append(Place(keys[at], starts[at], stops[at]))
            start = stops[at]
            at += 1
        return found

    @property
    def next_place(self) -> int:
        """The number of the next step that comes, over all streams; it counts on when a store is opened again."""
        return self.appended

    def oldest_chunk(self) -> tuple[int, int, int]:
        """Stream, first step and steps of the chunk that `evict` forgets."""
        stream, start, steps = (int(self._chunks.column(name)[0]) for name in ("stream", "start", "steps"))
        return stream, start, steps

    def newest_segment(self, stream: int) -> tuple[int, int]:
        """Begin and end of the stretch that a stream's newest steps are in; (-1, -1) when none is stored."""
        return self._segment(stream, -1)

    def oldest_segment(self, stream: int) -> tuple[int, int]:
        """Begin and end of the stretch that a stream's oldest steps are in; (-1, -1) when none is stored."""
        return self._segment(stream, 0)

    def handles_of(self, stream: int, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """The numbers, as ranges, of stored steps start..stop-1 of a stream; see `next_place`."""
        base = self.next_place - self._linked
        for key, begin, _ in self.places(stream, start, stop) or ():
            at = key - self._chunks.head
            low = int(self._chunks.column("place")[at]) + base
            steps = int(self._chunks.column("steps")[at])
            yield low + max(start - begin, 0), low + min(stop - begin, steps)

    def anchors_at(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Stream and step (B, 2) of stored steps by their numbers (B,)."""
        chunks = self._chunks_at(numbers)
        begin = self._chunks.column("start")[chunks] - self._chunks.column("place")[chunks]
        places = numbers - (self.next_place - self._linked)
        return np.stack([self._chunks.column("stream")[chunks], begin + places], axis=1)

    def whereabouts(
        self, anchors: NDArray[np.int64], length: int, context: int, numbers: NDArray[np.int64] | None = None
    ) -> Whereabouts:
        """Find the chunks of the windows at `anchors` (B, 2).

        Args:
          numbers: (B,) those of the anchors' steps, where they are known: their chunks are found without a search each.
        """
        chunks = self._chunks
        steps, gone = anchors[:, 1], np.zeros(len(anchors), np.bool_)
        at = self._chunks_of(anchors) if numbers is None else self._chunks_at(numbers)
        gone[at < 0] = True
        windows = np.flatnonzero(at >= 0)
        starts, stops = chunks.column("start"), chunks.column("start") + chunks.column("steps")
        found = [(windows, at[windows])]
        for link in ("before", "after"):
            window, chunk = found[0]
            while window.size:
                first = link == "before"
                beyond = starts[chunk] > steps[window] - context if first else stops[chunk] <= steps[window] + length
                window, key = window[beyond], chunks.column(link)[chunk[beyond]]
                # What is before a stream's birth may be missing. Numbers below the head are those of evicted chunks.
                gone[window[(key < chunks.head) & (key != _BIRTH)]] = True
                stored = key >= chunks.head
                window, chunk = window[stored], key[stored] - chunks.head
                found.append((window, chunk))
        windows, at = (np.concatenate(parts) for parts in zip(*found, strict=True))
        kept = ~gone[windows]
        windows, at = windows[kept], at[kept]
        return Whereabouts(windows, chunks.head + at, starts[at], stops[at], np.flatnonzero(gone))

    def draw_anchors(self, rng: np.random.Generator, count: int, length: int, context: int) -> NDArray[np.int64]:
        """Draw legal anchors uniformly, with replacement: (count, 2) of stream and step.

        Each draw is a binary search in the segments' running counts of legal anchors; those counts
        are made anew, in one pass of numpy, for the first draw after a change.
        """
        below, lows = self._law(length, context)
        total = int(below[-1])
        if not total:
            raise StorageError(
                f"no window of {length} steps with {context} of context is stored yet: {self.steps} steps in "
                f"{self.segments} segments; wait for more inserts, or ask for shorter windows"
            )
        draws = rng.integers(total, size=count)
        slots = np.searchsorted(below, draws, side="right")
        before = np.where(slots > 0, below[slots - 1], 0)
        return np.stack([self._segments[2, slots], lows[slots] + draws - before], axis=1)

    def count_anchors(self, length: int, context: int) -> int:
        """Count the legal anchors."""
        return int(self._law(length, context)[0][-1])

    def draw_episodes(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Draw stored episodes uniformly, with replacement: (count, 3) of stream, start and stop."""
        if not self.episodes:
            raise StorageError(f"no episode is stored from its first step on: {self.steps} steps are stored")
        draws = rng.integers(self.episodes, size=count)
        short = np.array(sorted(self._short), np.int64) - self._episodes.head
        # The k-th number that is not in `short`: k plus how many of `short` come before it.
        draws += np.searchsorted(short - np.arange(len(short)), draws, side="right")
        return np.stack([self._episodes.column(name)[draws] for name in ("stream", "start", "stop")], axis=1)

    def stretches(self) -> Iterator[tuple[int, int, int]]:
        """Each segment as (stream, start, stop)."""
        for stream_id, stream in self.streams.items():
            for slot in stream.segments:
                yield stream_id, int(self._segments[0, slot]), int(self._segments[1, slot])

    def _chunks_at(self, numbers: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which of the stored chunks each step is in, by its number; -1 for one that has gone."""
        places = numbers - (self.next_place - self._linked)
        return np.searchsorted(self._chunks.column("place"), places, side="right") - 1

    def _chunks_of(self, anchors: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which of the stored chunks each step of a stream is in; -1 for one that is not stored."""
        found = [self.places(stream, step, step + 1) for stream, step in anchors.tolist()]
        return np.array([place[0].key - self._chunks.head if place else -1 for place in found], np.int64)

    def _segment(self, stream: int, which: int) -> tuple[int, int]:
        slots = self.streams[stream].segments
        return (int(self._segments[0, slots[which]]), int(self._segments[1, slots[which]])) if slots else (-1, -1)

    def _law(self, length: int, context: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Running count of legal anchors over segment slots, and the lowest anchor of each."""
        cached = self._laws.get((length, context))
        if cached is None or cached[0] != self._version:
            begin, end, _, birth = self._segments
            # Before a stream's birth nothing was ever recorded: only there may context be missing.
            lows = np.where(begin == birth, begin, begin + context)
            below = np.cumsum(np.maximum(end - length - lows, 0))
            if len(self._laws) > 8:
                self._laws.clear()
            cached = self._laws[length, context] = (self._version, below, lows)
        return cached[1], cached[2]

    def _begin_segment(self, stream_id: int, stream: _Stream, start: int) -> None:
        if not self._free:
            slots = self._segments.shape[1]
            self._segments = np.concatenate([self._segments, np.zeros_like(self._segments)], axis=1)
            self._free.extend(range(slots, 2 * slots))
        slot = self._free.pop()
        self._segments[:, slot] = (start, start, stream_id, stream.birth)
        stream.segments.append(slot)
        # An episode cut off by a gap keeps the steps it has and never goes on.
        stream.open_episode = -1

    def _link_episodes(self, entry: Entry, stream: _Stream, stop: int) -> None:
        """Let the open episode go on to the chunk's first boundary, then begin those that start in it."""
        for first in (*entry.firsts, entry.steps):
            if stream.open_episode >= 0:
                number = stream.open_episode
                self._episodes.column("stop")[number - self._episodes.head] = entry.start + first
                self._short.discard(number)
            if first < entry.steps:
                begin = entry.start + first
                stream.open_episode = self._episodes.append(entry.stream, begin, begin + 1)
        if stream.open_episode >= 0 and entry.firsts and entry.firsts[-1] == entry.steps - 1:
            self._short.add(stream.open_episode)

    def _oldest_episode_within(self, stream: int, stop: int) -> bool:
        episodes = self._episodes
        return bool(episodes.column("stream")[0] == stream and episodes.column("start")[0] < stop)
