"""Nodes for tests of what an inspector changes in a run."""

from __future__ import annotations

from typing import Annotated

import trio

from flow import Context, In, Live, Out, Range, Saved, compute, node
from tests.runs.nodes_for_runs import Number, Progress


@node
async def scaler(
    numbers: In[Number],
    scaled: Out[Number],
    context: Context,
    saved: Saved,
    *,
    factor: Live[Annotated[int, Range(0, 9)]] = Live(1),
    hold_s: float = 0.0,
) -> None:
    """Send each number times a factor that can be changed; keep how many there were.

    Args:
      factor: what each is multiplied by.
      hold_s: how long a thread of it holds each number.
    """
    progress = saved.keep("progress", Progress())
    context.log(f"begins after {progress.done}")
    async for number in numbers:
        if hold_s:
            await compute(_hold, hold_s)
        await scaled.send(Number(number.values * 0 + factor.value))
        progress.done += 1
        context.metrics.count("scaled")


def _hold(seconds: float) -> None:
    import time

    time.sleep(seconds)


@node
async def sleeper(numbers: In[Number], scaled: Out[Number], saved: Saved) -> None:
    """Take one number and wait for ever, at no port."""
    saved.keep("progress", Progress())
    await numbers.receive()
    await trio.sleep_forever()
