"""A sender and a receiver of frames that says how long it ever waited between two."""

from __future__ import annotations

from time import perf_counter

import numpy as np
from jaxtyping import UInt8

from flow import Array, Context, In, Message, Out, node

RECORD_S = 0.25


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
