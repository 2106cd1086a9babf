"""Nodes that say when they are there."""

from __future__ import annotations

import json
import time
from pathlib import Path

import trio

from flow import Context, In, Message, Out, node

BEAT_S = 0.005


class Beat(Message):
    """A sign of life. incarnation: which start of its sender."""

    incarnation: int


def _leave(report: str, first: dict[int, float]) -> None:
    Path(report).write_text(json.dumps({"first": first}))


async def _beat(beats: Out[Beat], context: Context, count: int) -> None:
    for _ in range(count):
        await beats.send(Beat(context.incarnation))
        context.metrics.count("beats")
        await trio.sleep(BEAT_S)


@node
async def beacon(beats: Out[Beat], context: Context, *, count: int) -> None:
    """Send so many beats in each start."""
    await _beat(beats, context, count)


@node(needs=("torch",))
async def torch_beacon(beats: Out[Beat], context: Context, *, count: int) -> None:
    """The same, in a worker that has torch imported."""
    await _beat(beats, context, count)


@node
async def relay(inputs: In[Beat], beats: Out[Beat]) -> None:
    """Send on what comes."""
    async for beat in inputs:
        await beats.send(beat)


@node
async def listener(beats: In[Beat], *, report: str) -> None:
    """Note when the first beat of each start came."""
    first: dict[int, float] = {}
    async for beat in beats:
        first.setdefault(beat.incarnation, time.perf_counter())
    _leave(report, first)
