"""Five small nodes with every kind of port, a store on disk and a cycle, for simulated runs.

source ──► mixer ──► grader ──► store ──► weights: scorer
             ▲         │ ▲        │
             │         ▼ │        │
             │        scorer      │
             └──── acks (feedback) ┘
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import trio
from jaxtyping import Float32, Int64

from flow import Array, Call, Context, In, Latest, Message, Out, Publish, Saved, Serve, compute, node
from storage.replay import Chunk, Column, Replay


class Item(Message):
    """A number that no other item of the run has."""

    number: int
    load: Float32[Array, "length"]


class Question(Message, repeatable=True):
    """What is this worth?"""

    numbers: Int64[Array, "rows"]


class Answer(Message):
    """This."""

    scores: Float32[Array, "rows"]
    version: int


class Weights(Message):
    """What scores are multiplied by."""

    factor: float


@dataclass
class Position:
    """How far a node is."""

    at: int = 0


@node
async def source(items: Out[Item], context: Context, saved: Saved, *, count: int = 12, length: int = 3) -> None:
    """Send items with the numbers 0 to count - 1."""
    position = saved.keep("position", Position())
    while position.at < count:
        rng = np.random.default_rng(context.seed + position.at)
        item = Item(position.at, rng.random(length, np.float32))
        await items.send(item)
        position.at += 1


@node
async def mixer(items: In[Item], acks: In[Item], mixed: Out[Item], context: Context, *, held: int = 3) -> None:
    """Hold a few items back and pass them on in another order."""
    rng = np.random.default_rng(context.seed + context.incarnation)
    waiting: list[Item] = []
    async for item in items:
        while acks.receive_nowait() is not None:
            context.metrics.count("acks")
        waiting.append(item)
        if len(waiting) > held:
            await mixed.send(waiting.pop(int(rng.integers(len(waiting)))))
    for item in waiting:
        await mixed.send(item)


@node
async def grader(mixed: In[Item], scorer: Call[Question, Answer], graded: Out[Item], *, after_s: float = 0.0) -> None:
    """Ask for each item's score and pass on the item with it."""
    async for item in mixed:
        await trio.sleep(after_s)
        answer = await scorer(Question(np.array([item.number])))
        await graded.send(Item(item.number, item.load * answer.scores[0]))


@node
async def scorer(requests: Serve[Question, Answer], weights: Latest[Weights]) -> None:
    """Score in batches, with the newest weights."""
    async for batch in requests.batches(most=4, buckets=(1, 2, 4)):
        factor = weights.newest.factor if weights.newest is not None else 1.0
        scores = await compute(lambda numbers, by: (numbers * by).astype(np.float32), batch.questions.numbers, factor)
        batch.answer(Answer(scores, weights.version))


@node
async def store(
    graded: In[Item], acks: Out[Item], weights: Publish[Weights], context: Context, saved: Saved, *, length: int = 3
) -> None:
    """Store every item, say so, and publish a weight that grows."""
    position = saved.keep("position", Position())
    columns = [Column("number", "<i8"), Column("load", "<f4", (length,))]
    path = Path(context.directory) / "replay"
    async with AsyncExitStack() as stack:
        replay = stack.enter_context(
            await compute(
                lambda: Replay(
                    path, columns, capacity_steps=100, capacity_bytes=1 << 20, first_column=None, context_column=None
                )
            )
        )
        at = 0
        async for item in graded:
            rows = {"number": np.array([item.number]), "load": item.load[None]}
            await compute(replay.append, [Chunk(context.incarnation, at, rows)])
            at += 1
            position.at += 1
            await weights.publish(Weights(1.0 + position.at / 8), position.at)
            await acks.send(item)
            context.metrics.count("stored")
        await compute(replay.sync)
