"""Server-sent events: what a page is told as it happens.

An event is made when the one before it has left. A page that stops reading is told nothing more, and keeps nothing
waiting here: what it missed is never made.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import trio
from starlette.responses import Response

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

STREAMS_MAX = 24
"""Open at once, over all pages."""
Emit = Callable[[str, str], Awaitable[None]]
"""Sends an event: its name, and its JSON, which is one line."""


class EventStream(Response):
    """Runs `produce` with a function that sends an event, until the page goes or it returns."""

    def __init__(self, produce: Callable[[Emit], Awaitable[None]], limit: trio.CapacityLimiter) -> None:
        super().__init__(media_type="text/event-stream")
        self._produce = produce
        self._limit = limit
        del self.headers["content-length"]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            self._limit.acquire_on_behalf_of_nowait(self)
        except trio.WouldBlock:
            await Response("Too many streams are open; close other windows of this page\n", 503)(scope, receive, send)
            return
        try:
            await self._stream(receive, send)
        finally:
            self._limit.release_on_behalf_of(self)

    async def _stream(self, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})

        async def emit(name: str, text: str) -> None:
            body = f"event: {name}\ndata: {text}\n\n".encode()
            await send({"type": "http.response.body", "body": body, "more_body": True})

        async with trio.open_nursery() as nursery:

            async def watch() -> None:
                while (await receive())["type"] != "http.disconnect":
                    pass
                nursery.cancel_scope.cancel()

            nursery.start_soon(watch)
            await self._produce(emit)
            await send({"type": "http.response.body", "body": b""})
            nursery.cancel_scope.cancel()
