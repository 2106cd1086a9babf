"""Links between hosts: strangers stay out and disturb nobody, and a link that is cut loses nothing."""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest
import trio
import zmq

from flow.carrier.curve import Address, KeyPair, be_client
from flow.carrier.zeromq import Hub
from tests.flow.joined import Edge, Node, joined
from tests.flow.sample_messages import Tick
from tests.flow.test_carriers import sink, source

pytestmark = pytest.mark.real_time
TWO = [Node("a", source), Node("b", sink)]
EDGE = [Edge("a.out", "b.into", "share", 8)]


def port_of(address: Address) -> int:
    return int(address.endpoint.rpartition(":")[2])


def knock(port: int, words: bytes) -> socket.socket:
    line = socket.create_connection(("127.0.0.1", port))
    line.sendall(words)
    return line


HTTP = b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello"
TLS = bytes.fromhex("16030100c8010000c40303") + bytes(194)


async def stream(run, count, first=0):
    """Send numbers from a to b; returns what came."""
    got, out, into = [], run.ports("a").out, run.ports("b").into

    async def send():
        for number in range(first, first + count):
            await out.send(Tick(0, number))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(send)
        while len(got) < count:
            got.append((await into.receive()).number)
    return got


@contextlib.contextmanager
def stranger(where, own, server):
    """A ZeroMQ client that says something; server: the key it expects, None to use no CURVE at all."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as push:
        push.setsockopt(zmq.LINGER, 0)
        if server is not None:
            be_client(push, own, server)
        push.connect(where.endpoint)
        push.send(b"let me in")
        yield


@pytest.mark.parametrize("who", ["http", "tls", "half_open", "no_curve", "unknown_key", "wrong_server_key"])
async def test_a_stranger_is_not_heard_and_disturbs_nobody(who):
    with trio.fail_after(30):
        async with joined("tcp", TWO, EDGE) as run:
            before, door, heard = await stream(run, 50), run.places["b"], []
            take = run.hubs["b"].gate._take
            run.hubs["b"].gate._take = lambda frames: (heard.append(frames[0].get("User-Id")), take(frames))
            with contextlib.ExitStack() as stack:
                if who in ("http", "tls", "half_open"):
                    words = {"http": HTTP, "tls": TLS, "half_open": b""}[who]
                    for _ in range(100 if who == "half_open" else 3):
                        stack.enter_context(knock(port_of(door), words))
                else:
                    server = {"no_curve": None, "unknown_key": door.key, "wrong_server_key": KeyPair.make().public}
                    stack.enter_context(stranger(door, KeyPair.make(), server[who]))
                await trio.sleep(0.3)
                after = await stream(run, 50, first=50)
            assert before + after == list(range(100))
            assert set(heard) <= {"a"}
            assert run.hubs["b"].malformed == 0
            if who == "unknown_key":
                assert run.hubs["b"].gate.keeper.refused
                await trio.sleep(1)  # one who was only early would be known by now
                assert any("its key is none of this run's" in text for text in run.warnings)


async def test_without_a_gatekeeper_nobody_gets_in():
    """Fail closed: a server whose context has no ZAP handler accepts no key, not even a right one."""
    from flow.carrier.curve import be_server

    own, other = KeyPair.make(), KeyPair.make()
    with zmq.Context() as context, context.socket(zmq.PULL) as pull, context.socket(zmq.PUSH) as push:
        push.setsockopt(zmq.LINGER, 0)
        push.setsockopt(zmq.IMMEDIATE, 1)
        be_server(pull, own)
        be_client(push, other, own.public)
        port = pull.bind_to_random_port("tcp://127.0.0.1")
        push.connect(f"tcp://127.0.0.1:{port}")
        await trio.sleep(0.5)
        with pytest.raises(zmq.Again):
            push.send(b"hello", zmq.NOBLOCK)
        assert not pull.poll(0)


def test_a_hub_without_keys_says_that_it_cannot_speak_over_tcp():
    hub = Hub("w", 0, print)
    hub.peer("other")
    try:
        with pytest.raises(ValueError, match=r"tcp://10\.0\.0\.1:5: this worker has no keys to speak over TCP"):
            hub.peer_restarted("other", Address("tcp://10.0.0.1:5", KeyPair.make().public), 0)
    finally:
        hub._inbox.close()
        hub.sockets.term()


class Cable:
    """Passes bytes on, and can be pulled: connections are reset, with what was in them; or swallow what passes."""

    def __init__(self, nursery, to: int) -> None:
        self.nursery, self.to = nursery, to
        self.lines: list[trio.SocketStream] = []
        self.plugged, self.swallows = True, False

    async def listen(self) -> int:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.nursery.start_soon(trio.serve_listeners, self._serve, [listener])
        return listener.socket.getsockname()[1]

    async def _serve(self, near) -> None:
        if not self.plugged:
            await near.aclose()
            return
        async with near, await trio.open_tcp_stream("127.0.0.1", self.to) as far:
            self.lines += [near, far]
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pass, near, far)
                nursery.start_soon(self._pass, far, near)

    async def _pass(self, frm, to) -> None:
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):
            async for some in frm:
                if not self.swallows:
                    await to.send_all(some)
            await to.aclose()

    def pull(self) -> None:
        self.plugged = False
        for line in self.lines:
            line.socket.close()
        self.lines.clear()


@pytest.mark.parametrize("cut", ["to_receiver", "to_sender"])
@pytest.mark.parametrize("swallows", [False, True])
async def test_a_cut_link_that_comes_back_loses_and_doubles_nothing(cut, swallows):
    count = 400
    with trio.fail_after(40):
        async with joined("tcp", TWO, EDGE) as run, trio.open_nursery() as nursery:
            into, out = {"to_receiver": ("b", "a"), "to_sender": ("a", "b")}[cut]
            cable = Cable(nursery, port_of(run.places[into]))
            address = Address(f"tcp://127.0.0.1:{await cable.listen()}", run.places[into].key)
            run.hubs[out].peers[into].disconnect()
            run.hubs[out].peers[into].epoch = -1
            run.hubs[out].peer_restarted(into, address, 0)
            got = []

            async def nemesis():
                for _ in range(4):
                    await trio.sleep(0.15)
                    cable.swallows = swallows  # what is sent now goes nowhere, though the link seems well
                    await trio.sleep(0.05)
                    cable.pull()
                    await trio.sleep(0.1)
                    cable.plugged, cable.swallows = True, False

            async def send():
                for number in range(count):
                    await run.ports("a").out.send(Tick(0, number))
                    await trio.sleep(0.002)
                run.ports("a").out.end()

            nursery.start_soon(nemesis)
            nursery.start_soon(send)
            got = [tick.number async for tick in run.ports("b").into]
            assert got == list(range(count))
            assert run.hubs["b"].lost == run.hubs["b"].malformed == 0
            nursery.cancel_scope.cancel()


# Two hosts: network namespaces joined by a cable of the kernel's.


def ip(*arguments: str) -> None:
    subprocess.run(arguments, check=True, capture_output=True, text=True)


@pytest.fixture
def hosts():
    """Names of two network namespaces, 10.77.0.1 and 10.77.0.2."""
    if shutil.which("ip") is None or shutil.which("tc") is None:
        pytest.skip("needs the commands ip and tc: install iproute2")
    one, two = f"flow{os.getpid()}a", f"flow{os.getpid()}b"
    try:
        for name in (one, two):
            ip("ip", "netns", "add", name)
        ip("ip", "link", "add", "v0", "netns", one, "type", "veth", "peer", "name", "v0", "netns", two)
    except subprocess.CalledProcessError as error:
        for name in (one, two):
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
        pytest.skip(f"network namespaces are not permitted here: {error.stderr.strip()}")
    for number, name in enumerate((one, two), 1):
        ip("ip", "-n", name, "addr", "add", f"10.77.0.{number}/24", "dev", "v0")
        ip("ip", "-n", name, "link", "set", "v0", "up")
    yield one, two
    for name in (one, two):
        ip("ip", "netns", "del", name)


def make_worse(host: str) -> None:
    """Let what the host sends come late, and some of it not at all."""
    netem = ["tc", "-n", host, "qdisc", "add", "dev", "v0", "root", "netem", "delay", "20ms", "5ms", "loss", "3%"]
    made = subprocess.run(netem, capture_output=True, text=True, check=False)
    if made.returncode:
        pytest.skip(f"this kernel has no netem: {made.stderr.strip()}")


@contextlib.contextmanager
def within(host: str):
    """What is opened here, and threads that are started here, belong to the namespace."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open("/proc/self/ns/net") as home, Path(f"/run/netns/{host}").open() as there:
        assert libc.setns(there.fileno(), 0) == 0, os.strerror(ctypes.get_errno())
        try:
            yield
        finally:
            assert libc.setns(home.fileno(), 0) == 0


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["none", "delay_and_loss", "cut", "one_way"])
async def test_two_hosts_hear_each_other_whatever_the_network_does(hosts, trouble):
    one, two = hosts
    if trouble == "delay_and_loss":
        make_worse(one)
    count = 300
    with trio.fail_after(60):
        places = {"a": (one, "10.77.0.1"), "b": (two, "10.77.0.2")}
        async with joined("tcp", TWO, EDGE, places, within) as run, trio.open_nursery() as nursery:

            async def nemesis():
                await trio.sleep(0.2)
                if trouble == "cut":
                    ip("ip", "-n", two, "link", "set", "v0", "down")
                    await trio.sleep(7)  # longer than heartbeats wait
                    ip("ip", "-n", two, "link", "set", "v0", "up")
                elif trouble == "one_way":
                    ip("ip", "-n", two, "route", "add", "blackhole", "10.77.0.1")
                    await trio.sleep(7)
                    ip("ip", "-n", two, "route", "del", "blackhole", "10.77.0.1")

            async def send():
                for number in range(count):
                    await run.ports("a").out.send(Tick(0, number))
                    await trio.sleep(0.002)
                run.ports("a").out.end()

            nursery.start_soon(nemesis)
            nursery.start_soon(send)
            got = [tick.number async for tick in run.ports("b").into]
            assert got == list(range(count))
            assert run.hubs["b"].lost == run.hubs["b"].malformed == 0
