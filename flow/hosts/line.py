"""A ZeroMQ socket that sends and receives, for a trio loop.

ZMQ_FD is edge-triggered, and a send may take the edge that told of something to receive. So after each send EVENTS are
looked at again, and whoever waits is woken.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import trio
import zmq

from flow.carrier.inbox import BURST, parts
from flow.carrier.peer import descriptor_of, events

# Frames of the control connection are small, but for pieces of files.
FRAME_BYTES_MAX = 65 << 20
HIGH_WATER = 1000


class SocketLine:
    """take: given the frames of each message that comes."""

    def __init__(self, socket: zmq.Socket[bytes], take: Callable[[list[zmq.Frame]], None]) -> None:
        self._socket = socket
        self._take = take
        self._waiting: trio.CancelScope | None = None

    def send(self, frames: list[bytes]) -> bool:
        """Send now; False if it is not taken, or if whom it is for is not connected."""
        if self._socket.closed:
            return False
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK)
        except zmq.Again:
            return False
        except zmq.ZMQError as error:
            if error.errno != zmq.EHOSTUNREACH:
                raise
            return False
        finally:
            if self._waiting is not None and events(self._socket) & zmq.POLLIN:
                self._waiting.cancel()
        return True

    async def run(self) -> None:
        """Receive until cancelled or closed."""
        while not self._socket.closed:
            taken = 0
            # Where a connection is cut, what EVENTS told of may be gone when it is read.
            with contextlib.suppress(zmq.Again):
                while taken < BURST and events(self._socket) & zmq.POLLIN:
                    self._take(parts(self._socket))
                    taken += 1
            if taken == BURST:
                await trio.lowlevel.checkpoint()
                continue
            try:
                with trio.CancelScope() as self._waiting:
                    await trio.lowlevel.wait_readable(descriptor_of(self._socket))
            except trio.ClosedResourceError:
                return
            finally:
                self._waiting = None

    def close(self, linger_ms: int) -> None:
        """Close it; what ZeroMQ still holds is sent for so long."""
        if not self._socket.closed:
            trio.lowlevel.notify_closing(descriptor_of(self._socket))
            self._socket.close(linger=linger_ms)


def limited(socket: zmq.Socket[bytes]) -> zmq.Socket[bytes]:
    """With bounds to what it holds."""
    options: dict[int, Any] = {
        zmq.SNDHWM: HIGH_WATER,
        zmq.RCVHWM: HIGH_WATER,
        zmq.MAXMSGSIZE: FRAME_BYTES_MAX,
        zmq.LINGER: 0,
    }
    for option, value in options.items():
        socket.setsockopt(option, value)
    return socket
