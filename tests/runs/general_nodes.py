"""Nodes at the ends of the graphs of general nodes, and the functions that their maps and filters call."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float32, Int64, UInt8

from flow import Array, Context, In, Message, Out, Publish, Serve, node
from nodes.experience import Observations, Positions
from nodes.messages import Weights


class Reading(Message):
    """A number, with a sound and a picture of it."""

    number: int
    rate: int
    samples: Float32[Array, "4"]
    picture: UInt8[Array, "2 3"]


class Doubled(Message):
    """A reading, doubled."""

    number: int
    rate: int
    samples: Float32[Array, "4"]
    picture: UInt8[Array, "2 3"]


class Choice(Message):
    """What to do, and how sure one is."""

    actions: Int64[Array, "rows"]
    certainty: Float32[Array, "rows"]


class Steps(Message):
    """Of transitions, what a learner would read first."""

    observations: Float32[Array, "rows steps 4"]
    actions: Int64[Array, "rows steps"]
    certainty: Float32[Array, "rows steps"]


class Moves(Message):
    """Of a game, what a learner would read first."""

    legal: Bool[Array, "moves 9"]
    actions: Int64[Array, "moves"]
    certainty: Float32[Array, "moves"]


@node
async def source(readings: Out[Reading], *, count: int = 40) -> None:
    """Send `count` readings."""
    for number in range(count):
        picture = np.full((2, 3), number, np.uint8)
        await readings.send(
            Reading(number, 8000 if number % 2 else 16000, np.full(4, number / 100, np.float32), picture)
        )


@node
async def sink(numbers: In[Doubled], context: Context) -> None:
    """Count what arrives, and the sum of it."""
    async for message in numbers:
        context.metrics.count("arrived")
        context.metrics.count("total", message.number)


def doubled(reading: Reading) -> Doubled:
    """Twice the number."""
    return Doubled(2 * reading.number, reading.rate, reading.samples, reading.picture)


def small(doubled: Doubled, *, most: int) -> bool:
    """Whether it is at most so large."""
    return doubled.number <= most


@node
async def alternate(requests: Serve[Observations, Choice]) -> None:
    """Push left and right in turn."""
    turn = 0
    async for batch in requests.batches():
        rows = len(batch.questions.first)
        batch.answer(Choice(np.full(rows, turn), np.full(rows, 0.5, np.float32)))
        turn = 1 - turn


@node
async def first_legal(requests: Serve[Positions, Choice]) -> None:
    """Make the first move that may be made."""
    async for batch in requests.batches():
        legal = batch.questions.legal
        batch.answer(Choice(legal.argmax(1), np.full(len(legal), 0.5, np.float32)))


@node
async def trainer(games: In[Moves], context: Context) -> None:
    """Count moves that arrive."""
    async for game in games:
        context.metrics.count("learned", len(game.actions))


@node
async def learner(steps: In[Steps], weights: Publish[Weights], context: Context) -> None:
    """Publish weights once, and count what arrives."""
    await weights.publish(Weights({"bias": np.array([0.25], np.float32)}), 1)
    async for message in steps:
        context.metrics.count("learned", message.actions.size)
        context.metrics.gauge("certainty", float(message.certainty.mean()))
