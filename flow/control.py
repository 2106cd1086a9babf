"""What supervisor, fork server and workers say to each other: length-prefixed msgpack over a Unix socket.

Both ends are processes of one run that got the socket by inheritance, so nobody else can speak here.
"""

from __future__ import annotations

import array
import socket
import struct
from typing import Any, Protocol

import msgpack
import trio

_LENGTH = struct.Struct("<I")
Words = dict[str, Any]


def pack(words: Words) -> bytes:
    body: bytes = msgpack.packb(words)
    return _LENGTH.pack(len(body)) + body


class Speaking(Protocol):
    """One end of what joins a worker to its supervisor."""

    async def say(self, **words: Any) -> None:
        """Raises `trio.BrokenResourceError` when the other end is gone."""

    async def hear(self) -> Words | None:
        """What was said next; None when the other end is gone."""

    def close(self) -> None: ...


class Line:
    """One end, for a trio loop. Several tasks may say things; one hears."""

    def __init__(self, end: socket.socket) -> None:
        self._stream = trio.SocketStream(trio.socket.from_stdlib_socket(end))
        self._saying = trio.Lock()

    async def say(self, **words: Any) -> None:
        """Raises `trio.BrokenResourceError` when the other end is gone."""
        async with self._saying:
            await self._stream.send_all(pack(words))

    async def say_with_descriptor(self, descriptor: int, **words: Any) -> None:
        """Say something and hand over an open descriptor with it."""
        message = pack(words)
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))]
        async with self._saying:
            sent = await self._stream.socket.sendmsg([message], rights)
            await self._stream.send_all(message[sent:])

    async def hear(self) -> Words | None:
        """What was said next; None when the other end is gone."""
        try:
            raw = await self._exactly(_LENGTH.size)
            body = await self._exactly(_LENGTH.unpack(raw)[0]) if raw is not None else None
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return None
        if body is None:
            return None
        words: Words = msgpack.unpackb(body, strict_map_key=False)
        return words

    async def _exactly(self, size: int) -> bytes | None:
        parts = bytearray()
        while len(parts) < size:
            part = await self._stream.receive_some(size - len(parts))
            if not part:
                return None
            parts += part
        return bytes(parts)

    def close(self) -> None:
        self._stream.socket.close()


def say_blocking(end: socket.socket, **words: Any) -> None:
    """For the fork server, which has no loop."""
    end.sendall(pack(words))


def hear_blocking(end: socket.socket) -> tuple[Words | None, list[int]]:
    """What was said next and the descriptors that came with it; None when the other end is gone."""
    descriptors: list[int] = []
    raw = _exactly_blocking(end, _LENGTH.size, descriptors)
    if raw is None:
        return None, descriptors
    body = _exactly_blocking(end, _LENGTH.unpack(raw)[0], descriptors)
    return (None if body is None else msgpack.unpackb(body, strict_map_key=False)), descriptors


def _exactly_blocking(end: socket.socket, size: int, descriptors: list[int]) -> bytes | None:
    parts = bytearray()
    while len(parts) < size:
        try:
            part, came, _, _ = socket.recv_fds(end, size - len(parts), 4)
        except ConnectionResetError:  # gone, without having read all that was said to it
            return None
        descriptors += came
        if not part:
            return None
        parts += part
    return bytes(parts)
