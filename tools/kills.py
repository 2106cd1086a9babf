"""Kills writers of a replay store in the middle of their commits, and looks each time whether the store is whole.

    python -m tools.kills --times 10000 --seed 1

Each writer is a fork that opens the store, appends, tells through a pipe of every group that was committed, and is
killed at an instant drawn from the time its commits take. Then another opens the store: all that was told of is there,
at most the one group that was being written beside it, and every step stored is the one that was written. Exit
status 1 when it is not so.
"""

from __future__ import annotations

import argparse
import os
import random
import select
import signal
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from flow import Array
from storage.replay import Chunk, Column, Replay

STREAMS, STEPS, SIDE = 3, 5, 2048
COLUMNS = [Column("frames", "uint8", (SIDE,)), Column("step", "<i8"), Column("first", "bool")]
CAPACITY = 600
TAIL = 40  # steps of each stream that are read after every kill; all of them at the end
COMMITS = 2.0  # of so many commits the instant of a kill is drawn
_NOISE = np.random.default_rng(0).integers(1, 1 << 30, SIDE) | 1


def columns_of(stream: int, start: int, stop: int) -> dict[str, Array]:
    """What steps start to stop - 1 of a stream are. Frames that do not compress, so that a commit writes pages."""
    t = np.arange(start, stop)
    seeds = (stream * 2_654_435_761 + t * 40_503) % 4_294_967_291
    frames = (seeds[:, None] * _NOISE[None] >> 11).astype(np.uint8)
    return {"frames": frames, "step": stream * 1_000_000_000 + t, "first": t % 7 == 0}


def open_store(path: Path) -> Replay:
    """The store that is written, small enough that each commit evicts too."""
    return Replay(path, COLUMNS, capacity_steps=CAPACITY, capacity_bytes=1 << 28, map_bytes=24 << 20)


def write(path: Path, told: int) -> None:
    """Append groups for ever, and tell of each."""
    with open_store(path) as replay:
        start = max(replay.ends.values(), default=0)
        os.write(told, start.to_bytes(8, "little"))
        while True:
            replay.append([Chunk(s, start, columns_of(s, start, start + STEPS)) for s in range(STREAMS)])
            start += STEPS
            os.write(told, start.to_bytes(8, "little"))


def begun(path: Path) -> int:
    """Make the store; where its streams end."""
    with open_store(path) as replay:
        return max(replay.ends.values(), default=0)


def commit_s(path: Path) -> float:
    """What a group takes here now, the median of some."""
    took = []
    with open_store(path) as replay:
        for start in range(0, 50 * STEPS, STEPS):
            began = time.perf_counter()
            replay.append([Chunk(s, start, columns_of(s, start, start + STEPS)) for s in range(STREAMS)])
            took.append(time.perf_counter() - began)
    return float(np.median(took))


def killed(path: Path, seconds: float) -> int:
    """Fork a writer, kill it so long after its first word, and return the end it told of last."""
    hears, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(hears)
            write(path, told)
        finally:
            os._exit(1)
    os.close(told)
    select.select([hears], [], [], 30)
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:  # sleeping is too coarse for instants inside a commit
        pass
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with open(hears, "rb") as pipe:
        heard = pipe.read()
    return int.from_bytes(heard[-8:], "little")


@dataclass
class Count:
    """What the kills met. inside: commits that were killed after they were made and before they were told of."""

    kills: int = 0
    inside: int = 0
    groups: int = 0
    end: int = 0


def wrong(path: Path, told: int, before: int, count: Count, tail: int) -> Iterator[str]:
    """What is wrong with the store after a kill."""
    with open_store(path) as replay:
        ends = set(replay.ends.values()) or {0}
        if len(ends) != 1:
            yield f"a group is torn: {replay.ends}"
            return
        end = count.end = ends.pop()
        if end not in (told, told + STEPS):
            yield f"steps up to {told} were acknowledged, up to {end} are stored"
        count.kills += 1
        count.inside += end == told + STEPS
        count.groups += (end - before) // STEPS
        held = replay.statistics()
        if held.appended_steps != STREAMS * end or held.steps != min(CAPACITY, held.appended_steps):
            yield f"{held.steps} of {held.appended_steps} steps are stored, {STREAMS * end} were appended"
        low = end - min(tail, held.steps // STREAMS)
        for stream in range(STREAMS if end else 0):
            found = replay.read(stream, low, end)
            for name, wanted in columns_of(stream, low, end).items() if low < end else ():
                if not np.array_equal(found[name], wanted):
                    yield f"{name} of stream {stream}, steps {low} to {end}, are not those that were written"


def kill_writers(path: Path, times: int, seed: int) -> tuple[Count, list[str]]:
    """Kill so many writers of the store at `path`; what was met, and what was wrong."""
    rng = random.Random(seed)
    count, end = Count(), begun(path)
    most = COMMITS * commit_s(path.parent / "measured")
    for number in range(times):
        told = killed(path, rng.uniform(0, most))
        last = number == times - 1
        problems = list(wrong(path, told, end, count, CAPACITY if last else TAIL if number % 20 == 0 else STEPS))
        if problems:
            return count, [f"kill {number}: {text}" for text in problems]
        end = count.end
        if number and number % 1000 == 0:
            print(f"{number} kills, {count.inside} between commit and word", flush=True)
    return count, []


def main() -> int:
    """Kill, look, tell."""
    parser = argparse.ArgumentParser(prog="python -m tools.kills", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--times", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="flow-kills-") as folder:
        count, problems = kill_writers(Path(folder) / "store", arguments.times, arguments.seed)
    for problem in problems:
        print(f"VIOLATION: {problem}")
    print(
        f"{count.kills} writers killed in {time.monotonic() - began:.0f} s, {count.groups} groups committed, "
        f"{count.inside} of the kills between a commit and its word; {len(problems)} violations; seed {arguments.seed}"
    )
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
