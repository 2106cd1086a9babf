"""Sockets of a simulated run: what `flow/carrier` uses of ZeroMQ, over a network in virtual time.

A connection keeps its order; each message takes a while that the seed draws. A worker that is killed takes its
connections with it: of what it had sent, a part that the seed draws still arrives; what was under way to it does not.

The edge of ZMQ_FD is an eventfd: written when something changed, emptied when EVENTS is read. So the carrier's own
waiting is what runs here, and a wake-up that it would miss with ZeroMQ it misses here too.
"""

from __future__ import annotations

import heapq
import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

import trio
import zmq

from flow import wire
from flow.testing.simulation.journal import Journal, Life, Passage

_CONNECT_S = 0.002


class Frame:
    """A part of a message, as ZeroMQ hands it over."""

    __slots__ = ("buffer", "more")

    def __init__(self, content: bytes, more: bool) -> None:
        self.buffer = memoryview(content)
        self.more = more

    def __len__(self) -> int:
        return len(self.buffer)


@dataclass(eq=False)
class Connection:
    """From a sending socket to an inbox. last: when what was sent last arrives; nothing overtakes it."""

    sender: Socket
    inbox: Socket
    last: float = 0.0
    cut: bool = False
    under_way: deque[Packet] = field(default_factory=deque)


@dataclass(eq=False)
class Packet:
    """A message on the wire."""

    frames: list[bytes]
    passage: Passage | None
    gone: bool = False


class Network:
    """What is under way, by the time it arrives; also what supervisor and workers say to each other."""

    def __init__(self, random: Random, journal: Journal, scale_s: float) -> None:
        self.journal = journal
        self.inboxes: dict[str, Socket] = {}
        self._random, self._scale_s = random, scale_s
        self._due: list[tuple[float, int, Callable[[], None]]] = []
        self._count = 0
        self._earlier = trio.lowlevel.ParkingLot()
        self._sockets: list[Socket] = []

    async def run(self) -> None:
        """Let everything arrive at its time."""
        while True:
            if not self._due:
                await self._earlier.park()
            elif self._due[0][0] > trio.current_time():
                with trio.move_on_at(self._due[0][0]):
                    await self._earlier.park()
            else:
                heapq.heappop(self._due)[2]()

    @property
    def busy(self) -> bool:
        """Whether anything is on its way."""
        return bool(self._due)

    def at(self, when: float, act: Callable[[], None]) -> None:
        """Do something at a time; in the order of calls where times are equal."""
        self._count += 1
        heapq.heappush(self._due, (when, self._count, act))
        if self._due[0][1] == self._count:
            self._earlier.unpark_all()

    def latency(self) -> float:
        return self._random.expovariate(1.0) * self._scale_s

    def add(self, socket: Socket) -> None:
        self._sockets.append(socket)

    def bound(self, endpoint: str, inbox: Socket) -> None:
        self.inboxes[endpoint] = inbox
        for socket in self._sockets:
            if socket.endpoint == endpoint and socket.connection is None and not socket.closed:
                self.connect(socket)

    def connect(self, socket: Socket) -> None:
        def connected() -> None:
            inbox = self.inboxes.get(socket.endpoint)
            if inbox is not None and not inbox.closed and not socket.closed and socket.connection is None:
                socket.connection = Connection(socket, inbox)
                socket.changed()

        self.at(trio.current_time() + _CONNECT_S, connected)

    def transmit(self, connection: Connection, frames: list[bytes]) -> None:
        """Send a message; it arrives after what was sent before it."""
        packet = Packet(frames, self._passage(frames))
        connection.under_way.append(packet)
        late = 0.0
        for fault in self.journal.faults.come("packets"):
            self.journal.happens(fault)
            late = fault.seconds
        when = max(connection.last, trio.current_time() + self.latency() + late)
        connection.last = when

        def arrive() -> None:
            if packet.gone or connection.inbox.closed:
                return
            connection.under_way.popleft()
            connection.inbox.queue.append(packet)
            connection.inbox.changed()

        self.at(when, arrive)

    def _passage(self, frames: list[bytes]) -> Passage | None:
        said = wire.head(frames)
        if said is None or said.kind not in (wire.Kind.DATA, wire.Kind.QUESTION, wire.Kind.NEWEST):
            return None
        key = {
            wire.Kind.DATA: (said.epoch, said.sequence),
            wire.Kind.QUESTION: (said.epoch, said.number),
            wire.Kind.NEWEST: (said.epoch, said.sequence, said.number),
        }[said.kind]
        return self.journal.records[said.link].by_key.get(key)

    def killed(self, life: Life) -> None:
        """Cut all connections of a worker that is gone."""
        for socket in self._sockets:
            connection = socket.connection
            if connection is None or connection.cut:
                continue
            if connection.sender.life is life or connection.inbox.life is life:
                arriving = self._random.randint(0, len(connection.under_way))
                if connection.inbox.life is life:
                    arriving = 0
                for packet in list(connection.under_way)[arriving:]:
                    packet.gone = True
                    connection.under_way.pop()
                connection.cut = True
                if connection.sender.life is not life:
                    connection.sender.connection = None
                    connection.sender.changed()
        self._sockets = [socket for socket in self._sockets if socket.life is not life and not socket.closed]
        self.inboxes = {endpoint: inbox for endpoint, inbox in self.inboxes.items() if inbox.life is not life}


class Socket:
    """A PUSH or PULL socket of one worker."""

    def __init__(self, network: Network, kind: int, life: Life) -> None:
        self.kind, self.life = kind, life
        self.endpoint = ""
        self.closed = False
        self.connection: Connection | None = None
        self.queue: deque[Packet] = deque()
        self._network = network
        self._edge = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._edge_is_up = False
        self._options: dict[int, int] = {}
        self._parts: list[bytes] = []
        self._reading: deque[Frame] = deque()
        network.add(self)

    def setsockopt(self, option: int, value: int) -> None:
        self._options[option] = value

    def getsockopt(self, option: int) -> int:
        if option == zmq.FD:
            return self._edge
        if option != zmq.EVENTS:
            return self._options[option]
        if self._edge_is_up:
            os.eventfd_read(self._edge)
            self._edge_is_up = False
        if self.kind == zmq.PULL:
            return int(zmq.POLLIN) if self.queue else 0
        return int(zmq.POLLOUT) if self._takes() else 0

    def changed(self) -> None:
        """Something may be possible now that was not: the edge."""
        if not self._edge_is_up and not self.closed:
            self._edge_is_up = True
            os.eventfd_write(self._edge, 1)

    def _takes(self) -> bool:
        connection = self.connection
        return (
            connection is not None
            and not connection.cut
            and len(connection.under_way) < self._options.get(zmq.SNDHWM, 1000)
        )

    def connect(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._network.connect(self)

    def bind(self, endpoint: str) -> None:
        self.endpoint = endpoint
        self._network.bound(endpoint, self)

    def send(self, part: Any, flags: int = 0, copy: bool = True) -> None:
        if self.life.over:
            return
        if not self._parts and not self._takes():
            raise zmq.Again
        self._parts.append(bytes(part))
        if not flags & zmq.SNDMORE:
            parts, self._parts = self._parts, []
            assert self.connection is not None
            self._network.transmit(self.connection, parts)

    def recv(self, flags: int = 0, copy: bool = True) -> Frame:
        if not self._reading:
            if not self.queue or self.life.over:
                raise zmq.Again
            packet = self.queue.popleft()
            last = len(packet.frames) - 1
            self._reading.extend(Frame(part, at < last) for at, part in enumerate(packet.frames))
            self._network.journal.arriving = packet.passage
        return self._reading.popleft()

    def close(self, linger: int | None = None) -> None:
        if not self.closed:
            self.closed = True
            os.close(self._edge)


class Sockets:
    """Makes the sockets of one worker, as a `zmq.Context` does."""

    def __init__(self, network: Network, life: Life) -> None:
        self._network, self._life = network, life
        self.made: list[Socket] = []

    def socket(self, kind: int) -> Socket:
        self.made.append(Socket(self._network, kind, self._life))
        return self.made[-1]

    def term(self) -> None:
        """As ZeroMQ: whoever left a socket open would wait here for ever."""
        left = sum(not socket.closed for socket in self.made)
        if left and not self._life.over:
            self._network.journal.violation("left open", f"worker {self._life.worker}: {left} sockets when it ended")
        for socket in self.made:
            socket.close()
