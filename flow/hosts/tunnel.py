"""An inspector's connection to a worker of another host, carried between home and that host.

    flow tap ── NAME.control of home's ══ home ══ CURVE ══ host ══ NAME.control there ── worker

Bytes are passed on as they are. An end that does not read is cut off before much is held for it, so that it costs the
run nothing but its share of the connection.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

PIECE = 64 << 10
HELD_BYTES_MAX = 32 << 20
"""Of one connection; a reply may have 16 MiB."""
Say = Callable[[str, int, bytes], Awaitable[None]]


@dataclass(eq=False)
class _Stream:
    """What is held for one connection."""

    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    held: deque[bytes] = field(default_factory=deque)
    size: int = 0
    ended: bool = False
    news: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)


class Tunnel:
    """One end, of all connections. say: tells the other end "bytes" of a connection, or that it is "closed"."""

    def __init__(self, say: Say) -> None:
        self._say = say
        self._streams: dict[int, _Stream] = {}

    async def carry(self, number: int, end: trio.SocketStream) -> None:
        """Pass on what comes, both ways, until one of them ends."""
        stream = self._streams.setdefault(number, _Stream())
        try:
            with stream.scope:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self._give, stream, end)
                    while part := await end.receive_some(PIECE):
                        await self._say("bytes", number, bytes(part))
                    nursery.cancel_scope.cancel()
        except* (trio.BrokenResourceError, trio.ClosedResourceError):
            pass  # it went without a word, as a tap that was killed does, or its host is gone
        finally:
            del self._streams[number]
            end.socket.close()
        try:
            await self._say("closed", number, b"")
        except trio.BrokenResourceError:
            return  # the host is gone, and all its connections

    async def _give(self, stream: _Stream, end: trio.SocketStream) -> None:
        while True:
            while stream.held:
                piece = stream.held.popleft()
                await end.send_all(piece)
                stream.size -= len(piece)
            if stream.ended:
                stream.scope.cancel()
            await stream.news.park()

    def expect(self, number: int) -> None:
        """Hold what comes of a connection until it is there."""
        self._streams[number] = _Stream()

    def forget(self, number: int) -> None:
        """The connection could not be made."""
        del self._streams[number]

    def take(self, what: str, number: int, data: bytes) -> None:
        """What the other end said of a connection; one that is over is over."""
        stream = self._streams.get(number)
        if stream is None:
            return
        if what == "closed":
            stream.ended = True  # when all is given that came before
        else:
            stream.held.append(data)
            stream.size += len(data)
            if stream.size > HELD_BYTES_MAX:
                stream.scope.cancel()
        stream.news.unpark_all()
