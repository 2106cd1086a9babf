"""The same jobs in bare pyzmq and bare trio: the limits that the benches hold flow against.

python -m tools.bench.bare ROLE PATH COUNTS      one end of a pair of processes; prints what it measured
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable

import numpy as np
import trio
import zmq

from tools.bench.stopwatch import Stopwatch

Results = dict[str, dict[str, float]]
NO_COPY_MIN = 64 * 1024
GROUP_BYTES = 4 * 84 * 84 * 4
IN_FLIGHT = 2
WINDOW = 64
_PUBLIC, _SECRET = "BENCH_SERVER_PUBLIC", "BENCH_SERVER_SECRET"


def pair(roles: tuple[str, str], counts: str, *, tcp: bool = False) -> tuple[Results, Results]:
    """Run two processes against each other over ipc, or over TCP with CURVE."""
    public, secret = zmq.curve_keypair()
    keys = {_PUBLIC: public.decode(), _SECRET: secret.decode()} if tcp else {}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        address = f"tcp://127.0.0.1:{_free_port()}" if tcp else f"ipc://{folder}/s"
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "tools.bench.bare", role, address, counts],
                stdout=subprocess.PIPE,
                env={**os.environ, **keys},
                text=True,
            )
            for role in roles
        ]
        first, second = (json.loads(process.communicate(timeout=120)[0]) for process in processes)
    return first, second


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _socket(kind: int, *, server: bool = False) -> zmq.Socket[bytes]:
    """A socket; with CURVE where this process was given keys. Without a handler of ZAP any key is let in."""
    made = zmq.Context.instance().socket(kind)
    if _PUBLIC in os.environ and server:
        made.curve_server, made.curve_secretkey = True, os.environ[_SECRET].encode()
    elif _PUBLIC in os.environ:
        made.curve_serverkey = os.environ[_PUBLIC].encode()
        made.curve_publickey, made.curve_secretkey = zmq.curve_keypair()
    return made


def push(address: str, watch: Stopwatch) -> None:
    """Send blobs, as fast as the other end takes them."""
    socket = _socket(zmq.PUSH)
    socket.setsockopt(zmq.SNDHWM, WINDOW)
    socket.connect(address)
    for size, count in watch.counts.items():
        data = bytes(int(size))
        for _ in range(count):
            socket.send(data, copy=len(data) < NO_COPY_MIN)
            watch.saw(size)
    socket.close(linger=5000)


def pull(address: str, watch: Stopwatch) -> None:
    """Receive them."""
    socket = _socket(zmq.PULL, server=True)
    socket.setsockopt(zmq.RCVHWM, WINDOW)
    socket.bind(address)
    for size, count in watch.counts.items():
        for _ in range(count):
            frame = socket.recv(copy=int(size) < NO_COPY_MIN)
            assert len(frame) == int(size)
            watch.saw(size)


def ask(address: str, watch: Stopwatch) -> None:
    """Ask one question after another."""
    socket = _socket(zmq.DEALER)
    socket.connect(address)
    for size, count in watch.counts.items():
        data = bytes(int(size))
        for _ in range(count):
            socket.send(data)
            socket.recv()
            watch.saw(size)
    socket.close(linger=1000)


def answer(address: str, watch: Stopwatch) -> None:
    """Answer each with itself."""
    socket = _socket(zmq.ROUTER, server=True)
    socket.bind(address)
    for size, count in watch.counts.items():
        for _ in range(count):
            socket.send_multipart(socket.recv_multipart())
            watch.saw(size)
    socket.close(linger=1000)


def environments(address: str, watch: Stopwatch) -> None:
    """Two groups of four environments, both asking."""
    socket = _socket(zmq.DEALER)
    socket.connect(address)
    stacks = bytes(GROUP_BYTES)
    count = watch.counts["groups"]
    for sent in range(count + IN_FLIGHT):
        if sent >= IN_FLIGHT:
            assert len(np.frombuffer(socket.recv(), np.int64)) == 4
            watch.saw("groups")
        if sent < count:
            socket.send(stacks, copy=False)
    socket.close(linger=1000)


def model(address: str, watch: Stopwatch) -> None:
    """Answers each group with four actions."""
    socket = _socket(zmq.ROUTER, server=True)
    socket.bind(address)
    for _ in range(watch.counts["groups"]):
        who, frame = socket.recv_multipart(copy=False)
        stacks = np.frombuffer(frame.buffer, np.uint8).reshape(4, 84, 84, 4)
        socket.send_multipart([who.bytes, np.zeros(len(stacks), np.int64).tobytes()])
        watch.saw("groups")
    socket.close(linger=1000)


def trio_channel(count: int) -> dict[str, float]:
    """A stream through a bare trio memory channel with a buffer of the same bound."""
    watch = Stopwatch({"items": count})

    async def send(channel: trio.MemorySendChannel[bytes]) -> None:
        async with channel:
            for _ in range(count):
                await channel.send(b"")

    async def run() -> None:
        to, frm = trio.open_memory_channel[bytes](WINDOW)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(send, to)
            async for _ in frm:
                watch.saw("items")

    trio.run(run)
    return watch.results["items"]


ROLES: dict[str, Callable[[str, Stopwatch], None]] = {
    role.__name__: role for role in (push, pull, ask, answer, environments, model)
}


def main() -> None:
    """Play one role."""
    role, address, counts = sys.argv[1:]
    watch = Stopwatch({size: int(count) for size, count in (pair.split(":") for pair in counts.split(","))})
    ROLES[role](address, watch)
    time.sleep(0.05)
    print(json.dumps(watch.results))


if __name__ == "__main__":
    main()
