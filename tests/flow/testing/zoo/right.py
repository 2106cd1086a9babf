"""Nodes that are right, of every kind: the contract finds nothing in them."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
import trio

from flow import Call, Context, In, Latest, Live, Message, Out, Promises, Publish, Range, Saved, Serve, compute, node
from tests.flow.testing.zoo.speech import Count, Ids, Item, Rows, Sums, Wave

RIGHT: list[Any] = []
M = TypeVar("M", bound=Message)


def right(node_type):
    """Puts a node on the list of those in which nothing is wrong."""
    RIGHT.append(node_type)
    return node_type


@right
@node
async def passes(items: In[Item], out: Out[Item]) -> None:
    async for item in items:
        await out.send(item)


@right
@node
async def passes_anything(items: In[M], out: Out[M]) -> None:
    async for item in items:
        await out.send(item)


@right
@node
async def drops_the_odd(items: In[Item], out: Out[Item]) -> None:
    async for item in items:
        if item.number % 2 == 0:
            await out.send(item)


@right
@node(promises=Promises(cut={"waves": "samples.time", "out": "samples.time"}))
async def halves(waves: In[Wave], out: Out[Wave], *, gain: Live[Annotated[float, Range(0, 1)]] = Live(0.5)) -> None:
    async for wave in waves:
        await out.send(Wave(wave.samples * np.float32(gain.value), wave.rate))


@right
@node
async def counts(items: In[Item], out: Out[Item], saved: Saved) -> None:
    count = saved.keep("count", Count())
    async for item in items:
        await out.send(Item((item.number + count.seen) % 100))
        count.seen += 1


@right
@node(promises=Promises(same=("time",)))
async def windows(waves: In[Wave], out: Out[Wave], saved: Saved, *, size: Annotated[int, Range(1, 9)] = 3) -> None:
    kept = saved.keep("rest", Count())
    async for wave in waves:
        kept.rest = np.concatenate([kept.rest, wave.samples])
        while len(kept.rest) >= size:
            await out.send(Wave(kept.rest[:size].copy(), 1))
            kept.rest = kept.rest[size:]


@right
@node(promises=Promises(seeded=True))
async def draws(items: In[Item], out: Out[Item], context: Context, saved: Saved) -> None:
    rng = saved.keep("rng", np.random.default_rng(context.seed))
    async for _ in items:
        await out.send(Item(int(rng.integers(100))))


@right
@node
async def asks(items: In[Item], model: Call[Ids, Ids], out: Out[Item]) -> None:
    async for item in items:
        answer = await model(Ids(np.array([item.number % 10])))
        await out.send(Item(int(answer.ids[0])))


@right
@node(promises=Promises(holds=3))
async def asks_ahead(items: In[Item], model: Call[Ids, Ids], out: Out[Item]) -> None:
    """Up to two questions under way, answers in the order of the items."""
    begun, waiting = trio.open_memory_channel[tuple[trio.Event, list[Item]]](1)

    async def ask(item: Item, done: trio.Event, result: list[Item]) -> None:
        answer = await model(Ids(np.array([item.number % 10])))
        result.append(Item(int(answer.ids[0])))
        done.set()

    async def say() -> None:
        async for done, result in waiting:
            await done.wait()
            await out.send(result[0])

    async with trio.open_nursery() as nursery:
        nursery.start_soon(say)
        async with begun:
            async for item in items:
                done, result = trio.Event(), []
                nursery.start_soon(ask, item, done, result)
                await begun.send((done, result))


@right
@node
async def sums(asked: Serve[Rows, Sums], *, most: Annotated[int, Range(1, 8)] = 4) -> None:
    async for batch in asked.batches(most=most):
        batch.answer(Sums(await compute(lambda values: values.sum(1), batch.questions.values)))


@right
@node(promises=Promises(batching="exact"))
async def scales(asked: Serve[Rows, Sums], weights: Latest[Item]) -> None:
    try:
        weight = await weights.wait()
    except trio.EndOfChannel:
        return
    async for batch in asked.batches():
        weight = weights.newest or weight
        batch.answer(Sums(batch.questions.values[:, 0] * np.float32(weight.number)))


@right
@node
async def publishes(items: In[Item], best: Publish[Item], saved: Saved) -> None:
    count = saved.keep("count", Count())
    async for item in items:
        count.total = max(count.total, item.number)
        await best.publish(Item(count.total), count.seen)
        count.seen += 1


@right
@node
async def begins(out: Out[Item], saved: Saved, *, last: Annotated[int, Range(0, 20)] = 10) -> None:
    count = saved.keep("count", Count())
    while count.seen < last:
        await out.send(Item(count.seen))
        count.seen += 1


@right
@node
async def ticks(out: Out[Item], saved: Saved, *, every_s: Annotated[float, Range(0.1, 3600)] = 1.0) -> None:
    count = saved.keep("count", Count())
    while count.seen < 90:
        await trio.sleep(every_s)
        await out.send(Item(count.seen))
        count.seen += 1


@right
@node
async def adds_pairs(ones: In[Item], others: In[Item], out: Out[Item]) -> None:
    async for one in ones:
        try:
            other = await others.receive()
        except trio.EndOfChannel:
            break
        await out.send(Item((one.number + other.number) % 100))
    async for _ in ones:
        pass


@right
@node(promises=Promises(order="none"))
async def merges(ones: In[Item], others: In[Item], out: Out[Item]) -> None:
    async def pass_on(items: In[Item]) -> None:
        async for item in items:
            await out.send(item)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pass_on, ones)
        nursery.start_soon(pass_on, others)


@right
@node
async def two_ways(items: In[Item], even: Out[Item], odd: Out[Item]) -> None:
    async for item in items:
        await (odd if item.number % 2 else even).send(item)


@right
@node(promises=Promises(excused={"C13": "what was written of a file that was not finished is written again"}))
async def writes(items: In[Item], out: Out[Item], context: Context) -> None:
    for number in itertools.count():
        try:
            item = await items.receive()
        except trio.EndOfChannel:
            return
        path = Path(context.directory) / f"{number}.json"
        await compute(path.write_text, json.dumps({"number": item.number}))
        await out.send(item)


@right
@node
async def swallows(items: In[Item]) -> None:
    async for _ in items:
        pass


@right
@node
async def chooses(
    waves: In[Wave], out: Out[Wave], *, how: Literal["loud", "quiet"] = "loud", twice: bool = False
) -> None:
    async for wave in waves:
        factor = np.float32(1.0 if how == "loud" else 0.25)
        for _ in range(2 if twice else 1):
            await out.send(Wave(wave.samples * factor, wave.rate))


@right
@node
async def retries(items: In[Item], model: Call[Ids, Ids], out: Out[Item]) -> None:
    async for item in items:
        while True:
            try:
                answer = await model(Ids(np.array([item.number % 10])))
                break
            except Exception:
                await trio.sleep(0.01)
        await out.send(Item(int(answer.ids[0])))


@right
@node(promises=Promises(holds=3))
async def pairs_up(items: In[Item], out: Out[Item], saved: Saved) -> None:
    kept = saved.keep("kept", Count())
    async for item in items:
        if kept.seen % 2:
            await out.send(Item((kept.total + item.number) % 100))
        kept.total = item.number
        kept.seen += 1
