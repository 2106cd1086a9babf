"""The carrier between workers of two hosts: ZeroMQ over `tcp://` with CURVE, and what makes it lossless.

    worker a                                       worker b
    PUSH to b ─── RECORD 0, 1, 2 … SYNC n ───────► PULL, behind a gatekeeper
    PULL      ◄── ACK n: has all before n ──────── PUSH to a
              ◄── AGAIN n: n is the next it needs

When a link is cut, what ZeroMQ had taken is gone, and it tells nobody. So each record for one incarnation of a worker
has a number, and is kept until that worker has said that it has it. The receiver takes records in order alone: one
that comes twice is dropped, and one that comes too early asks for those before it. If the last ones are lost nothing
comes too early; the sender therefore asks, when it has heard nothing for a while, whether all before n have arrived. A
connection keeps its order, so the answer is true, however slow it is. What is kept is bounded by credit.

Who sent something is what the gatekeeper says of its key, not what it says of itself.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import trio
import zmq

from flow.carrier.curve import Address, Gatekeeper, KeyPair, be_client, be_server
from flow.carrier.inbox import make_inbox, pump
from flow.carrier.packing import ToPack, pack, unpack
from flow.carrier.peer import TRIPWIRE, descriptor_of, events, send_now
from flow.errors import WireError
from flow.wire import Frames

FORMAT = 1
# Format, kind, epochs of sender and receiver, number. As long as keeps what follows aligned.
HEAD = struct.Struct("<BB6xQQQ")
# A receiver says what it has after so many records or so long, whichever is first.
ACK_EVERY, ACK_S = 16, 0.01
# A sender that hears nothing asks after so long, then after twice that, up to the second.
ASK_S, ASK_MAX_S = 0.5, 4.0
LINGER_MS = 2000


class Said(IntEnum):
    """What a message over TCP is. The number of its header is given in brackets."""

    RECORD = 0  # [its own]
    SYNC = 1  # all before [this] were sent
    ACK = 2  # all before [this] have come
    AGAIN = 3  # all before [this] have come, and what was sent since has not
    PACKED = 4  # [its own], and its frames are compressed


class TcpWay:
    """A way to one incarnation of a worker on another host. What it takes, arrives, or that incarnation ends."""

    def __init__(
        self, sockets: zmq.Context[zmq.Socket[bytes]], own: KeyPair, to: Address, epochs: tuple[int, int]
    ) -> None:
        """epochs: of this worker, and of the other."""
        self.epochs = epochs
        self.scope = trio.CancelScope()
        self.resent = 0
        self._kept: dict[int, tuple[Said, Frames]] = {}
        self._first = self._next = self._end = 0  # kept from the first to the end; from the next on not yet sent
        self._work = trio.lowlevel.ParkingLot()
        self._keeping = trio.lowlevel.ParkingLot()
        self._settled = trio.lowlevel.ParkingLot()
        self._socket = sockets.socket(zmq.PUSH)
        self._socket.setsockopt(zmq.SNDHWM, TRIPWIRE)
        self._socket.setsockopt(zmq.LINGER, LINGER_MS)
        # Without this a message is queued to a peer that does not answer yet, out of our sight.
        self._socket.setsockopt(zmq.IMMEDIATE, 1)
        be_client(self._socket, own, to.key)
        self._socket.connect(to.endpoint)

    def send(self, frames: Frames) -> bool:
        """Keep it until it has arrived; always taken."""
        if not self._kept:
            self._keeping.unpark_all()
        self._kept[self._end] = (Said.PACKED, pack(frames)) if isinstance(frames, ToPack) else (Said.RECORD, frames)
        self._end += 1
        if not self._transmit():
            self._work.unpark_all()
        return True

    async def push(self, frames: Frames) -> None:
        """As `send`, which takes all."""
        self.send(frames)
        await trio.lowlevel.checkpoint()

    def say(self, kind: Said, number: int) -> None:
        """Say it if the link is up: whoever misses it asks again."""
        if self._socket.closed:
            return
        if send_now(self._socket, [HEAD.pack(FORMAT, kind, *self.epochs, number)]):
            self._transmit()  # the edge that told of room may have been taken by this

    def has_come(self, number: int) -> bool:
        """All records before this one have arrived. False if they were not even made."""
        if number > self._end:
            return False
        for each in range(self._first, number):
            del self._kept[each]
        self._first = max(self._first, number)
        self._next = max(self._next, number)
        if not self._kept:
            self._settled.unpark_all()
        return True

    def again(self, number: int) -> None:
        """Send what was sent since this record once more."""
        if self._first <= number < self._next:
            self.resent += self._next - number
            self._next = number
            if not self._transmit():
                self._work.unpark_all()

    def _transmit(self) -> bool:
        """Send what was not sent yet; False if the socket does not take it all now."""
        while self._next < self._end and not self._socket.closed:
            kind, (first, *others) = self._kept[self._next]
            head = HEAD.pack(FORMAT, kind, *self.epochs, self._next)
            if not send_now(self._socket, [b"".join((head, first)), *others]):
                return False
            self._next += 1
        return True

    async def run(self) -> None:
        """Send what `send` could not, and ask for what is not heard of, until closed."""
        with self.scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._ask)
                while True:
                    if self._transmit():
                        await self._work.park()
                    elif not events(self._socket) & zmq.POLLOUT:
                        await trio.lowlevel.wait_readable(descriptor_of(self._socket))

    async def _ask(self) -> None:
        seconds = ASK_S
        while True:
            if not self._kept:
                await self._keeping.park()
            first = self._first
            await trio.sleep(seconds)
            if self._kept and self._first == first:
                self.say(Said.SYNC, self._next)
                seconds = min(2 * seconds, ASK_MAX_S)
            else:
                seconds = ASK_S

    async def wait_settled(self) -> None:
        """Until all that was sent has arrived."""
        while self._kept:
            await self._settled.park()

    def close(self) -> None:
        """What ZeroMQ still holds is sent for at most two seconds; what did not arrive by then is forgotten."""
        if not self._socket.closed:
            self.scope.cancel()
            trio.lowlevel.notify_closing(descriptor_of(self._socket))
            self._socket.close()
            self._kept.clear()
            self._next = self._first = self._end
            self._settled.unpark_all()


@dataclass
class _Heard:
    """What came from a worker. asked: which record was asked for when it was missed; unsaid: records since an ACK."""

    epoch: int = -1
    expected: int = 0
    asked: int = -1
    unsaid: int = 0


@dataclass
class Gate:
    """A worker's ends of all links to other hosts.

    receive: given the frames of each message, once and in order. refused: told of what was none. doubled: records that
    came again.
    """

    sockets: zmq.Context[zmq.Socket[bytes]]
    epoch: int
    own: KeyPair
    receive: Callable[[Frames], None]
    refused: Callable[[str], None]
    log: Callable[[str], None]
    doubled: int = 0
    ways: dict[str, TcpWay] = field(default_factory=dict)
    _heard: dict[str, _Heard] = field(default_factory=dict)
    _nursery: trio.Nursery | None = None

    def __post_init__(self) -> None:
        self.keeper = Gatekeeper(self.sockets, self.log)  # before there is anything to guard
        self._inbox = make_inbox(self.sockets)
        be_server(self._inbox, self.own)
        self._owing = trio.lowlevel.ParkingLot()

    def bind(self, endpoint: str) -> Address:
        """Listen, as at "tcp://10.0.0.2:*"."""
        self._inbox.bind(endpoint)
        return Address(self._inbox.getsockopt_string(zmq.LAST_ENDPOINT), self.own.public)

    def open_way(self, worker: str, to: Address, epoch: int) -> TcpWay:
        """A way to that incarnation of a worker, which may speak to this one from now on."""
        self.keeper.allow(worker, to.key)
        self.ways[worker] = way = TcpWay(self.sockets, self.own, to, (self.epoch, epoch))
        if self._nursery is not None:
            self._nursery.start_soon(way.run)
        return way

    async def run(self) -> None:
        """Receive and send until cancelled."""
        async with trio.open_nursery() as nursery:
            self._nursery = nursery
            for way in self.ways.values():
                nursery.start_soon(way.run)
            nursery.start_soon(self._acknowledge)
            await pump(self._inbox, self._take)

    async def wait_settled(self) -> None:
        """Until all that was sent has arrived."""
        for way in list(self.ways.values()):
            await way.wait_settled()

    def close(self) -> None:
        """Listen no more. The ways are closed by whoever uses them, the gatekeeper ends with the context."""
        trio.lowlevel.notify_closing(descriptor_of(self._inbox))
        self._inbox.close()

    def _take(self, frames: list[zmq.Frame]) -> None:
        sender = str(frames[0].get("User-Id"))
        buffers: list[Any] = [frame.buffer for frame in frames]
        if len(buffers[0]) < HEAD.size:
            self.refused(f"dropped {len(buffers[0])} bytes of worker {sender}: too short for a record")
            return
        version, kind, epoch, to, number = HEAD.unpack_from(buffers[0])
        if version != FORMAT or kind not in Said.__members__.values():
            self.refused(f"dropped a message of worker {sender}: format {version} and kind {kind} are not known")
        elif to == self.epoch:  # else it is for an incarnation that is gone
            if kind in (Said.ACK, Said.AGAIN):
                self._take_reply(sender, epoch, Said(kind), number)
            else:
                buffers[0] = buffers[0][HEAD.size :]
                self._take_record(sender, epoch, Said(kind), number, buffers)

    def _take_reply(self, sender: str, epoch: int, kind: Said, number: int) -> None:
        way = self.ways.get(sender)
        if way is None or way.epochs[1] != epoch:
            return
        if not way.has_come(number):
            self.refused(f"worker {sender} says that it has {number} records, more than were sent to it")
        elif kind is Said.AGAIN:
            way.again(number)

    def _take_record(self, sender: str, epoch: int, kind: Said, number: int, buffers: Frames) -> None:
        heard = self._heard.setdefault(sender, _Heard())
        if epoch < heard.epoch:
            return
        if epoch > heard.epoch:
            heard = self._heard[sender] = _Heard(epoch)
        if kind is Said.SYNC:
            heard.asked = heard.expected
            self._say(sender, Said.AGAIN if heard.expected < number else Said.ACK)
        elif number == heard.expected:
            heard.expected += 1
            heard.unsaid += 1
            if heard.unsaid >= ACK_EVERY:
                self._say(sender, Said.ACK)
            elif heard.unsaid == 1:
                self._owing.unpark_all()
            self._hand_on(sender, kind, buffers)
        elif number < heard.expected:
            self.doubled += 1
        elif heard.asked != heard.expected:
            heard.asked = heard.expected
            self._say(sender, Said.AGAIN)

    def _hand_on(self, sender: str, kind: Said, buffers: Frames) -> None:
        try:
            frames = unpack(buffers) if kind is Said.PACKED else buffers
        except WireError as error:
            self.refused(f"dropped a message of worker {sender}: {error}")
            return
        self.receive(frames)

    def _say(self, sender: str, kind: Said) -> None:
        heard, way = self._heard[sender], self.ways.get(sender)
        # Where the other is not known yet nothing is said; it will ask.
        if way is not None and way.epochs[1] == heard.epoch:
            heard.unsaid = 0
            way.say(kind, heard.expected)

    async def _acknowledge(self) -> None:
        """Say soon what was not worth saying at once."""
        while True:
            await self._owing.park()
            await trio.sleep(ACK_S)
            for sender, heard in self._heard.items():
                if heard.unsaid:
                    self._say(sender, Said.ACK)
