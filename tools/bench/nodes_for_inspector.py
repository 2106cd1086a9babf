"""A sender and a receiver of frames that says how long it ever waited between two; stamps that say how late each came;
and a node that hangs.
"""

from __future__ import annotations

import time
from time import perf_counter, perf_counter_ns
from typing import Literal

import numpy as np
import trio
from jaxtyping import UInt8

from flow import Array, Context, In, Message, Out, compute, node

RECORD_S = 0.25
STAMP_S = 0.002


class Frames(Message):
    """What an environment shows."""

    frames: UInt8[Array, "84 84 4"]


@node
async def sender(frames: Out[Frames]) -> None:
    """Send the same frames for ever."""
    message = Frames(np.arange(84 * 84 * 4, dtype=np.uint64).astype(np.uint8).reshape(84, 84, 4))
    while True:
        await frames.send(message)


@node
async def receiver(frames: In[Frames], context: Context) -> None:
    """Count frames, and record the longest gap of each quarter of a second."""
    last = recorded = perf_counter()
    longest = 0.0
    async for _ in frames:
        now = perf_counter()
        longest, last = max(longest, now - last), now
        context.metrics.count("frames")
        if now - recorded > RECORD_S:
            context.metrics.record("gap_ms", 1000 * longest)
            recorded, longest = now, 0.0


class Stamp(Message):
    """When it was sent."""

    sent_ns: int


@node
async def stamper(stamps: Out[Stamp]) -> None:
    """Send a stamp each 2 ms: a stream that nothing holds up but what it is delayed by."""
    while True:
        await stamps.send(Stamp(perf_counter_ns()))
        await trio.sleep(STAMP_S)


@node
async def reader(stamps: In[Stamp], context: Context) -> None:
    """Record how late the latest stamp of each quarter of a second came; both ends read one clock."""
    recorded = perf_counter()
    latest = 0.0
    async for stamp in stamps:
        latest = max(latest, (perf_counter_ns() - stamp.sent_ns) / 1e6)
        if perf_counter() - recorded > RECORD_S:
            context.metrics.record("late_ms", latest)
            recorded, latest = perf_counter(), 0.0


@node
async def hanger(stamps: In[Stamp], context: Context, *, held: Literal["loop", "thread"] = "loop") -> None:
    """Take some, and be held by a call that does not return."""
    for _ in range(500):
        await stamps.receive()
    context.metrics.gauge("held_since", time.time())
    if held == "loop":
        time.sleep(1000)  # noqa: ASYNC251
    await compute(time.sleep, 1000)
