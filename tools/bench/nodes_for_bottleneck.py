"""Nodes that spend a given time at each message, and no processor: many run beside each other on two cores."""

from __future__ import annotations

import numpy as np
import trio
from jaxtyping import Int64

from flow import Array, Call, Context, In, Message, Out, Serve, node


class Number(Message):
    """A number."""

    values: Int64[Array, "rows"]


class Question(Message, repeatable=True):
    """What of this number?"""

    values: Int64[Array, "rows"]


class Answer(Message):
    """The same number."""

    values: Int64[Array, "rows"]


@node
async def source(out: Out[Number], *, cost_ms: float) -> None:
    """Send numbers for ever."""
    number = Number(np.zeros(1, np.int64))
    while True:
        await trio.sleep(cost_ms / 1000)
        await out.send(number)


@node
async def step(into: In[Number], out: Out[Number], *, cost_ms: float) -> None:
    """Send on what comes."""
    async for number in into:
        await trio.sleep(cost_ms / 1000)
        await out.send(number)


@node
async def asker(into: In[Number], out: Out[Number], model: Call[Question, Answer]) -> None:
    """Send on what a server says of what comes."""
    async for number in into:
        answer = await model(Question(number.values))
        await out.send(Number(answer.values))


@node
async def server(requests: Serve[Question, Answer], *, cost_ms: float) -> None:
    """Answer."""
    async for batch in requests.batches(most=1):
        await trio.sleep(cost_ms / 1000)
        batch.answer(Answer(batch.questions.values))


@node
async def sink(into: In[Number], context: Context, *, cost_ms: float) -> None:
    """Count what comes."""
    async for _ in into:
        await trio.sleep(cost_ms / 1000)
        context.metrics.count("handled")
