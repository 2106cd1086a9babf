"""Bytes of a connection come out as they went in, and who does not read is cut off and holds nothing."""

from __future__ import annotations

import contextlib
import socket

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from flow.hosts import tunnel
from flow.hosts.tunnel import Tunnel

pytestmark = pytest.mark.real_time


def stream_pair():
    return [trio.SocketStream(trio.socket.from_stdlib_socket(end)) for end in socket.socketpair()]


class Both:
    """Two ends of a tunnel with a connection through it: client ══ near ══ far ══ server."""

    def __init__(self):
        self.near, self.far = (
            Tunnel(lambda *said: self._say("far", *said)),
            Tunnel(lambda *said: self._say("near", *said)),
        )
        (self.client, self.here), (self.there, self.server) = stream_pair(), stream_pair()

    async def _say(self, to, what, number, data):
        await trio.lowlevel.checkpoint()
        getattr(self, to).take(what, number, data)

    def start(self, nursery):
        self.far.expect(7)
        nursery.start_soon(self.near.carry, 7, self.here)
        nursery.start_soon(self.far.carry, 7, self.there)


async def everything(stream):
    parts = b""
    while part := await stream.receive_some(1 << 16):
        parts += part
    return parts


@given(st.lists(st.binary(min_size=1, max_size=200_000), max_size=4), st.booleans())
async def test_all_that_goes_in_comes_out_and_then_the_end(pieces, back):
    with trio.fail_after(20):
        both, got = Both(), []
        frm, to = (both.server, both.client) if back else (both.client, both.server)
        async with trio.open_nursery() as nursery:
            both.start(nursery)

            async def receive():
                got.append(await everything(to))

            nursery.start_soon(receive)
            for piece in pieces:
                await frm.send_all(piece)
            await frm.aclose()
        assert got == [b"".join(pieces)]
        assert not both.near._streams
        assert not both.far._streams
        await to.aclose()


async def test_who_does_not_read_is_cut_off_and_nothing_is_held_for_it(monkeypatch):
    monkeypatch.setattr(tunnel, "HELD_BYTES_MAX", 1 << 20)
    with trio.fail_after(20):
        both = Both()
        async with trio.open_nursery() as nursery:
            both.start(nursery)
            with contextlib.suppress(trio.BrokenResourceError):  # which is what ends this
                while True:
                    await both.server.send_all(bytes(1 << 16))
        assert not both.near._streams
        assert not both.far._streams
        await both.client.aclose()
        await both.server.aclose()


async def test_what_comes_of_a_connection_that_is_over_is_dropped():
    async def say(what, number, data):
        raise AssertionError("nothing is said")

    Tunnel(say).take("bytes", 3, b"late")
