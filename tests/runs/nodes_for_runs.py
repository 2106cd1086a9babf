"""Small nodes that real runs are made of: a source, steps in between, a batched server, a sink, and trouble."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
import trio
from jaxtyping import Int64

from flow import Array, Call, Context, In, Message, Out, Saved, Serve, node
from flow.errors import MissingError, SettingError

M = TypeVar("M", bound=Message)
RECEIVED = "received"


class Number(Message):
    """A number in a row of 1."""

    values: Int64[Array, "rows"]


class Question(Message, repeatable=True):
    """What is twice this?"""

    values: Int64[Array, "rows"]


class Answer(Message):
    """Twice that."""

    values: Int64[Array, "rows"]


@dataclass
class Progress:
    """How far a node has come."""

    done: int = 0


@node
async def source(
    numbers: Out[Number], context: Context, saved: Saved, *, count: int = 0, pause_ms: float = 0.0, rows: int = 1
) -> None:
    """Send 0, 1, 2, … up to `count`, or for ever; each `rows` times in its message."""
    progress = saved.keep("progress", Progress())
    while not count or progress.done < count:
        await numbers.send(Number(np.full(rows, progress.done)))
        progress.done += 1
        context.metrics.count("made")
        if pause_ms:
            await trio.sleep(pause_ms / 1000)


@node
async def doubler(numbers: In[Number], doubled: Out[Number], *, pause_ms: float = 0.0) -> None:
    """Send twice what comes."""
    async for number in numbers:
        if pause_ms:
            await trio.sleep(pause_ms / 1000)
        await doubled.send(Number(number.values * 2))


@node
async def relay(items: In[M], passed: Out[M]) -> None:
    """Pass on whatever comes."""
    async for item in items:
        await passed.send(item)


@node
async def asker(numbers: In[Number], twice: Call[Question, Answer], doubled: Out[Number]) -> None:
    """Let a server double what comes."""
    async for number in numbers:
        answer = await twice(Question(number.values))
        await doubled.send(Number(answer.values))


@node
async def server(requests: Serve[Question, Answer]) -> None:
    """Double in batches."""
    async for batch in requests.batches(most=8):
        batch.answer(Answer(batch.questions.values * 2))


@node
async def sink(numbers: In[Number], context: Context, saved: Saved, *, pause_ms: float = 0.0) -> None:
    """Write down what comes, a line each; what is written is there after a SIGKILL."""
    progress = saved.keep("progress", Progress())
    context.log(f"begins after {progress.done}")
    file = os.open(context.directory / RECEIVED, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        async for number in numbers:
            assert (number.values == number.values[0]).all(), "a torn message"
            os.write(file, b"%d\n" % number.values[0])
            progress.done += 1
            context.metrics.count("arrived")
            if pause_ms:
                await trio.sleep(pause_ms / 1000)
    finally:
        os.close(file)


@node
async def trouble(
    numbers: In[Number],
    passed: Out[Number],
    context: Context,
    *,
    fault: Literal["none", "raise", "hang", "kill", "dtype", "setting", "missing", "stay", "grow"] = "none",
    at: int = 5,
    starts: int = 1_000_000,
) -> None:
    """Pass on what comes, and fail at every number divisible by `at`, in its first `starts` starts."""
    if context.incarnation < starts and fault == "setting":
        raise SettingError(f"fault='{fault}' cannot be worked with; use fault='none'")
    if context.incarnation < starts and fault == "missing":
        raise MissingError("/nowhere/pong.bin is not there; run: pip install roms")
    async for number in numbers:
        if context.incarnation < starts and number.values[0] % at == at - 1:
            await _fail(fault, passed, number)
        await passed.send(number)


async def _fail(fault: str, passed: Out[Number], number: Number) -> None:
    match fault:
        case "raise":
            raise ValueError(f"number {number.values[0]} is too much")
        case "hang":
            time.sleep(1000)  # noqa: ASYNC251
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "dtype":
            await passed.send(Number(number.values.astype(np.float32)))
        case "stay":
            await trio.sleep_forever()
        case "grow":
            hoard = []
            while True:
                hoard.append(np.ones(2 << 20))  # 16 MiB that are touched
                await trio.sleep(0.02)


@node
async def hoarder(numbers: In[Number], context: Context, saved: Saved, *, megabytes: int = 1) -> None:
    """Fill the disk through a store, `megabytes` a number."""
    import lmdb

    from flow.errors import DiskFullError

    progress = saved.keep("progress", Progress())
    rng = np.random.default_rng(0)
    environment = lmdb.open(str(context.directory / "store"), map_size=1 << 30)
    try:
        async for _ in numbers:
            progress.done += 1
            try:
                with environment.begin(write=True) as transaction:
                    transaction.put(b"%d" % progress.done, rng.bytes(megabytes << 20))
            except lmdb.Error as error:
                raise DiskFullError(f"{context.directory}: no space is left ({error})") from error
    finally:
        environment.close()


@node
async def taster(numbers: In[Number], *, most: int = 10) -> None:
    """Take a few, and end."""
    for _ in range(most):
        await numbers.receive()
