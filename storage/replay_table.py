"""A table over a replay's chunks: which of its steps windows may begin at, and how likely each is.

    chunks of a replay, stored once ──┬── table: windows of 6 steps by priority
                                      └── table: windows of 20 steps, three quarters recent, one quarter uniform

A table holds no data, only some 30 bytes for each step that the replay may hold. A step is drawn when the whole window
around it is stored in one piece: not before the steps behind it have come, and not any more when those before it have
gone. Tables over shared chunks are Reverb's idea (arXiv:2102.04736); here chunks go by age, whatever tables say.
"""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from storage.priorities import Handles, Mix, Priorities
from storage.replay_index import ReplayIndex
from storage.sum_tree import Kernel


class Anchors(NamedTuple):
    """Steps that were drawn, (B,) each but `anchors`.

    anchors: (B, 2) of stream and step t. handles: of their priorities. chances: of each in one draw. drawable: how many
    steps might have been drawn.
    """

    anchors: NDArray[np.int64]
    handles: Handles
    chances: NDArray[np.float64]
    drawable: int


class Table:
    """Made by `Replay.table`, which keeps it up with what is stored. May be used in any thread.

    Args:
      index, lock: those of the replay.
      capacity: steps that it may hold.
      length, context: of the windows, as in `Replay.windows`.
      exponent: α of the priorities.
      newest: steps that "recent" draws from.
      kernel: what runs the loops of the tree.
    """

    def __init__(
        self,
        index: ReplayIndex,
        lock: threading.Lock,
        capacity: int,
        length: int,
        context: int,
        exponent: float,
        newest: int,
        kernel: Kernel,
    ) -> None:
        self.length, self.context = length, context
        self._index, self._lock = index, lock
        first = index.next_place - index.steps
        self._ring = Priorities(
            max(capacity, index.steps), exponent=exponent, newest=newest, first=first, kernel=kernel
        )
        self._ring.append(index.steps, allowed=False)
        for stream, start, stop in index.stretches():
            self._allow(stream, self._lowest(stream, start), stop - length, True)
        self.late_updates = 0
        """Priorities that were said of steps which had gone; since it was made."""

    @property
    def drawable(self) -> int:
        """How many steps may be drawn."""
        with self._lock:
            return self._ring.drawable

    @property
    def exponent(self) -> float:
        """α of the priorities; setting it weighs all steps anew, which takes 0.1 s for a million."""
        return self._ring.exponent

    @exponent.setter
    def exponent(self, value: float) -> None:
        with self._lock:
            self._ring.exponent = value

    def draw(self, rng: np.random.Generator, count: int, mix: Mix) -> Anchors:
        """Draw steps with replacement. Between this and reading them they may be evicted: see `Replay.sample`.

        Raises:
          StorageError: there is none that the mix could draw.
        """
        with self._lock:
            drawn = self._ring.draw(rng, count, mix)
            return Anchors(self._index.anchors_at(drawn.handles), *drawn, self._ring.drawable)

    def update(self, handles: Handles, priorities: NDArray[Any]) -> int:
        """Give drawn steps new priorities, (B,) each; returns how many have been evicted since, and counts them.

        Raises:
          StorageError: a priority is no finite number of 0 or more.
        """
        with self._lock:
            late = self._ring.update(handles, priorities)
            self.late_updates += late
            return late

    def state_dict(self) -> dict[str, Any]:
        """The priorities, to be saved beside the store, which has all else."""
        with self._lock:
            return self._ring.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from saved priorities: what was stored since is as likely as the likeliest."""
        with self._lock:
            self._ring.load_state_dict(state)
            since = int(state["oldest"]) + len(state["priorities"])
            fresh = np.arange(max(since, self._ring.oldest), self._ring.next)
            self._ring.update(fresh, np.full(len(fresh), self._ring.largest))

    def on_append(self, stream: int, start: int, steps: int) -> None:
        """Steps were indexed. Called with the lock held."""
        self._ring.append(steps, allowed=False)
        begin, stop = self._index.newest_segment(stream)
        lowest = max(self._lowest(stream, begin), start - self.length)
        self._allow(stream, lowest, stop - self.length, True)

    def on_evict(self, stream: int, start: int, steps: int) -> None:
        """The oldest steps went. Called with the lock held."""
        self._ring.forget(steps)
        begin, stop = self._index.oldest_segment(stream)
        if begin == start + steps:
            self._allow(stream, begin, min(begin + self.context, stop), False)

    def _lowest(self, stream: int, begin: int) -> int:
        """The first step of a stretch that has its context. Before a stream's birth there is none to have."""
        return begin if begin == self._index.streams[stream].birth else begin + self.context

    def _allow(self, stream: int, start: int, stop: int, allowed: bool) -> None:
        if start < stop:
            for low, high in self._index.handles_of(stream, start, stop):
                self._ring.allow(low, high, allowed)
