"""Nodes that do nothing but move messages, for measuring what moves them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import trio
from jaxtyping import Int64, UInt8

from flow import Array, Call, Context, In, Message, Out, Serve, node
from nodes.messages import Actions, Observations, Trajectories
from tools.bench.stopwatch import Stopwatch

GROUPS = 2


class Blob(Message):
    """Bytes."""

    data: UInt8[Array, "rows size"]


class Stacks(Message):
    """What a group of environments sees."""

    stacks: UInt8[Array, "rows 84 84 4"]


class Choices(Message):
    """What each should do."""

    actions: Int64[Array, "rows"]


def read_counts(counts: str) -> dict[str, int]:
    """Read "1024:20000,28224:5000": how many of which size."""
    return {size: int(count) for size, count in (pair.split(":") for pair in counts.split(","))}


def leave(report: str, watch: Stopwatch) -> None:
    """Write what was measured where the bench looks for it."""
    Path(report).write_text(json.dumps(watch.results))


@node
async def source(blobs: Out[Blob], *, counts: str, report: str) -> None:
    """Send so many blobs of each size."""
    watch = Stopwatch(read_counts(counts))
    for size, count in watch.counts.items():
        data = np.zeros((1, int(size)), np.uint8)
        for _ in range(count):
            await blobs.send(Blob(data))
            watch.saw(size)
    leave(report, watch)


@node
async def sink(blobs: In[Blob], *, counts: str, report: str) -> None:
    """Take them."""
    watch = Stopwatch(read_counts(counts))
    async for blob in blobs:
        watch.saw(str(blob.data.shape[1]))
    leave(report, watch)


@node
async def caller(echo: Call[Blob, Blob], *, counts: str, report: str) -> None:
    """Ask one question after another."""
    watch = Stopwatch(read_counts(counts))
    for size, count in watch.counts.items():
        data = np.zeros((1, int(size)), np.uint8)
        for _ in range(count):
            await echo(Blob(data))
            watch.saw(size)
    leave(report, watch)


@node
async def echoer(requests: Serve[Blob, Blob], *, counts: str, report: str) -> None:
    """Answer each question with itself."""
    watch = Stopwatch(read_counts(counts))
    async for batch in requests.batches(most=1):
        batch.answer(batch.questions)
        watch.saw(str(batch.questions.data.shape[1]))
    leave(report, watch)


@node
async def environments(policy: Call[Stacks, Choices], *, lanes: int, count: int, report: str) -> None:
    """Two groups of environments that take no time; `count` questions of both together."""
    watch = Stopwatch({"groups": count})
    left = count

    async def group() -> None:
        nonlocal left
        stacks = np.zeros((lanes // GROUPS, 84, 84, 4), np.uint8)
        while left > 0:
            left -= 1
            await policy(Stacks(stacks))
            watch.saw("groups")

    async with trio.open_nursery() as nursery:
        for _ in range(GROUPS):
            nursery.start_soon(group)
    leave(report, watch)


@node
async def model(requests: Serve[Stacks, Choices], *, count: int, report: str) -> None:
    """A model that takes no time."""
    watch = Stopwatch({"groups": count})
    async for batch in requests.batches(most=256):
        batch.answer(Choices(np.zeros(len(batch.questions.stacks), np.int64)))
        for _ in range(batch.callers):
            watch.saw("groups")
    leave(report, watch)


@node
async def random_policy(requests: Serve[Observations, Actions], context: Context, *, actions: int) -> None:
    """Random actions, at no cost."""
    dice = np.random.default_rng(context.seed)
    async for batch in requests.batches():
        rows = len(batch.questions.first)
        drawn = dice.integers(actions, size=rows)
        batch.answer(Actions(drawn, np.zeros((rows, actions), np.float32), np.zeros((rows, 0), np.float32), 0))


@node
async def trajectory_sink(trajectories: In[Trajectories], context: Context) -> None:
    """Count the environments' steps."""
    async for unrolls in trajectories:
        context.metrics.count("steps", unrolls.actions.size)


@node
async def idler(inputs: In[Blob], blobs: Out[Blob]) -> None:
    """Wait for what never comes."""
    async for blob in inputs:
        await blobs.send(blob)
