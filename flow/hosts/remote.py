"""A worker of another host, as the supervisor deals with it: a process and a line like any other."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from flow.control import Words
from flow.processes import Process


class RemoteLine:
    """What joins the supervisor to a worker of another host. tell: says something to it, through its host."""

    def __init__(self, tell: Callable[[Words], Awaitable[None]]) -> None:
        self._tell = tell
        self._telling = trio.Lock()
        self._heard: deque[Words] = deque()
        self._over = False
        self._news = trio.lowlevel.ParkingLot()

    async def say(self, **words: object) -> None:
        """Raises `trio.BrokenResourceError` when its host is gone."""
        async with self._telling:  # in order, also where state has to travel first
            await self._tell(words)

    async def hear(self) -> Words | None:
        """What it said next; None when it is gone."""
        await trio.lowlevel.checkpoint()
        while not self._heard:
            if self._over:
                return None
            await self._news.park()
        return self._heard.popleft()

    def put(self, words: Words) -> None:
        """It said this."""
        self._heard.append(words)
        self._news.unpark_all()

    def close(self) -> None:
        """It is gone."""
        self._over = True
        self._news.unpark_all()


@dataclass
class RemoteProcess(Process):
    """One incarnation of a worker on another host.

    send_signal: through its host. gone: how it went with its host. reached: ends what listens for inspectors of it.
    """

    send_signal: Callable[[int], None] = field(default=lambda number: None)
    gone: str = ""
    reached: trio.CancelScope = field(default_factory=trio.CancelScope)

    def how_it_ended(self) -> str:
        return self.gone or super().how_it_ended()

    def kill(self, number: int = signal.SIGKILL) -> None:
        self.send_signal(number)
