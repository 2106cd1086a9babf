"""Measure the replay store on real Atari frames: bytes a frame, inserts, and batches of stacked windows.

    python -m tools.bench.replay                 the whole table, under a minute
    python -m tools.bench.replay --frames 4000   a shorter recording

Beside each figure stands a limit: bare LMDB doing the same puts and gets of the same compressed bytes.
Times are wall time in this process, LZ4 and LMDB included; the games are played before any clock runs.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import os
import platform
import statistics
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import lmdb
import numpy as np
from numpy.typing import NDArray

from flow.errors import MissingError
from storage.chunks import encode
from storage.replay import Chunk, Column, Mix, Replay
from tools.bench import priority_bench, torchrl_peer
from tools.bench.figures import measured, row, timed

LANES = 8
STEPS = 20  # of a chunk, and of a window: one unroll of IMPALA and LASER
BATCH = 32
STACK = 4
COLUMNS = [
    Column("frames", "uint8", (84, 84)),
    Column("action", "uint8"),
    Column("reward", "<f4"),
    Column("first", "bool"),
]
BYTES_TARGET, BATCH_MS_TARGET = 200, 8
SHORT = 256  # windows of one step and the stack before it: a batch of DQN
HOT_MS_TARGET, COLD_MS_TARGET = 1, 5


def main() -> None:
    """Parse the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.replay", description=__doc__.split("\n")[0])
    parser.add_argument("--frames", type=int, default=12_000, help="frames of Pong to record (default 12000)")
    parser.add_argument("--rounds", type=int, default=7, help="rounds a figure is taken over (default 7)")
    parser.add_argument("--items", type=int, default=1_000_000, help="items to draw by priority from (default 1000000)")
    parser.add_argument("--path", type=Path, default=None, help="where stores are made (default: a temporary one)")
    options = parser.parse_args()
    groups = record(options.frames)
    with tempfile.TemporaryDirectory(dir=options.path) as folder:
        rows = [
            *size_rows(Path(folder), groups),
            *insert_rows(Path(folder), groups, options.rounds),
            *batch_rows(Path(folder), groups, options.rounds),
            *short_rows(Path(folder), groups, options.rounds),
            *priority_bench.rows(options.items, options.rounds),
            *(torchrl_rows(Path(folder), groups, options.rounds) if torchrl_peer.is_installed() else []),
        ]
    print_table(rows)


def record(frames: int) -> list[list[Chunk]]:
    """Play Pong in 8 lanes; return groups of one chunk a lane."""
    try:
        from ale_py.vector_env import AtariVectorEnv
    except ImportError:
        raise MissingError("ale-py is not installed; pip install 'flow-research[atari]'") from None
    env = AtariVectorEnv("pong", LANES, num_threads=1, stack_num=1)
    rng = np.random.default_rng(0)
    steps = max(frames // LANES // STEPS, 4) * STEPS
    columns = {c.name: np.zeros((LANES, steps, *c.shape), c.dtype) for c in COLUMNS}
    seen, _ = env.reset(seed=0)
    before = np.asarray(seen)[:, 0]
    columns["first"][:, 0] = True
    for t in range(steps):
        frame = np.asarray(seen)[:, 0]
        action = follow_ball(frame, before, rng)
        before = frame.copy()
        seen, reward, ended, cut, _ = env.step(action.astype(np.int64))
        columns["frames"][:, t], columns["action"][:, t], columns["reward"][:, t] = before, action, reward
        if t + 1 < steps:
            columns["first"][:, t + 1] = ended | cut
    points = columns["reward"]
    print(f"recorded {LANES * steps} frames of Pong: {(points > 0).sum()} points won, {(points < 0).sum()} lost")
    return [
        [Chunk(lane, t, {n: a[lane, t : t + STEPS] for n, a in columns.items()}) for lane in range(LANES)]
        for t in range(0, steps, STEPS)
    ]


def follow_ball(frame: NDArray[np.uint8], before: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[Any]:
    """Choose an action a lane: towards the ball's height, with some random moves; (B, 84, 84) -> (B,).

    The ball is what moved between the paddles; the paddle is what differs from the board in its columns.
    """
    actions = rng.integers(6, size=len(frame))
    for lane in range(len(frame)):
        moved = np.argwhere(np.abs(frame[lane, 14:77, 12:72].astype(int) - before[lane, 14:77, 12:72]) > 15)
        paddle = np.argwhere(np.abs(frame[lane, 14:77, 73:76].astype(int) - 87) > 20)
        if len(moved) and len(paddle) and rng.random() > 0.05:
            gap = moved[:, 0].mean() - paddle[:, 0].mean()
            actions[lane] = 2 if gap < -1 else 3 if gap > 1 else 0
    return actions


def size_rows(folder: Path, groups: Sequence[Sequence[Chunk]]) -> list[list[str]]:
    """Bytes a frame with all columns, headers and the index: as encoded, and as the file grows."""
    with store(folder / "size", groups) as replay:
        fill(replay, groups)
        encoded = replay.statistics().bytes_per_step
        frames = replay.statistics().steps
    grown = (folder / "size" / "data.mdb").stat().st_size / frames
    only = [len(encode(c.stream, c.start, {"frames": c.columns["frames"]})) / STEPS for g in groups for c in g]
    return [
        row("bytes a frame, frames alone", only, BYTES_TARGET, "{:.0f}"),
        row("bytes a frame, all columns", [encoded], BYTES_TARGET, "{:.0f}"),
        row("bytes a frame, LMDB's file (4 KiB pages)", [grown], None, "{:.0f}"),
    ]


def insert_rows(folder: Path, groups: Sequence[Sequence[Chunk]], rounds: int) -> list[list[str]]:
    """Thousand frames a second inserted, and bare LMDB putting the same bytes in as many transactions."""
    values = [[encode(*chunk) for chunk in group] for group in groups]
    frames = sum(len(group) for group in groups) * STEPS
    ours: list[float] = []
    bare: list[float] = []
    for number in range(rounds):
        with store(folder / f"insert{number}", groups) as replay:
            took = timed(lambda: fill(replay, groups))
            ours.append(frames / took / 1000)
        with bare_lmdb(folder / f"bare{number}") as env:
            bare.append(frames / timed(lambda: put_all(env, values)) / 1000)
    return [
        row("insert, k frames/s", ours, None, "{:.0f}", statistics.median(ours) / statistics.median(bare)),
        row("  bare LMDB put, k frames/s", bare, None, "{:.0f}"),
    ]


def batch_rows(folder: Path, groups: Sequence[Sequence[Chunk]], rounds: int) -> list[list[str]]:
    """Milliseconds for a drawn, decoded and stacked batch, alone and beside a writer at full rate."""
    rng = np.random.default_rng(1)
    stacks = np.zeros((BATCH, STEPS + 1, STACK, 84, 84), np.uint8)
    with store(folder / "batch", groups) as replay:
        fill(replay, groups)
        out = replay.window_buffers(BATCH, STEPS, STACK - 1)

        def batch() -> None:
            _, windows = replay.draw_windows(rng, BATCH, STEPS, STACK - 1, out)
            stack(windows["frames"], windows["first"], stacks)

        draw = measured(lambda: replay.draw_windows(rng, BATCH, STEPS, STACK - 1, out), rounds)
        alone = measured(batch, rounds)
        writer = Writer(replay, groups)
        cpu: list[float] = []
        busy = measured(batch, rounds, cpu)
        rate = writer.stop()
    with bare_lmdb(folder / "gets") as env:
        put_all(env, [[encode(*chunk) for chunk in group] for group in groups])
        keys = sum(map(len, groups))
        gets = measured(lambda: get_some(env, rng.integers(keys, size=2 * BATCH + BATCH // 5)), rounds)
    floor = statistics.median(gets)
    return [
        row("draw + decode, ms", draw, None, "{:.2f}", statistics.median(draw) / floor),
        row("  + stack, ms", alone, BATCH_MS_TARGET, "{:.2f}", statistics.median(alone) / floor),
        row(
            f"  + writer at {rate / 1000:.0f} k frames/s, ms",
            busy,
            BATCH_MS_TARGET,
            "{:.2f}",
            statistics.median(busy) / floor,
        ),
        row(
            "    CPU of the drawing thread, ms",
            cpu,
            None,
            "{:.2f}",
            statistics.median(cpu) / floor,
        ),
        row("  bare LMDB gets, ms", gets, None, "{:.2f}"),
    ]


def short_rows(folder: Path, groups: Sequence[Sequence[Chunk]], rounds: int) -> list[list[str]]:
    """256 transitions of stacked frames, drawn uniformly: chunks decoded anew each time, and kept; and bare numpy."""
    rng = np.random.default_rng(2)
    found, mix = [], Mix(uniform=1.0)
    for name, cache, target in (("cold", 0, COLD_MS_TARGET), ("hot", 2 << 30, HOT_MS_TARGET)):
        cpu: list[float] = []
        with store(folder / f"short{cache}", groups, cache) as replay:
            fill(replay, groups)
            table = replay.table(1, STACK - 1)
            out = replay.window_buffers(SHORT, 1, STACK - 1)
            for _ in range(30 if cache else 0):  # until most chunks were met
                replay.sample(table, rng, SHORT, mix, out)
            took = measured(lambda r=replay, t=table, o=out: r.sample(t, rng, SHORT, mix, o), rounds, cpu)
            found += [
                row(f"256 transitions of stacks, {name}, ms", took, target, "{:.2f}"),
                row("    CPU of the drawing thread, ms", cpu, None, "{:.2f}"),
            ]
    frames = np.concatenate([chunk.columns["frames"] for group in groups for chunk in group])
    out = np.empty((SHORT * (STACK + 1), *frames.shape[1:]), np.uint8)

    def gather() -> None:
        starts = rng.integers(STACK, len(frames) - 1, SHORT)
        frames.take((starts[:, None] + np.arange(-STACK + 1, 2)).ravel(), 0, out=out, mode="clip")

    return [*found, row("  bare numpy: the same frames out of one array, ms", measured(gather, rounds), None, "{:.2f}")]


class Writer:
    """A thread that appends at full rate to streams of its own until stopped."""

    def __init__(self, replay: Replay, groups: Sequence[Sequence[Chunk]]) -> None:
        self._replay, self._groups = replay, groups
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._write)
        self._frames, self._began = 0, time.perf_counter()
        self._thread.start()

    def _write(self) -> None:
        lap = 0
        while not self._stop.is_set():
            lap += 1
            for group in self._groups:
                if self._stop.is_set():
                    break
                self._replay.append([Chunk(c.stream + lap * LANES, c.start, c.columns) for c in group])
                self._frames += LANES * STEPS

    def stop(self) -> float:
        """End the thread; return the frames a second it inserted."""
        self._stop.set()
        self._thread.join()
        return self._frames / (time.perf_counter() - self._began)


def torchrl_rows(folder: Path, groups: Sequence[Sequence[Chunk]], rounds: int) -> list[list[str]]:
    """The same batch from TorchRL's memory-mapped ring."""
    ring = torchrl_peer.Ring(folder / "torchrl", groups, BATCH, STACK - 1 + STEPS + 1)
    took = timed(ring.fill)
    out = np.zeros((BATCH, STEPS + 1, STACK, 84, 84), np.uint8)

    def draw_and_stack() -> None:
        frames, first = ring.draw()
        stack(frames, first[:, STACK - 1 :], out)

    return [
        row("TorchRL: bytes a step", [ring.bytes_a_step()], None, "{:.0f}"),
        row("  insert, k frames/s", [ring.steps / took / 1000], None, "{:.0f}"),
        row("  draw, ms", torchrl_peer.milliseconds(ring.draw, rounds), None, "{:.2f}"),
        row("    + stack, ms", torchrl_peer.milliseconds(draw_and_stack, rounds), None, "{:.2f}"),
        row("    + writer, ms", torchrl_peer.beside_a_writer(ring, draw_and_stack, rounds), None, "{:.2f}"),
    ]


def stack(frames: NDArray[np.uint8], first: NDArray[np.bool_], out: NDArray[np.uint8]) -> None:
    """Stack each step with the 3 before it, oldest first, zero before the episode's start.

    Args:
      frames: (B, 3 + T, 84, 84), context of earlier episodes zeroed already.
      first: (B, T).
      out: (B, T, 4, 84, 84).
    """
    steps = out.shape[1]
    lane, step, *pixel = frames.strides
    # Every stack as a view of the frames it shares with its neighbours, so that one call copies them all.
    view = np.lib.stride_tricks.as_strided(frames, out.shape, (lane, step, step, *pixel), writeable=False)
    np.copyto(out, view)
    for window, t in np.argwhere(first):
        for later in range(t, min(t + STACK - 1, steps)):
            out[window, later, : STACK - 1 - (later - t)] = 0


def store(path: Path, groups: Sequence[Sequence[Chunk]], cache_bytes: int = 0) -> Replay:
    """Open a store with room for the recording, so that a writer at full rate makes it evict."""
    steps = sum(map(len, groups)) * STEPS
    return Replay(path, COLUMNS, capacity_steps=steps + LANES * STEPS, capacity_bytes=1 << 30, cache_bytes=cache_bytes)


def fill(replay: Replay, groups: Sequence[Sequence[Chunk]]) -> None:
    """Append the whole recording."""
    for group in groups:
        replay.append(group)


def bare_lmdb(path: Path) -> lmdb.Environment:
    """Open LMDB with the settings of the store."""
    return lmdb.open(os.fspath(path), map_size=1 << 32, sync=False, metasync=False, readahead=False)


def put_all(env: lmdb.Environment, values: Sequence[Sequence[bytes]]) -> None:
    """Put ready-made values, one transaction a group."""
    number = 0
    for group in values:
        with env.begin(write=True) as txn:
            for value in group:
                txn.put(number.to_bytes(8, "big"), value, append=True)
                number += 1


def get_some(env: lmdb.Environment, numbers: NDArray[np.int64]) -> None:
    """Get values in one read transaction, as many as a batch of windows needs on average."""
    with env.begin(buffers=True) as txn:
        for number in numbers.tolist():
            bytes(txn.get(number.to_bytes(8, "big"), b""))


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Print the figures, the peers that are missing, and the versions."""
    table = [["", "min", "median", "max", "to bare LMDB", "target"], *rows]
    widths = [max(len(line[i]) for line in table) for i in range(6)]
    for line in table:
        print("  ".join([line[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(line[1:], widths[1:], strict=True))]))
    names = ("lmdb", "lz4", "numpy", "msgpack", "ale-py")
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in names)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    for missing in (torchrl_peer.MISSING if not torchrl_peer.is_installed() else "", priority_bench.missing()):
        if missing:
            print(missing)
    print(f"Python {platform.python_version()}, {versions}, {os.cpu_count()} cores, load {load}")


if __name__ == "__main__":
    main()
