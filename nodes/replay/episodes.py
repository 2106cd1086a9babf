"""Plays stored episodes from their first step, as if an actor did.

A network with memory must read an episode from the start under its current weights: a memory stored with the data
belongs to weights that are gone, or to another agent altogether (arXiv:1909.11583, §3). Each row therefore walks
through one stored episode after the other; between two the next begins, with `first` set, as in an actor's lane. The
last row of an episode leads into that first observation and so is no transition, whether the episode had ended there
or is stored only so far.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flow import Array
from flow.errors import NotStoredError, StorageError
from nodes.messages import Trajectories
from storage.replay import Replay

CONTEXT = 3
_COLUMNS = ("frames", "first", "actions", "rewards", "terminated", "logits", "versions")


@dataclass
class Row:
    """Where one row is: the steps of its episode that are still to come, and what it read last."""

    stream: int = 0
    at: int = 0
    stop: int = 0
    tail: Array | None = None  # the last three frames, which the next unroll's stacks need
    last_reward: float = 0.0
    last_action: int = 0
    cut: bool = False  # it begins in the middle of an episode


class EpisodeReader:
    """Reads `unrolls` rows of stored episodes in parallel, `steps` steps at a time."""

    def __init__(self, store: Replay, rng: np.random.Generator, unrolls: int, steps: int) -> None:
        self.store, self.rng, self.steps = store, rng, steps
        self.rows = [Row() for _ in range(unrolls)]

    def next(self) -> Trajectories:
        """The next unroll of every row. `cores` has no columns: a replayer with the network fills it."""
        parts = [self._unroll(row) for row in self.rows]
        stacked = {name: np.stack([part[name] for part in parts]) for name in parts[0]}
        return Trajectories(
            frames=stacked["frames"],
            first=stacked["first"],
            actions=stacked["actions"],
            rewards=stacked["rewards"],
            terminated=stacked["terminated"],
            logits=stacked["logits"],
            last_rewards=stacked["last_reward"],
            last_actions=stacked["last_action"],
            cores=np.zeros((len(parts), 0), np.float32),
            versions=stacked["version"],
            streams=stacked["stream"],
            starts=stacked["start"],
        )

    def _unroll(self, row: Row) -> dict[str, Array]:
        began = (row.last_reward, row.last_action)
        context = row.tail
        pieces = []
        missing = self.steps + 1  # observations; the last one begins the next unroll too
        stream, start = row.stream, row.at
        while missing:
            if row.at >= row.stop:
                self._draw(row)
                if missing == self.steps + 1:
                    began, context, stream, start = (0.0, 0), None, row.stream, row.at
            taken = min(missing, row.stop - row.at)
            try:
                piece = self.store.read(row.stream, row.at, row.at + taken, _COLUMNS)
            except NotStoredError:  # evicted since it was drawn: the episode ends here for this row
                row.at = row.stop
                continue
            if row.cut:
                piece["first"][0] = True
                row.cut = False
            pieces.append(piece)
            row.at += taken
            missing -= taken
        whole = {name: np.concatenate([piece[name] for piece in pieces]) for name in _COLUMNS}
        row.at -= 1  # read again, as observation 0 of the next unroll
        return self._finish(row, whole, began, context, stream, start)

    def _finish(
        self,
        row: Row,
        whole: dict[str, Array],
        began: tuple[float, int],
        context: Array | None,
        stream: int,
        start: int,
    ) -> dict[str, Array]:
        frames = whole.pop("frames")
        first = whole.pop("first")
        if context is None:
            context = np.zeros((CONTEXT, *frames.shape[1:]), np.uint8)
        version = whole.pop("versions")[0]
        frames = np.concatenate([context, frames])
        row.tail = _tail(frames, first)
        fresh = bool(first[-1])
        row.last_reward = 0.0 if fresh else float(whole["rewards"][-2])
        row.last_action = 0 if fresh else int(whole["actions"][-2])
        steps = {name: values[:-1] for name, values in whole.items()}
        return {
            **steps,
            "frames": frames,
            "first": first,
            "last_reward": np.float32(began[0]),
            "last_action": np.int64(began[1]),
            "version": version,
            "stream": np.int64(stream),
            "start": np.int64(start),
        }

    def _draw(self, row: Row) -> None:
        """Begin the next episode; where the store is too small to hold one from its start, a stretch of one."""
        try:
            row.stream, row.at, row.stop = map(int, self.store.sample_episodes(self.rng, 1)[0])
        except StorageError:
            row.stream, row.at = map(int, self.store.sample_anchors(self.rng, 1, self.steps, 0)[0])
            row.stop = row.at + self.steps + 1
            row.cut = True
        row.tail = None


def _tail(frames: Array, first: Array) -> Array:
    """The three frames before the last observation's own, black where they are of an episode before it."""
    tail = frames[-1 - CONTEXT : -1].copy()
    begins = np.flatnonzero(first)
    if len(begins):
        # Row k of the tail is the frame of observation len(first) - 1 - CONTEXT + k.
        old = begins[-1] - (len(first) - 1 - CONTEXT)
        tail[: max(old, 0)] = 0
    return tail
