"""Reading a PULL socket: one task that waits only when EVENTS say that nothing is there.

ZMQ_FD is edge-triggered: readable means "something changed", and any send or receive may take the edge. So one task
owns the waiting; it looks at EVENTS after every operation.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import trio
import zmq

from flow.carrier.peer import TRIPWIRE, descriptor_of, events

# A burst is drained in pieces, so that one busy peer cannot keep the loop from everyone else.
BURST = 64
FRAME_BYTES_MAX = 1 << 32


def make_inbox(sockets: zmq.Context[zmq.Socket[bytes]]) -> zmq.Socket[bytes]:
    """A socket that receives; it is not bound yet."""
    inbox = sockets.socket(zmq.PULL)
    inbox.setsockopt(zmq.RCVHWM, TRIPWIRE)
    inbox.setsockopt(zmq.MAXMSGSIZE, FRAME_BYTES_MAX)
    inbox.setsockopt(zmq.LINGER, 0)
    return inbox


def parts(inbox: zmq.Socket[bytes]) -> list[zmq.Frame]:
    """The frames of the next message. Raises `zmq.Again` when there is none."""
    frame = inbox.recv(zmq.NOBLOCK, copy=False)
    frames = [frame]
    while frame.more:
        frame = inbox.recv(zmq.NOBLOCK, copy=False)
        frames.append(frame)
    return frames


async def pump(inbox: zmq.Socket[bytes], receive: Callable[[list[zmq.Frame]], None]) -> None:
    """Hand over what comes until cancelled."""
    descriptor = descriptor_of(inbox)
    while True:
        received = 0
        # Where a connection is cut, what EVENTS told of may be gone when it is read.
        with contextlib.suppress(zmq.Again):
            # One message, most often. That no second one waits costs less to ask than to find out by an exception.
            while received < 2 and events(inbox) & zmq.POLLIN:
                receive(parts(inbox))
                received += 1
            while 2 <= received < BURST:
                receive(parts(inbox))
                received += 1
        if received == BURST:
            await trio.lowlevel.checkpoint()
        else:
            # Nothing waited when it was asked last, and nobody else touches the socket: the edge is still to come.
            await trio.lowlevel.wait_readable(descriptor)
