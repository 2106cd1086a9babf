"""Nodes that are wrong on purpose, for the simulator to find."""

from __future__ import annotations

import os
import random
import time

import numpy as np
import trio

from flow import In, Message, Out, node

COUNT = 21  # odd, so that the last message's credit is held back


class Number(Message):
    """A number that no other message of the run has."""

    number: int


@node
async def numbers(out: Out[Number], *, count: int = COUNT) -> None:
    """Send 0 to count - 1."""
    for number in range(count):
        await out.send(Number(number))


@node
async def sink(into: In[Number]) -> None:
    """Take everything."""
    async for _ in into:
        pass


@node
async def passes(into: In[Number], out: Out[Number]) -> None:
    """A right one."""
    async for number in into:
        await out.send(number)


@node
async def loses_when_cancelled(into: In[Number], out: Out[Number]) -> None:
    """Gives up on a slow receiver, and with it on what it holds in hand."""
    while True:
        with trio.move_on_after(0.01):
            try:
                number = await into.receive()
            except trio.EndOfChannel:
                return
            await out.send(number)


@node
async def rolls_dice_of_all(into: In[Number], out: Out[Number]) -> None:
    """Draws from the generator of the process."""
    async for number in into:
        await out.send(Number(number.number + random.randrange(1_000_000)))


@node
async def rolls_dice_of_numpy(into: In[Number], out: Out[Number]) -> None:
    """Draws from numpy's generator of the process."""
    async for number in into:
        await out.send(Number(number.number + int(np.random.randint(1_000_000))))


@node
async def looks_at_the_clock(into: In[Number], out: Out[Number]) -> None:
    """Depends on when it runs."""
    async for number in into:
        await out.send(Number(number.number + time.time_ns()))


@node
async def never_ends(into: In[Number], out: Out[Number]) -> None:
    """Waits for more when there is no more."""
    async for number in into:
        await out.send(number)
    await trio.sleep_forever()


@node
async def spins_for_ever(into: In[Number], out: Out[Number]) -> None:
    """Looks now and then whether there is more, and does not see that there is none."""
    while True:
        number = into.receive_nowait()
        if number is not None:
            await out.send(number)
        await trio.sleep(0.1)


@node
async def fails_on_a_number(into: In[Number], out: Out[Number]) -> None:
    """Cannot take 7."""
    async for number in into:
        if number.number == 7:
            raise ValueError("seven")
        await out.send(number)


@node
async def leaves_a_file_open(into: In[Number], out: Out[Number]) -> None:
    """Opens what it never closes."""
    left_open.append(os.open(os.devnull, os.O_RDONLY))
    async for number in into:
        await out.send(number)


left_open: list[int] = []


def all_arrived(simulation) -> str:
    """The check that belongs to this graph: the sink takes each number once, in order."""
    came = [message.number for message in simulation.taken("sink", "into")]
    expected = list(range(COUNT))
    return "" if came == expected else f"the sink took {came}, expected 0 to {COUNT - 1}"
