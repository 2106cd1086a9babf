"""Nodes that keep what they took and sent, by edge: what is lost, doubled or reordered is seen in their state.

A message says who sent it and as which: `via`, and `seq` of that sender. What a node keeps is by `via` the row of
`seq` that it took. Nothing else is done for checkpoints: no node keeps what it has in hand.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import trio

from flow import Context, In, Message, Out, Saved, compute, node


class Item(Message):
    """One of a row of its sender."""

    via: str
    seq: int
    trips: int


@dataclass
class Books:
    """What a node took, by sender and In port, and how much it sent by Out port."""

    taken: dict[str, list[int]] = field(default_factory=dict)
    sent: dict[str, int] = field(default_factory=dict)
    turn: int = 0
    inside: int = 0

    def took(self, port: str, item: Item) -> None:
        self.taken.setdefault(f"{item.via}->{port}", []).append(item.seq)

    def next(self, context: Context, port: str, trips: int = 0) -> Item:
        return Item(f"{context.name}.{port}", self.sent.get(port, 0), trips)

    def counted(self, port: str) -> None:
        self.sent[port] = self.sent.get(port, 0) + 1


async def send(port: Out[Item], name: str, books: Books, context: Context, trips: int = 0) -> None:
    await port.send(books.next(context, name, trips))
    books.counted(name)


async def dawdle(number: int, pace_s: float) -> None:
    """Now and then wait, and now and then compute."""
    if number % 3 == 1:
        await trio.sleep(pace_s * (number % 5))
    elif number % 3 == 2:
        await compute(lambda: None)


@node
async def numbers(out: Out[Item], context: Context, saved: Saved, *, count: int = 12, pace_s: float = 0.02) -> None:
    """Send so many."""
    books = saved.keep("books", Books())
    while books.sent.get("out", 0) < count:
        await dawdle(books.sent.get("out", 0), pace_s)
        await send(out, "out", books, context)


@node
async def hop(items: In[Item], out: Out[Item], context: Context, saved: Saved, *, pace_s: float = 0.02) -> None:
    """Send one for each that comes."""
    books = saved.keep("books", Books())
    async for item in items:
        books.took("items", item)
        await dawdle(item.seq, pace_s)
        await send(out, "out", books, context, item.trips)


@node
async def collect(items: In[Item], context: Context, saved: Saved, *, pace_s: float = 0.02) -> None:
    """Take what comes."""
    books = saved.keep("books", Books())
    async for item in items:
        await dawdle(item.seq, pace_s)
        books.took("items", item)


@node
async def alternate(left: In[Item], right: In[Item], out: Out[Item], context: Context, saved: Saved) -> None:
    """Take from one and the other in turn, and what is left of the longer."""
    books = saved.keep("books", Books())
    sides: list[Any] = [("left", left), ("right", right)]
    over = 0
    while over < 2:
        name, port = sides[books.turn % 2]
        try:
            item = await port.receive()
        except trio.EndOfChannel:
            over += 1
            books.turn += 1
            continue
        over = 0
        books.took(name, item)
        books.turn += 1
        await send(out, "out", books, context)


@node
async def both(left: In[Item], right: In[Item], out: Out[Item], context: Context, saved: Saved) -> None:
    """Take from two streams in two tasks, as they come."""
    books = saved.keep("books", Books())
    lock = trio.Lock()  # a message is counted where it is sent

    async def pump(name: str, port: In[Item]) -> None:
        async for item in port:
            books.took(name, item)
            await dawdle(item.seq, 0.02)
            async with lock:
                await send(out, "out", books, context)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(pump, "left", left)
        nursery.start_soon(pump, "right", right)


@node
async def carousel(
    items: In[Item],
    back: In[Item],
    forth: Out[Item],
    done: Out[Item],
    context: Context,
    saved: Saved,
    *,
    rounds: int = 3,
    most: int = 3,
) -> None:
    """Send each item round a few times before it is done; no more than `most` go round at once."""
    books = saved.keep("books", Books())
    more = True
    while more or books.inside:
        if more and books.inside < most:
            try:
                item = await items.receive()
            except trio.EndOfChannel:
                more = False
                continue
            books.took("items", item)
            books.inside += 1
            await send(forth, "forth", books, context, 1)
        else:
            item = await back.receive()
            books.took("back", item)
            if item.trips < rounds:
                await send(forth, "forth", books, context, item.trips + 1)
            else:
                books.inside -= 1
                await send(done, "done", books, context)
