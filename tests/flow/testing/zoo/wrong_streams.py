"""Nodes that are wrong on purpose: in what they take, say and send."""

from __future__ import annotations

import contextlib
import os
import random
from typing import Any

import numpy as np
import trio

from flow import Call, Context, In, Latest, Out, Promises, Publish, Serve, node
from flow.errors import MessageError
from tests.flow.testing.zoo.speech import Big, Ids, Item, Rows, Sums, Wave

WRONG: list[tuple[str, Any]] = []


def breaks(rule: str):
    """Puts a node on the list of those that break a rule."""

    def put(node_type):
        WRONG.append((rule, node_type))
        return node_type

    return put


@breaks("C01")
@node
async def doubles_the_precision(waves: In[Wave], out: Out[Wave]) -> None:
    async for wave in waves:
        await out.send(Wave(wave.samples.astype(np.float64), wave.rate))


@breaks("C01")
@node
async def divides_by_nothing(waves: In[Wave], out: Out[Item]) -> None:
    async for wave in waves:
        await out.send(Item(wave.rate // len(wave.samples)))


@breaks("C01")
@node
async def forgets_to_await(items: In[Item], out: Out[Item]) -> None:
    async for item in items:
        out.send(item)


@breaks("C01")
@node
async def leaves_the_range(items: In[Item], out: Out[Item]) -> None:
    async for item in items:
        await out.send(Item(item.number * 2))


@breaks("C01")
@node
async def answers_too_few(asked: Serve[Rows, Sums]) -> None:
    async for batch in asked.batches(most=4):
        batch.answer(Sums(batch.questions.values.sum(1)[:1]))


@breaks("C02")
@node
async def says_sorry_for_all(items: In[Item], out: Out[Item]) -> None:
    while True:
        try:
            async for item in items:
                await out.send(item)
            return
        except MessageError:
            await out.send(Item(0))


@breaks("C02")
@node
async def hides_what_was_wrong(waves: In[Wave], out: Out[Item]) -> None:
    try:
        async for wave in waves:
            await out.send(Item(wave.rate))
    except MessageError:
        raise ValueError("something went wrong") from None


@breaks("C03")
@node
async def rolls_the_dice_of_all(items: In[Item], out: Out[Item]) -> None:
    async for item in items:
        await out.send(Item((item.number + random.randrange(50)) % 100))


@breaks("C03")
@node
async def rolls_new_dice(items: In[Item], out: Out[Item], context: Context) -> None:
    rng = np.random.default_rng()
    async for _ in items:
        await out.send(Item(int(rng.integers(100))))


@breaks("C03")
@node
async def lets_two_race(out: Out[Item]) -> None:
    async def say(first: int) -> None:
        for number in range(first, first + 3):
            await out.send(Item(number))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(say, 0)
        nursery.start_soon(say, 10)


@breaks("C04")
@node(promises=Promises(seeded=True))
async def forgets_its_seed(items: In[Item], out: Out[Item], context: Context) -> None:
    rng = np.random.default_rng(0)
    async for item in items:
        await out.send(Item((item.number + int(rng.integers(50))) % 100))


@breaks("C04")
@node
async def says_nothing_of_its_seed(items: In[Item], out: Out[Item], context: Context) -> None:
    rng = np.random.default_rng(context.seed)
    async for _ in items:
        await out.send(Item(int(rng.integers(100))))


@breaks("C05")
@node
async def clips_in_place(waves: In[Wave], out: Out[Wave]) -> None:
    async for wave in waves:
        wave.samples.clip(-0.5, 0.5, out=wave.samples)
        await out.send(wave)


@breaks("C05")
@node
async def opens_what_was_closed(waves: In[Wave], out: Out[Item]) -> None:
    async for wave in waves:
        with contextlib.suppress(ValueError):
            wave.samples.setflags(write=True)
            wave.samples[:] = 0
        await out.send(Item(wave.rate))


@breaks("C06")
@node
async def sends_its_buffer(waves: In[Wave], out: Out[Wave]) -> None:
    buffer = np.zeros(64, np.float32)
    async for wave in waves:
        buffer[: len(wave.samples)] = wave.samples
        await out.send(Wave(buffer[: len(wave.samples)], wave.rate))


@breaks("C06")
@node
async def asks_with_its_buffer(items: In[Item], model: Call[Ids, Ids], out: Out[Item]) -> None:
    buffer = np.zeros(2, np.int64)
    async for item in items:
        buffer[0] = item.number % 10
        answer = await model(Ids(buffer[:1]))
        await out.send(Item(int(answer.ids[0])))


@breaks("C07")
@node(promises=Promises(cut={"waves": "samples.time"}))
async def forgets_the_rest(waves: In[Wave], out: Out[Wave]) -> None:
    async for wave in waves:
        for start in range(0, len(wave.samples) - 1, 2):
            await out.send(Wave(wave.samples[start : start + 2], wave.rate))


@breaks("C07")
@node(promises=Promises(cut={"waves": "samples.time", "out": "samples.time"}))
async def smooths_up_to_the_edge(waves: In[Wave], out: Out[Wave]) -> None:
    async for wave in waves:
        before = np.concatenate([np.zeros(1, np.float32), wave.samples[:-1]]) if len(wave.samples) else wave.samples
        await out.send(Wave((wave.samples + before) / 2, wave.rate))


@breaks("C08")
@node
async def first_answered_first_sent(items: In[Item], model: Call[Ids, Ids], out: Out[Item]) -> None:
    async def ask(item: Item) -> None:
        await model(Ids(np.array([item.number % 10])))
        await out.send(item)

    async with trio.open_nursery() as nursery:
        async for item in items:
            nursery.start_soon(ask, item)


@breaks("C08")
@node
async def sorts_what_waits(items: In[Item], out: Out[Item]) -> None:
    async for item in items:
        pile = [item]
        await trio.sleep(0.1)
        while (more := items.receive_nowait()) is not None:
            pile.append(more)
        for each in sorted(pile, key=lambda item: -item.number):
            await out.send(each)


@breaks("C09")
@node
async def takes_all_there_is(items: In[Item], out: Out[Item]) -> None:
    pile: list[Item] = []
    more = trio.Event()

    async def say() -> None:
        nonlocal more
        while True:
            while pile:
                await out.send(pile.pop(0))
            await more.wait()
            more = trio.Event()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(say)
        async for item in items:
            pile.append(item)
            more.set()
        while pile:  # noqa: ASYNC110
            await trio.sleep(1)
        nursery.cancel_scope.cancel()


@breaks("C09")
@node
async def tries_and_tries(items: In[Item], out: Out[Item]) -> None:
    async for item in items:
        sent = False
        while not sent:
            with trio.move_on_after(0.001):
                await out.send(item)
                sent = True


@breaks("C15")
@node
async def says_a_number_of_many_digits(items: In[Item], out: Out[Big]) -> None:
    async for item in items:
        await out.send(Big((item.number + 1) << 70, ""))


@breaks("C15")
@node
async def says_half_a_letter(items: In[Item], out: Out[Big]) -> None:
    async for item in items:
        await out.send(Big(item.number, "\ud800"))


@breaks("C17")
@node
async def waits_for_more(items: In[Item], out: Out[Item]) -> None:
    async for item in items:
        await out.send(item)
    await trio.sleep_forever()


@breaks("C17")
@node
async def repeats_its_last_word(items: In[Item], out: Out[Item]) -> None:
    last = None
    async for item in items:
        last = item
        await out.send(item)
    while last is not None:
        await out.send(last)
        await trio.sleep(1)


@breaks("C17")
@node
async def needs_weights_to_end(asked: Serve[Rows, Sums], weights: Latest[Item]) -> None:
    weight = await weights.wait()
    async for batch in asked.batches(most=4):
        batch.answer(Sums(batch.questions.values.sum(1) * np.float32(weight.number)))


@breaks("C16")
@node
async def centres_the_batch(asked: Serve[Rows, Sums]) -> None:
    async for batch in asked.batches(most=8):
        values = batch.questions.values
        batch.answer(Sums((values - values[: batch.rows].mean(0)).sum(1)))


@breaks("C16")
@node
async def answers_in_another_order(asked: Serve[Rows, Sums]) -> None:
    async for batch in asked.batches(most=8, buckets=()):
        batch.answer(Sums(batch.questions.values[::-1].sum(1)))


@breaks("C16")
@node(promises=Promises(batching="exact"))
async def counts_the_batch(asked: Serve[Rows, Sums]) -> None:
    async for batch in asked.batches(most=8):
        batch.answer(Sums(batch.questions.values.sum(1) + np.float32(len(batch.questions.values) * 1e-3)))


@breaks("C03")
@node
async def reads_the_systems_noise(items: In[Item], best: Publish[Item]) -> None:
    version = 0
    async for _ in items:
        await best.publish(Item(os.urandom(1)[0] % 100), version)
        version += 1
