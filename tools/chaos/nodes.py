"""LASER's graph with nothing to learn: every number that passes is known from where it came, so none can be mistaken.

    actor ──► policy        a question a step, answered in batches
    actor ──► replay        unrolls, stored; what is stored is acknowledged in a file outside the run
    actor ──► learner ◄── replay,   learner ──► policy: published weights

A file `fault` in a node's directory makes that node fail in the way the file says, once.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trio
from jaxtyping import Bool, Float32, Int64, UInt8

from flow import Array, Call, Context, In, Latest, Message, Out, Publish, Saved, Serve, compute, node
from flow.errors import DiskFullError
from storage.replay import Chunk, Column, Replay

ACKNOWLEDGED = "FLOW_CHAOS_ACKNOWLEDGED"
STEPS, SIDE, EPISODE = 10, 8192, 17
COLUMNS = [Column("frames", "uint8", (SIDE,)), Column("first", "bool"), Column("terminated", "bool")]
DISK_AGAIN_S = 0.2


class Seen(Message, repeatable=True):
    """What some lanes see."""

    keys: Int64[Array, "rows"]


class Choice(Message):
    """What to do, and which weights said so."""

    actions: Int64[Array, "rows"]
    version: int


class Unroll(Message):
    """Steps of one stream, from step `start`."""

    stream: int
    start: int
    frames: UInt8[Array, "steps size"]
    first: Bool[Array, "steps"]
    terminated: Bool[Array, "steps"]


class Weights(Message):
    """A value that is published."""

    values: Float32[Array, "size"]


@dataclass
class Progress:
    """How far a node has come."""

    done: int = 0


def columns_of(stream: int, start: int, stop: int) -> dict[str, Array]:
    """What steps start to stop - 1 of a stream are, by definition."""
    t = np.arange(start, stop)
    seed = (stream * 2_654_435_761 + t * 40_503) % 65_521
    frames = (seed[:, None] * np.arange(1, SIDE + 1)[None] >> 3).astype(np.uint8)
    return {"frames": frames, "first": t % EPISODE == 0, "terminated": t % EPISODE == EPISODE - 1}


def require_true(unroll: Unroll) -> None:
    """Raise unless an unroll is what its stream and steps say it is."""
    wanted = columns_of(unroll.stream, unroll.start, unroll.start + len(unroll.first))
    for name, column in wanted.items():
        if not np.array_equal(column, getattr(unroll, name)):
            raise AssertionError(f"torn: {name} of stream {unroll.stream} from step {unroll.start}")


def open_store(path: Path) -> Replay:
    """The store of the replay node. Its map is small, so that it is full now and then."""
    return Replay(
        path, COLUMNS, capacity_steps=2000, capacity_bytes=16 << 20, map_bytes=12 << 20, map_bytes_max=24 << 20
    )


@node
async def actor(policy: Call[Seen, Choice], unrolls: Out[Unroll], context: Context, *, pause_ms: float = 1.0) -> None:
    """Step toy environments; each start has a stream of its own.

    Args:
      pause_ms: what a step takes.
    """
    stream, start = context.incarnation << 8 | context.replica, 0
    while True:
        for step in range(start, start + STEPS):
            await fail_if_told(context)
            answer = await policy(Seen(np.array([step])))
            assert answer.actions[0] == 2 * step, "another question's answer"
            await trio.sleep(pause_ms / 1000)
        await unrolls.send(Unroll(stream, start, **columns_of(stream, start, start + STEPS)))
        context.metrics.count("frames", STEPS)
        start += STEPS


@node
async def policy(requests: Serve[Seen, Choice], weights: Latest[Weights], context: Context) -> None:
    """Answer in batches."""
    async for batch in requests.batches(most=8):
        await fail_if_told(context)
        batch.answer(Choice(2 * batch.questions.keys, 0))


@node
async def replay(inserts: In[Unroll], samples: Out[Unroll], context: Context) -> None:
    """Store what comes, acknowledge it, and send one drawn for each; on a full disk wait until there is room."""
    path = context.directory / "replay"
    rng = np.random.default_rng(context.seed + context.incarnation)
    with await compute(lambda: open_store(path), thread="write") as store, _acknowledging() as file:
        async for unroll in inserts:
            await fail_if_told(context)
            require_true(unroll)
            columns = {name: getattr(unroll, name) for name in ("frames", "first", "terminated")}
            chunk = Chunk(unroll.stream, unroll.start, columns)
            while True:
                try:
                    await compute(store.append, [chunk], thread="write")
                    break
                except DiskFullError:
                    context.metrics.count("full")
                    await trio.sleep(DISK_AGAIN_S)
            os.write(file, b"%d %d %d\n" % (unroll.stream, unroll.start, unroll.start + STEPS))
            context.metrics.count("stored", STEPS)
            if store.count_anchors(STEPS, 0):
                (stream, t), _ = (row.tolist() for row in store.sample_anchors(rng, 2, STEPS, 0))
                await samples.send(Unroll(stream, t, **store.read(stream, t, t + STEPS)))


@contextlib.contextmanager
def _acknowledging() -> Iterator[int]:
    file = os.open(os.environ[ACKNOWLEDGED], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        yield file
    finally:
        os.close(file)


@node
async def learner(
    online: In[Unroll], replayed: In[Unroll], weights: Publish[Weights], context: Context, saved: Saved
) -> None:
    """Look at every unroll, fresh and stored; publish now and then."""
    progress = saved.keep("progress", Progress())
    async with trio.open_nursery() as nursery:
        for port in (online, replayed):
            nursery.start_soon(_learn, port, weights, context, progress)


async def _learn(unrolls: In[Unroll], weights: Publish[Weights], context: Context, progress: Progress) -> None:
    async for unroll in unrolls:
        await fail_if_told(context)
        require_true(unroll)
        progress.done += 1
        context.metrics.count("updates")
        if progress.done % 10 == 0:
            await weights.publish(Weights(np.full(50_000, progress.done, np.float32)), version=progress.done)


async def fail_if_told(context: Context) -> None:
    """Fail as the file `fault` says, which is removed first: the next start is well."""
    told = context.directory / "fault"
    try:
        how = told.read_text()
        told.unlink()
    except OSError:
        return
    match how:
        case "raise":
            raise RuntimeError("the emulator raises, as it was told")
        case "segfault":
            ctypes.string_at(0)
        case "exit":
            os._exit(7)
        case "hang":
            time.sleep(3600)  # noqa: ASYNC251
        case "hang with the interpreter's lock":
            ctypes.PyDLL(None).sleep(3600)
        case "slow":
            for _ in range(10):
                await trio.sleep(0.1)
        case "clock forward" | "clock back":
            real, day = time.time, 86_400.0 if how == "clock forward" else -86_400.0
            time.time = lambda: real() + day
        case "memory":
            raise MemoryError("no memory is left, as it was told")
