"""The simulated network: what is sent arrives whole and in order, and of what a killed worker sent, a beginning."""

from __future__ import annotations

from random import Random

import pytest
import trio
import zmq
from hypothesis import given
from hypothesis import strategies as st

from flow.plan import Plan
from flow.testing.simulation.faults import Fault, Faults
from flow.testing.simulation.journal import Journal, Life
from flow.testing.simulation.network import Network, Socket

messages = st.lists(st.lists(st.binary(max_size=3), min_size=1, max_size=3), min_size=1, max_size=12)


def say(socket: Socket, message: list[bytes]) -> None:
    for at, part in enumerate(message):
        socket.send(part, zmq.SNDMORE if at < len(message) - 1 else 0)


def heard(socket: Socket) -> list[list[bytes]]:
    came: list[list[bytes]] = []
    more = False
    while socket.getsockopt(zmq.EVENTS) & zmq.POLLIN or more:
        frame = socket.recv(zmq.NOBLOCK, copy=False)
        came = came if more else [*came, []]
        came[-1].append(bytes(frame.buffer))
        more = frame.more
    return came


@given(sent=messages, seed=st.integers(0, 1 << 32), killed=st.sampled_from(["nobody", "sender", "receiver"]))
async def test_a_connection_keeps_its_order_and_a_kill_cuts_it(sent, seed, killed):
    journal = Journal(Plan((), ()), Faults([Fault("late", "", 2, 5.0)]))
    network = Network(Random(seed), journal, 0.01)
    lives = {"sender": Life("a", 0), "receiver": Life("b", 0)}
    inbox, out = Socket(network, zmq.PULL, lives["receiver"]), Socket(network, zmq.PUSH, lives["sender"])
    async with trio.open_nursery() as nursery:
        nursery.start_soon(network.run)
        out.connect("there")
        with pytest.raises(zmq.Again):
            out.send(b"before anybody listens")
        inbox.bind("there")
        await trio.sleep(0.1)
        for message in sent:
            say(out, message)
        if killed != "nobody":
            network.killed(lives[killed])
        await trio.sleep(60)
        assert not network.busy
        nursery.cancel_scope.cancel()
    came = heard(inbox)
    assert came == sent[: len(came)]
    assert killed == "sender" or len(came) == (len(sent) if killed == "nobody" else 0)
    for socket in (inbox, out):
        socket.close()
