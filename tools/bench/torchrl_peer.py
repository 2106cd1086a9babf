"""TorchRL's replay doing the same job as ours: a memory-mapped ring of steps, slices of 24 frames drawn uniformly.

Its storage keeps frames raw, one each, as ours does; stacking is done by the same function in both.
"""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from storage.replay import Chunk

MISSING = "TorchRL is not installed; to compare with it: pip install torchrl"


def is_installed() -> bool:
    """Whether the peer can be measured here."""
    return importlib.util.find_spec("torchrl") is not None


class Ring:
    """A replay buffer of TorchRL filled with a recording."""

    def __init__(self, folder: Path, groups: Sequence[Sequence[Chunk]], rows: int, length: int) -> None:
        from torchrl.data import LazyMemmapStorage, SliceSampler, TensorDictReplayBuffer

        self._groups = groups
        self._rows, self._length = rows, length
        steps = sum(len(group) for group in groups) * len(groups[0][0].columns["first"])
        storage = LazyMemmapStorage(steps, scratch_dir=str(folder))
        sampler = SliceSampler(slice_len=length, traj_key="stream", strict_length=True, cache_values=True)
        self.buffer = TensorDictReplayBuffer(storage=storage, sampler=sampler, batch_size=rows * length)
        self.steps = steps

    def fill(self) -> None:
        """Insert the whole recording, lane by lane: a slice must lie in one piece of the ring."""
        import torch
        from tensordict import TensorDict

        for lane in range(len(self._groups[0])):
            for group in self._groups:
                chunk = group[lane]
                columns: dict[str, Any] = {
                    name: torch.from_numpy(np.ascontiguousarray(column)) for name, column in chunk.columns.items()
                }
                columns["stream"] = torch.full((len(columns["first"]),), chunk.stream)
                self.buffer.extend(TensorDict(columns, batch_size=[len(columns["first"])]))

    def draw(self) -> tuple[Any, Any]:
        """Frames (rows, length, 84, 84) and first flags (rows, length) as numpy arrays."""
        sample = self.buffer.sample()
        frames = sample["frames"].reshape(self._rows, self._length, 84, 84).numpy()
        return frames, sample["first"].reshape(self._rows, self._length).numpy()

    def bytes_a_step(self) -> float:
        """What a step takes in the store."""
        return sum(column[0].nbytes for column in self._groups[0][0].columns.values())


def milliseconds(work: Callable[[], object], rounds: int) -> list[float]:
    """Of one call: in each round the mean of 10, after some to warm up."""
    for _ in range(3):
        work()
    took = []
    for _ in range(rounds):
        began = time.perf_counter()
        for _ in range(10):
            work()
        took.append((time.perf_counter() - began) * 100)
    return took


def beside_a_writer(ring: Ring, work: Callable[[], object], rounds: int) -> list[float]:
    """The same while another thread inserts the recording again and again."""
    over = threading.Event()

    def insert() -> None:
        while not over.is_set():
            ring.fill()

    writer = threading.Thread(target=insert, daemon=True)
    writer.start()
    try:
        return milliseconds(work, rounds)
    finally:
        over.set()
        writer.join()
