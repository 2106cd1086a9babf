"""The carrier between workers of one host whose memory both can map: `ring.py`, and how two workers come to share it.

    worker a                                              worker b
    makes memory and two eventfds ── Unix socket ──► maps them, reads, wakes a when there is room again
    writes, wakes b when it sleeps

Each direction is memory of its own, made by its sender for one incarnation of each end: whoever is started again
begins with new memory, and what was lent to the one before is gone with the old. The sender writes at once; the
receiver finds it all when it has mapped it. No name is left anywhere: memory and bells go with the last process that
holds them. A sender that cannot make memory, or whose peer does not listen, uses a ZeroMQ socket instead.
"""

from __future__ import annotations

import array
import contextlib
import os
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import msgpack
import trio

from flow.carrier import ring
from flow.carrier.published import Publications, Receiver, Sender, ValueFrames
from flow.carrier.ring import PART_MAX, Reader, Writer
from flow.errors import WireError
from flow.wire import Frames

FORMAT = 2
# A burst is read in pieces, so that one busy peer cannot keep the loop from everyone else.
BURST = 64
# How often an empty ring is looked at again before this end sleeps: often while sleeps turn out short, as among those
# who ask and answer in turn. A look is a turn of the loop, 4 us; falling asleep and being woken costs tens of that, at
# both ends. (`tools.bench.serve`: 47 k observations/s without looking again, 103 k with it.)
LOOKS_FEW, LOOKS_MANY = 2, 16
SHORT_S = 150e-6
HELLO_MAX = 1024
HELLO_S = 5.0


def doorway(inbox: Path) -> Path:
    """Where a worker with this inbox takes in memory of others."""
    return inbox.with_name(f"{inbox.name}.m")


class MemoryWay:
    """A way to one incarnation of another worker, through memory. values: what is published goes through it."""

    def __init__(self, writer: Writer, values: Sender) -> None:
        self.writer = writer
        self.values = values
        self._closed = False

    def send(self, frames: Frames) -> bool:
        """Send now, if there is room."""
        if type(frames) is not ValueFrames or not frames.large or len(frames[0]) >= ring.LENT_MIN:
            return self.writer.send(frames)
        lent = self.values.lend(frames)
        if lent is None:
            return self.writer.send(frames)
        place, slot = lent
        if self.writer.tell(frames, place.number, slot):
            return True
        self.values.take_back(place, slot)
        return False

    async def push(self, frames: Frames) -> None:
        """Send what `send` had no room for: in parts where it is the arena that is full.

        Raises:
          trio.ClosedResourceError: the way was closed.
        """
        if sum(map(len, frames)) < ring.LENT_MIN:
            while not self.writer.send(frames):
                await self._room()
            return
        if self.send(frames):
            return
        while not self.writer.begin_parts(frames):
            await self._room()
        for frame in frames:
            view = memoryview(frame)
            for start in range(0, len(view), PART_MAX):
                while not self.writer.send_part(view[start : start + PART_MAX]):
                    await self._room()

    async def _room(self) -> None:
        """Wait until the receiver has read something."""
        if self.writer.tire():
            await trio.lowlevel.wait_readable(self.writer.room)
            if self._closed:  # in the turn of the loop in which there was room; the descriptor is another's by now
                raise trio.ClosedResourceError
            _silence(self.writer.room)

    def close(self) -> None:
        self._closed = True
        trio.lowlevel.notify_closing(self.writer.room)
        self.values.close()
        self.writer.close()


def open_way(inbox: Path, worker: str, epoch: int, publications: Publications) -> MemoryWay | None:
    """A way to the worker with this inbox, from an incarnation of ours; None if it or this machine takes no memory."""
    if not ring.available():
        return None
    held: list[int] = []
    line = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        line.setblocking(False)  # a worker too busy to listen must not stop this one
        line.connect(str(doorway(inbox)))
        held.append(ring.make())
        held += [os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(2)]
        writer = Writer(*held)
        socket.send_fds(line, [msgpack.packb([FORMAT, worker, epoch])], held)
    except OSError:
        line.close()
        for descriptor in held:
            os.close(descriptor)
        return None
    os.close(held[0])  # the mapping holds the memory
    return MemoryWay(writer, Sender(publications, line))


@dataclass
class Incoming:
    """Memory that another worker writes, and the task that reads it."""

    worker: str
    epoch: int
    reader: Reader
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)


class Intake:
    """Takes in the memory of other workers and reads it.

    knows: whether there is such a worker. receive: given the frames of each message. refused: told of what was none.
    """

    def __init__(
        self, knows: Callable[[str], bool], receive: Callable[[Frames], None], refused: Callable[[str], None]
    ) -> None:
        self._knows = knows
        self._receive = receive
        self._refused = refused
        self._incoming: dict[str, Incoming] = {}
        self._door: trio.socket.SocketType | None = None

    def bind(self, inbox: Path) -> None:
        """Listen beside the inbox."""
        door = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        door.bind(str(doorway(inbox)))
        door.listen(4096)
        self._door = trio.socket.from_stdlib_socket(door)

    async def run(self) -> None:
        """Read until cancelled."""
        assert self._door is not None, "bind comes first"
        async with trio.open_nursery() as nursery:
            while True:
                line, _ = await self._door.accept()
                nursery.start_soon(self._greet, line, nursery)

    async def _greet(self, line: trio.socket.SocketType, nursery: trio.Nursery) -> None:
        """Hear who connected and map the memory that came; a stranger is counted and forgotten."""
        raw, descriptors, values = b"", array.array("i"), None
        with line, trio.move_on_after(HELLO_S):
            raw, rights, flags, _ = await line.recvmsg(HELLO_MAX, socket.CMSG_LEN(12), socket.MSG_CMSG_CLOEXEC)
            for _, _, data in rights:
                descriptors.frombytes(data[: len(data) // 4 * 4])
            if flags & socket.MSG_CTRUNC:  # more came than memory and bells
                raw = b""
            # Kept when the line is closed: what is published comes over it.
            values = Receiver(socket.fromfd(line.fileno(), socket.AF_UNIX, socket.SOCK_SEQPACKET))
        incoming = _hello(raw, list(descriptors))
        if incoming is None or values is None or not self._knows(incoming.worker):
            if values is not None:
                values.close()
            for descriptor in descriptors:
                os.close(descriptor)
            self._refused("dropped a peer's memory: it is none, or its peer did not say who it is")
            return
        os.close(descriptors[0])
        incoming.reader.values = values
        self._succeed(incoming)
        try:
            with incoming.scope:
                await self._read(incoming)
        finally:
            values.close()
            incoming.reader.close()

    def _succeed(self, incoming: Incoming) -> None:
        """A worker's memory takes the place of that of its incarnation before, once that is read to its end."""
        before = self._incoming.get(incoming.worker)
        if before is not None and before.epoch > incoming.epoch:
            incoming.scope.cancel()
            return
        if before is not None:
            while self._drain(before) == BURST:
                pass
            before.scope.cancel()
        self._incoming[incoming.worker] = incoming

    async def _read(self, incoming: Incoming) -> None:
        looks = most = LOOKS_FEW
        while True:
            read = self._drain(incoming)
            if read or looks:
                looks = most if read else looks - 1
                await trio.lowlevel.checkpoint()
            elif incoming.reader.doze():
                began = time.perf_counter()
                await _rung(incoming.reader.bell)
                looks = most = LOOKS_MANY if time.perf_counter() - began < SHORT_S else LOOKS_FEW

    def _drain(self, incoming: Incoming) -> int:
        try:
            return incoming.reader.drain(BURST, self._receive)
        except WireError as error:
            self._refused(f"dropped what worker {incoming.worker} wrote into shared memory: {error}")
            return 0

    def close(self) -> None:
        """Listen no more, and let go of all memory that nobody has views of."""
        if self._door is not None:
            self._door.close()
            self._door = None
        self._incoming.clear()


def _hello(raw: bytes, descriptors: list[int]) -> Incoming | None:
    """What a peer says of itself, with its memory; None if that is not what it should be."""
    try:
        version, worker, epoch = msgpack.unpackb(raw)
    except (ValueError, TypeError, msgpack.UnpackException):
        return None
    if version != FORMAT or type(worker) is not str or type(epoch) is not int:
        return None
    if len(descriptors) != 3 or not ring.trusted(*descriptors):
        return None
    for bell in descriptors[1:]:
        os.set_blocking(bell, False)
    return Incoming(worker, epoch, Reader(*descriptors))


async def _rung(bell: int) -> None:
    """Wait for an eventfd, and take what it says."""
    await trio.lowlevel.wait_readable(bell)
    _silence(bell)


def _silence(bell: int) -> None:
    with contextlib.suppress(BlockingIOError):  # what it said was taken before
        os.eventfd_read(bell)
