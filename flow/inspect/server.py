"""The control socket of one process of a run. With nobody there its task sleeps in `accept`.

Nothing in the run waits for a client: replies and samples go into the client's outbox, which is bounded, and one
task a client sends from it. A client that does not read has its samples dropped and counted, and is cut off when
even replies no longer fit.
"""

from __future__ import annotations

import contextlib
import os
import socket
import struct
import traceback
from collections import deque
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from flow.errors import ControlError, FlowError
from flow.inspect.protocol import REQUEST_MAX, VERSION, Unpacker, Words, pack

CLIENTS_MAX = 16
REQUESTS_MAX = 32
"""Under way at once from one client; one that asks for more is cut off."""
OUTBOX_BYTES = 8 << 20
"""Of samples that wait for a client."""
REPLIES_BYTES = 16 << 20
"""Of all that waits for one; beyond it the client is cut off."""
CHUNK = 64 * 1024
_CREDENTIALS = struct.Struct("iII")


@dataclass
class Client:
    """Someone who is connected. closing: what is undone when the client goes, by what names it."""

    outbox: deque[bytes] = field(default_factory=deque)
    size: int = 0
    closing: dict[object, Callable[[], None]] = field(default_factory=dict)
    overrun: bool = False
    _filled: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    def has_room(self, size: int) -> bool:
        """Whether a sample of so many bytes would be taken; when nothing waits, one of any size is."""
        return not self.outbox or self.size + size <= OUTBOX_BYTES

    def offer(self, frame: bytes) -> bool:
        """Take a sample's frame, or refuse it because the client is behind."""
        if not self.has_room(len(frame)):
            return False
        self._put(frame)
        return True

    def reply(self, words: Words) -> None:
        """Answer a request."""
        if self.size > REPLIES_BYTES:
            self.overrun = True
        self._put(pack(words))

    def _put(self, frame: bytes) -> None:
        self.outbox.append(frame)
        self.size += len(frame)
        self._filled.unpark_all()

    async def send_to(self, stream: trio.SocketStream) -> None:
        """Send what is put here, in small pieces so that the loop never copies much at once."""
        while not self.overrun:
            while not self.outbox:
                await self._filled.park()
            frame = memoryview(self.outbox[0])
            for start in range(0, len(frame), CHUNK):
                await stream.send_all(frame[start : start + CHUNK])
            self.outbox.popleft()
            self.size -= len(frame)


Handler = Callable[[Client, Words], Awaitable[Words]]


@dataclass
class ControlServer:
    """Serves requests.

    hello: what it says of itself first. handlers: what it can do, by name. warn: writes to the run's log.
    """

    path: Path
    hello: Words
    handlers: Mapping[str, Handler]
    warn: Callable[[str], None]
    clients: set[int] = field(default_factory=set)

    async def run(self) -> None:
        """Serve until cancelled."""
        with listening(self.path) as listener:
            async with trio.open_nursery() as nursery:
                while True:
                    connection, _ = await listener.accept()
                    nursery.start_soon(self._serve, connection)

    async def _serve(self, connection: trio.socket.SocketType) -> None:
        client = Client()
        with connection:
            if not is_own_user(connection) or len(self.clients) >= CLIENTS_MAX:
                return
            self.clients.add(id(client))
            try:
                await self._converse(client, trio.SocketStream(connection))
            finally:
                self.clients.discard(id(client))
                for undo in client.closing.values():
                    undo()

    async def _converse(self, client: Client, stream: trio.SocketStream) -> None:
        client.reply({"flow": "control", "version": VERSION, **self.hello})
        async with trio.open_nursery() as nursery:

            async def send() -> None:
                with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
                    await client.send_to(stream)
                nursery.cancel_scope.cancel()

            nursery.start_soon(send)
            unpacker = Unpacker(REQUEST_MAX)
            while part := await _part(stream):
                try:
                    requests = unpacker.feed(part)
                except ControlError as error:
                    client.reply({"id": None, "error": str(error)})
                    await trio.sleep(0.1)  # for the reply to leave
                    break
                if len(requests) + len(nursery.child_tasks) > REQUESTS_MAX:
                    break
                for request in requests:
                    nursery.start_soon(self._obey, client, request)
            nursery.cancel_scope.cancel()

    async def _obey(self, client: Client, request: Words) -> None:
        number, name = request.get("id"), request.get("do")
        handler = self.handlers.get(str(name))
        try:
            if handler is None:
                does = ", ".join(self.handlers)
                raise ControlError(f"'{name}' is nothing that {self.hello['who']} does; it does {does}")
            client.reply({"id": number, "ok": await handler(client, request)})
        except FlowError as error:
            client.reply({"id": number, "error": str(error)})
        except Exception as error:  # a mistake in the inspector must not cost the run this process
            self.warn(f"inspector's request '{name}' failed\n{traceback.format_exc()}")
            client.reply({"id": number, "error": f"'{name}' failed: {error!r}; the run's log has the traceback"})


async def _part(stream: trio.SocketStream) -> bytes:
    """What came next; nothing of a client that is gone, in whatever way it went."""
    try:
        return bytes(await stream.receive_some(CHUNK))
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return b""


def asked(request: Words, name: str, kind: type, default: Any = None) -> Any:
    """An argument of a request.

    Raises:
      ControlError: it is missing, where there is no default, or of another type.
    """
    value = request.get(name, default)
    if kind is float and type(value) is int:
        value = float(value)
    if value is None and default is None:
        raise ControlError(f"{request.get('do')} needs {name}, {kind.__name__}")
    if type(value) is not kind:
        raise ControlError(f"{request.get('do')}: expected {name} to be {kind.__name__}, found {value!r:.60}")
    return value


@contextlib.contextmanager
def listening(path: Path) -> Iterator[trio.socket.SocketType]:
    """Listen at a path, for this user alone."""
    with contextlib.suppress(FileNotFoundError):
        path.unlink()  # of an earlier start of this worker
    raw = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        raw.bind(os.fspath(path))
        os.chmod(path, 0o600)
        raw.listen(CLIENTS_MAX)
        raw.setblocking(False)
        yield trio.socket.from_stdlib_socket(raw)
    finally:
        raw.close()
        with contextlib.suppress(FileNotFoundError):
            path.unlink()


def is_own_user(connection: trio.socket.SocketType) -> bool:
    """Whether the kernel says that this user's process is at the other end."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    _, user, _ = _CREDENTIALS.unpack(raw)
    return bool(user == os.getuid())
