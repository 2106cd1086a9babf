"""The control socket: who may speak, what a bad request gets, and that nobody waits for a client that does not read."""

from __future__ import annotations

import contextlib
import os
import socket
import tempfile
from pathlib import Path

import pytest
import trio
import trio.testing

from flow.errors import ControlError
from flow.inspect import server as server_module
from flow.inspect.protocol import VERSION, Unpacker, pack, split_address, split_port
from flow.inspect.server import CLIENTS_MAX, OUTBOX_BYTES, REQUEST_MAX, ControlServer, asked

pytestmark = pytest.mark.real_time


class Peer:
    """The other end of a control socket, in the same loop."""

    def __init__(self, stream):
        self.stream, self.unpacker, self.heard = stream, Unpacker(1 << 26), []

    async def hear(self):
        while not self.heard:
            part = await self.stream.receive_some(1 << 16)
            if not part:
                return None
            self.heard += self.unpacker.feed(part)
        return self.heard.pop(0)

    async def ask(self, **words):
        await self.stream.send_all(pack(words))
        return await self.hear()


@pytest.fixture
def place():
    with tempfile.TemporaryDirectory(prefix="flow") as folder:
        yield Path(folder) / "main.control"


@contextlib.asynccontextmanager
async def serving(place, **handlers):
    """A server, and what connects to it; all ends with the block."""
    peers, warnings = [], []
    control = ControlServer(place, {"run": "r", "who": "worker main", "pid": 1}, handlers, warnings.append)

    async def connect():
        peers.append(Peer(await trio.open_unix_socket(str(place))))
        return peers[-1]

    async with trio.open_nursery() as nursery:
        nursery.start_soon(control.run)
        await trio.testing.wait_all_tasks_blocked()
        try:
            yield control, connect
            assert not warnings
        finally:
            for peer in peers:
                peer.stream.socket.close()
            nursery.cancel_scope.cancel()


async def echo(client, request):
    return {"said": asked(request, "word", str)}


async def test_it_says_hello_answers_each_request_by_its_number_and_explains_what_is_wrong(place):
    async with serving(place, echo=echo) as (_, connected):
        assert (place.stat().st_mode & 0o777) == 0o600
        peer = await connected()
        hello = await peer.hear()
        assert (hello["flow"], hello["version"], hello["who"]) == ("control", VERSION, "worker main")
        assert await peer.ask(id=7, do="echo", word="x") == {"id": 7, "ok": {"said": "x"}}
        assert (await peer.ask(id=8, do="ecko"))["error"] == "'ecko' is nothing that worker main does; it does echo"
        assert (await peer.ask(id=9, do="echo"))["error"] == "echo needs word, str"
        assert (await peer.ask(id=9, do="echo", word=5))["error"] == "echo: expected word to be str, found 5"
    assert not place.exists()


async def test_who_talks_rubbish_or_asks_too_much_is_cut_off_and_the_others_are_not(place):
    async with serving(place, echo=echo) as (control, connected):
        good = await connected()
        await good.hear()
        for rubbish in (b"GET / HTTP/1.1\r\n\r\n", b"\xff" * 8, (REQUEST_MAX + 1).to_bytes(4, "little")):
            bad = await connected()
            await bad.hear()
            await bad.stream.send_all(rubbish)
            assert "error" in await bad.hear()
            assert await bad.hear() is None
        assert (await good.ask(id=1, do="echo", word="still"))["ok"] == {"said": "still"}
        others = [await connected() for _ in range(CLIENTS_MAX)]
        assert await others[0].hear() is not None
        assert await others[-1].hear() is None
        assert len(control.clients) == CLIENTS_MAX


async def test_another_user_is_not_heard(place, monkeypatch):
    async with serving(place, echo=echo) as (_, connected):
        monkeypatch.setattr(server_module.os, "getuid", lambda: os.geteuid() + 1)
        assert await (await connected()).hear() is None


async def test_a_client_that_does_not_read_is_dropped_for_and_what_it_opened_is_closed_when_it_goes(place):
    taken, filled, undone = [], trio.Event(), trio.Event()

    async def flood(client, request):
        client.closing["tap"] = undone.set
        frame = pack({"tap": 1, "sample": b"x" * 100_000})
        taken.append(sum(client.offer(frame) for _ in range(1000)))
        filled.set()
        return {}

    async with serving(place, flood=flood) as (_, connected):
        peer = await connected()
        with trio.fail_after(2):
            await peer.stream.send_all(pack({"id": 1, "do": "flood"}))
            await filled.wait()
        assert 10 < taken[0] <= OUTBOX_BYTES // 100_000 + 1
        await peer.stream.aclose()
        with trio.fail_after(2):
            await undone.wait()


async def test_a_socket_that_an_earlier_start_left_is_taken_over(place):
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(place))
    async with serving(place, echo=echo) as (_, connected):
        assert (await (await connected()).hear())["flow"] == "control"


def test_addresses_are_nodes_with_or_without_a_replica_and_ports_stand_behind_the_last_dot():
    assert split_address("actor") == ("actor", None)
    assert split_address("agent@rate=1e-4.actor[12]") == ("agent@rate=1e-4.actor", 12)
    assert split_port("agent.policy[1].requests") == ("agent.policy", 1, "requests")
    assert split_port("actor.trajectories") == ("actor", None, "trajectories")
    with pytest.raises(ControlError, match=r"actor\[1\] for the second"):
        split_address("actor[x]")
    with pytest.raises(ControlError, match=r"names no port or setting; write NODE\.NAME"):
        split_port("actor")


async def test_a_mistake_in_a_handler_is_told_and_logged_and_serving_goes_on(place):
    async def broken(client, request):
        raise KeyError("oh")

    warnings = []
    control = ControlServer(place, {"who": "worker main"}, {"broken": broken, "echo": echo}, warnings.append)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(control.run)
        await trio.testing.wait_all_tasks_blocked()
        async with await trio.open_unix_socket(str(place)) as stream:
            peer = Peer(stream)
            await peer.hear()
            assert "'broken' failed: KeyError('oh')" in (await peer.ask(id=1, do="broken"))["error"]
            assert "Traceback" in warnings[0]
            assert (await peer.ask(id=2, do="echo", word="on"))["ok"] == {"said": "on"}
        nursery.cancel_scope.cancel()
