"""Another worker as this one sends to it: a way that messages take, and what it cannot take yet.

The way is memory that both workers map where they share a host, and a ZeroMQ socket elsewhere. ZMQ_FD is
edge-triggered: readable means "something changed", and any send or receive may take the edge. One task owns the
waiting on the socket; it waits only when EVENTS say that nothing can be sent.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, cast

import trio
import zmq

from flow.carrier.curve import Address

# Credit stops a sender long before this; reaching it means that a bound failed.
TRIPWIRE = 100_000
# Sending without a copy wakes pyzmq's collector thread for each frame; below this a copy costs less.
_ZERO_COPY_MIN = 160 * 1024


class Way(Protocol):
    """A way to one incarnation of a worker."""

    def send(self, frames: list[Any]) -> bool:
        """Send a message, or say that it cannot be sent now."""

    async def push(self, frames: list[Any]) -> None:
        """Send a message when it can be. Raises `trio.ClosedResourceError` if the way is closed meanwhile."""

    def close(self) -> None: ...


class Peer:
    """Another worker, as this one sends to it. Nothing is lost and nobody waits while it cannot be reached.

    better: makes a way to an incarnation that listens there, where there is a better one than a socket of this host.
    """

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        worker: str,
        better: Callable[[str, Path | Address, int], Way | None] = lambda worker, where, epoch: None,
    ) -> None:
        self.worker = worker
        self.epoch = -1
        self._context = context
        self._better = better
        self._way: Way | None = None
        self._outbox: deque[list[Any]] = deque()
        self._early: list[tuple[int, list[Any]]] = []
        self._work = trio.lowlevel.ParkingLot()
        self._drained = trio.lowlevel.ParkingLot()

    def connect(self, where: Path | Address, epoch: int) -> None:
        """Send to this incarnation of the worker from now on; what waited for the one before it is dropped."""
        if self._way is not None:  # what waits for the first incarnation has not been sent to any
            self.disconnect()
        self._way = self._better(self.worker, where, epoch) or SocketWay(self._context, where)
        self.epoch = epoch
        self._outbox.extend(frames for early, frames in self._early if early == epoch)
        self._early.clear()
        self._work.unpark_all()

    def disconnect(self) -> None:
        self._outbox.clear()
        self._drained.unpark_all()
        if self._way is not None:
            self._way.close()
            self._way = None

    def post(self, frames: list[Any]) -> None:
        """Send now if the way takes it, else when it does, in order."""
        if self._outbox or self._way is None or not self._way.send(frames):
            self._outbox.append(frames)
            self._work.unpark_all()

    def reply(self, epoch: int, frames: list[Any]) -> None:
        """Send to that incarnation of the worker alone: not to one started since, which never asked.

        A new incarnation may be heard before the supervisor has said where it is; then this waits for `connect`.
        """
        if epoch == self.epoch:
            self.post(frames)
        elif epoch > self.epoch:
            self._early.append((epoch, frames))

    async def wait_drained(self) -> None:
        """Until everything posted is on its way."""
        while self._outbox:
            await self._drained.park()

    async def run(self) -> None:
        """Send what `post` could not."""
        while True:
            way = self._way
            if way is None or not self._outbox:
                self._drained.unpark_all()
                await self._work.park()
                continue
            try:
                await way.push(self._outbox[0])
            except trio.ClosedResourceError:  # the peer was started again; its new way is next
                continue
            if way is self._way:
                self._outbox.popleft()
            await trio.lowlevel.checkpoint()


class SocketWay:
    """A way through a ZeroMQ socket."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], path: Path | Address) -> None:
        if isinstance(path, Address):
            raise ValueError(f"{path.endpoint}: this worker has no keys to speak over TCP")
        self.socket = context.socket(zmq.PUSH)
        self.socket.setsockopt(zmq.SNDHWM, TRIPWIRE)
        self.socket.setsockopt(zmq.LINGER, 2000)
        self.socket.setsockopt(zmq.RECONNECT_IVL, 5)
        # Without this a message is queued to a peer that does not answer yet, out of our sight.
        self.socket.setsockopt(zmq.IMMEDIATE, 1)
        self.socket.connect(f"ipc://{path}")

    def send(self, frames: list[Any]) -> bool:
        """Send now, if the socket takes it."""
        return send_now(self.socket, frames)

    async def push(self, frames: list[Any]) -> None:
        """Send when the socket takes it.

        Raises:
          trio.ClosedResourceError: the way was closed.
        """
        while not self.send(frames):
            if not events(self.socket) & zmq.POLLOUT:
                # The descriptor becomes readable when sending may have become possible.
                await trio.lowlevel.wait_readable(descriptor_of(self.socket))
                if self.socket.closed:  # in the turn of the loop in which it became readable
                    raise trio.ClosedResourceError

    def close(self) -> None:
        """What ZeroMQ still holds is sent for at most two seconds."""
        trio.lowlevel.notify_closing(descriptor_of(self.socket))
        self.socket.close(linger=2000)


def events(socket: zmq.Socket[bytes]) -> int:
    return cast(int, socket.getsockopt(zmq.EVENTS))  # half the time that `socket.EVENTS` takes


def descriptor_of(socket: zmq.Socket[bytes]) -> int:
    return cast(int, socket.getsockopt(zmq.FD))


def send_now(socket: zmq.Socket[bytes], frames: list[Any]) -> bool:
    """Send, if the socket takes it now."""
    last = len(frames) - 1
    try:
        socket.send(frames[0], zmq.NOBLOCK | (zmq.SNDMORE if last else 0))
    except zmq.Again:
        return False
    for index in range(1, last + 1):  # once the first part is taken, the others are
        more = zmq.SNDMORE if index < last else 0
        socket.send(frames[index], zmq.NOBLOCK | more, copy=len(frames[index]) < _ZERO_COPY_MIN)
    return True
