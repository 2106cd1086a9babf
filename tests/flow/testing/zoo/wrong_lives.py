"""Nodes that are wrong on purpose: in how they stop, fail, remember, and live beside others."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import trio

from flow import Call, Context, In, Live, Out, Range, Saved, compute, node
from tests.flow.testing.zoo.speech import Count, Ids, Item, Wave

WRONG: list[tuple[str, Any]] = []


def breaks(rule: str):
    """Puts a node on the list of those that break a rule."""

    def put(node_type):
        WRONG.append((rule, node_type))
        return node_type

    return put


@breaks("C10")
@node
async def finishes_what_it_began(items: In[Item], out: Out[Item]) -> None:
    async for item in items:
        with trio.CancelScope(shield=True):
            await trio.sleep(30)
            await out.send(item)


@breaks("C10")
@node
async def catches_everything(items: In[Item], out: Out[Item]) -> None:
    while True:
        try:
            await out.send(await items.receive())
        except trio.EndOfChannel:
            return
        except BaseException:
            pass


@breaks("C10")
@node
async def fails_when_it_is_stopped(items: In[Item], out: Out[Item]) -> None:
    try:
        async for item in items:
            await out.send(item)
    except trio.Cancelled:
        raise RuntimeError("stopped in the middle") from None


@breaks("C11")
@node
async def queues_within_itself(items: In[Item], out: Out[Item]) -> None:
    send, receive = trio.open_memory_channel[Item](3)

    async def say() -> None:
        async for item in receive:
            await out.send(item)

    async with trio.open_nursery() as nursery, send:
        nursery.start_soon(say)
        async for item in items:
            await send.send(item)


@breaks("C11")
@node
async def leaves_a_lock(items: In[Item], out: Out[Item], context: Context) -> None:
    lock = Path(context.directory) / "lock"
    lock.touch(exist_ok=False)
    async for item in items:
        await out.send(item)
    lock.unlink()


@breaks("C11")
@node
async def says_goodbye(items: In[Item], out: Out[Item]) -> None:
    try:
        async for item in items:
            await out.send(item)
    except trio.Cancelled:
        with trio.CancelScope(shield=True):
            await out.send(Item(99))
        raise


@breaks("C12")
@node
async def goes_on_without(items: In[Item], model: Call[Ids, Ids], out: Out[Item]) -> None:
    async for item in items:
        try:
            answer = await model(Ids(np.array([item.number % 10])))
        except Exception:
            continue
        await out.send(Item(int(answer.ids[0])))


@breaks("C12")
@node
async def leaves_out_what_it_cannot_write(items: In[Item], out: Out[Item], context: Context) -> None:
    async for item in items:
        try:
            (context.directory / f"{item.number}").write_text("seen")
        except OSError:
            continue
        await out.send(item)


@breaks("C12")
@node
async def forgets_why(items: In[Item], out: Out[Item]) -> None:
    failed = False
    async for item in items:
        try:
            number = await compute(lambda n: n // 2, item.number)
        except Exception:
            failed = True
        if failed:
            raise RuntimeError("could not compute")
        await out.send(Item(number))


@breaks("C12")
@node
async def waits_for_one_that_died(items: In[Item], out: Out[Item]) -> None:
    done = trio.Event()

    async def say() -> None:
        try:
            async for item in items:
                await out.send(item)
            done.set()
        except Exception:
            return

    async with trio.open_nursery() as nursery:
        nursery.start_soon(say)
        await done.wait()


@breaks("C13")
@node
async def remembers_in_vain(items: In[Item], out: Out[Item]) -> None:
    total = 0
    async for item in items:
        total += item.number
        await out.send(Item(total % 100))


@breaks("C13")
@node
async def keeps_but_half(items: In[Item], out: Out[Item], saved: Saved) -> None:
    count = saved.keep("count", Count())
    last = 0
    async for item in items:
        count.seen += 1
        await out.send(Item((last + count.seen) % 100))
        last = item.number


@breaks("C13")
@node
async def counts_before_it_sends(out: Out[Item], saved: Saved) -> None:
    count = saved.keep("count", Count())
    while count.seen < 50:
        count.seen += 1
        await out.send(Item(count.seen))


class Cards:
    """State whose bytes are not what it is."""

    def __init__(self) -> None:
        self.hand: list[int] = []

    def state_dict(self) -> dict[str, Any]:
        return {"hand": sorted(self.hand)[:1]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.hand = [*state["hand"], 7]


@breaks("C14")
@node
async def loads_something_else(items: In[Item], out: Out[Item], saved: Saved) -> None:
    cards = saved.keep("cards", Cards())
    async for item in items:
        cards.hand.append(item.number)
        await out.send(item)


class Secret:
    """State that no checkpoint holds."""

    def __init__(self) -> None:
        self.seen: set[int] = set()

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.seen = state["seen"]


@breaks("C14")
@node
async def keeps_a_set(items: In[Item], out: Out[Item], saved: Saved) -> None:
    secret = saved.keep("secret", Secret())
    async for item in items:
        secret.seen.add(item.number)
        await out.send(item)


@breaks("C18")
@node
async def looks_at_the_wall(items: In[Item], out: Out[Item]) -> None:
    began = time.monotonic()
    async for item in items:
        late = time.monotonic() - began > 600
        await out.send(Item(0) if late else item)


@breaks("C18")
@node
async def sleeps_on_the_job(items: In[Item], out: Out[Item]) -> None:
    async for item in items:
        time.sleep(0.001)  # noqa: ASYNC251
        await out.send(item)


@breaks("C19")
@node
async def thinks_in_the_loop(items: In[Item], out: Out[Item]) -> None:
    async for item in items:
        until = time.thread_time() + 0.08
        while time.thread_time() < until:
            pass
        await out.send(item)


@breaks("C19")
@node
async def asks_again_and_again(items: In[Item], out: Out[Item]) -> None:
    while True:
        item = items.receive_nowait()
        if item is None:
            await trio.lowlevel.checkpoint()
        else:
            await out.send(item)


_leaked: list[Any] = []


@breaks("C20")
@node
async def leaves_files_open(items: In[Item], out: Out[Item]) -> None:
    _leaked.append(os.open("/dev/null", os.O_RDONLY))
    async for item in items:
        await out.send(item)


@breaks("C20")
@node
async def leaves_threads(items: In[Item], out: Out[Item]) -> None:
    forever = threading.Event()
    threading.Thread(target=forever.wait, args=(3.0,), daemon=True).start()
    async for item in items:
        await out.send(item)


@breaks("C21")
@node
async def reads_its_setting_once(
    items: In[Item], out: Out[Item], *, step: Live[Annotated[int, Range(0, 9)]] = Live(1)
) -> None:
    step_now = step.value
    async for item in items:
        await out.send(Item((item.number + step_now) % 100))


@breaks("C21")
@node
async def reads_its_setting_too_early(
    waves: In[Wave], out: Out[Wave], *, gain: Live[Annotated[float, Range(0, 1)]] = Live(1.0)
) -> None:
    while True:
        factor = np.float32(gain.value)
        try:
            wave = await waves.receive()
        except trio.EndOfChannel:
            return
        await out.send(Wave(wave.samples * factor, wave.rate))
