"""Another worker as this one sends to it: a ZeroMQ socket, and what it cannot take yet.

ZMQ_FD is edge-triggered: readable means "something changed", and any send or receive may take the edge. One task owns
the waiting on the socket; it waits only when EVENTS say that nothing can be sent.
"""

from __future__ import annotations

from collections import deque
from pathlib import Path
from typing import Any, cast

import trio
import zmq

# Credit stops a sender long before this; reaching it means that a bound failed.
TRIPWIRE = 100_000
# Sending without a copy wakes pyzmq's collector thread for each frame; below this a copy costs less.
_ZERO_COPY_MIN = 160 * 1024


class Peer:
    """Another worker, as this one sends to it. Nothing is lost and nobody waits while it cannot be reached."""

    def __init__(self, context: zmq.Context[zmq.Socket[bytes]], worker: str) -> None:
        self.worker = worker
        self.epoch = -1
        self._context = context
        self._socket: zmq.Socket[bytes] | None = None
        self._outbox: deque[list[Any]] = deque()
        self._early: list[tuple[int, list[Any]]] = []
        self._work = trio.lowlevel.ParkingLot()
        self._drained = trio.lowlevel.ParkingLot()

    def connect(self, path: Path, epoch: int) -> None:
        """Send to this incarnation of the worker from now on; what waited for the one before it is dropped."""
        if self._socket is not None:
            self.disconnect()
        socket = self._context.socket(zmq.PUSH)
        socket.setsockopt(zmq.SNDHWM, TRIPWIRE)
        socket.setsockopt(zmq.LINGER, 2000)
        socket.setsockopt(zmq.RECONNECT_IVL, 5)
        # Without this a message is queued to a peer that does not answer yet, out of our sight.
        socket.setsockopt(zmq.IMMEDIATE, 1)
        socket.connect(f"ipc://{path}")
        self._socket, self.epoch = socket, epoch
        self._outbox.extend(frames for early, frames in self._early if early == epoch)
        self._early.clear()
        self._work.unpark_all()

    def disconnect(self) -> None:
        self._outbox.clear()
        self._drained.unpark_all()
        if self._socket is not None:
            trio.lowlevel.notify_closing(descriptor_of(self._socket))
            self._socket.close(linger=2000)
            self._socket = None

    def post(self, frames: list[Any]) -> None:
        """Send now if the socket takes it, else when it does, in order."""
        if self._outbox or self._socket is None or not _try_send(self._socket, frames):
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
        """Until everything posted is with ZeroMQ."""
        while self._outbox:
            await self._drained.park()

    async def run(self) -> None:
        """Send what `post` could not."""
        while True:
            if self._socket is None or not self._outbox:
                self._drained.unpark_all()
                await self._work.park()
                continue
            socket = self._socket
            if _try_send(socket, self._outbox[0]):
                self._outbox.popleft()
                await trio.lowlevel.checkpoint()
            elif not events(socket) & zmq.POLLOUT:
                try:
                    # The descriptor becomes readable when sending may have become possible.
                    await trio.lowlevel.wait_readable(descriptor_of(socket))
                except trio.ClosedResourceError:  # the peer was started again; its new socket is next
                    continue


def events(socket: zmq.Socket[bytes]) -> int:
    return cast(int, socket.getsockopt(zmq.EVENTS))  # half the time that `socket.EVENTS` takes


def descriptor_of(socket: zmq.Socket[bytes]) -> int:
    return cast(int, socket.getsockopt(zmq.FD))


def _try_send(socket: zmq.Socket[bytes], frames: list[Any]) -> bool:
    last = len(frames) - 1
    try:
        socket.send(frames[0], zmq.NOBLOCK | (zmq.SNDMORE if last else 0))
    except zmq.Again:
        return False
    for index in range(1, last + 1):  # once the first part is taken, the others are
        more = zmq.SNDMORE if index < last else 0
        socket.send(frames[index], zmq.NOBLOCK | more, copy=len(frames[index]) < _ZERO_COPY_MIN)
    return True
