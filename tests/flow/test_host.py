"""A node in its worker: when its state is taken, and what others hear when it ends, fails or is given up."""

from __future__ import annotations

import dataclasses
import threading
from pathlib import Path

import pytest
import trio

from flow import In, Out, Saved, compute, node
from flow.carrier.zeromq import Hub
from flow.errors import SettingError
from flow.host import Host
from flow.logs import EventLog
from flow.port_spec import NeverResting
from flow.saved import unpack
from flow.stats import Page
from tests.flow.joined import Desk, Edge, Node, plan_of
from tests.flow.sample_messages import Tick
from tests.flow.test_carriers import sink, source

pytestmark = pytest.mark.real_time


@dataclasses.dataclass
class Pair:
    """Two numbers that agree between messages, and not while one is worked on."""

    before: int = 0
    after: int = 0


@node
async def worker(ticks: In[Tick], out: Out[Tick], saved: Saved) -> None:
    pair = saved.keep("pair", Pair())
    async for tick in ticks:
        pair.before += 1
        await compute(_work)
        if tick.number < 0:
            raise ValueError("a bad tick")
        if tick.number > 1_000:
            raise SettingError("too high")
        await trio.lowlevel.checkpoint()
        pair.after += 1
        await out.send(tick)


def _work() -> None:
    threading_event.wait(0.001)


threading_event = threading.Event()


@pytest.fixture
def hosted(tmp_path):
    nodes = [Node("a", source), Node("n", worker), Node("b", sink)]
    plan = plan_of(nodes, [Edge("a.out", "n.ticks", "share", 2), Edge("n.out", "b.into", "share", 2)])
    hub = Hub("w", 0, print)
    pages = {
        f"{name}-0": Page.open(tmp_path / f"{name}-0.page", node=name, worker="w", incarnation=0) for name in "anb"
    }
    desk = Desk(plan, "w", hub, {node.name: node.type for node in nodes}, {node.name: {} for node in nodes}, pages)
    desk.build()
    page = pages["n-0"]
    mine = plan.workers[0].nodes[1]
    host = Host(mine, worker, desk, page, EventLog(tmp_path, "w"), tmp_path)
    yield host, _port(desk, plan, 0, "out"), _port(desk, plan, 2, "into")
    hub._inbox.close()
    hub.sockets.term()


def _port(desk, plan, index, name):
    mine = plan.workers[0].nodes[index]
    return desk._port(mine, desk.types[mine.name].ports[name], NeverResting())


def state_of(packed):
    return unpack(packed.tensors, packed.rest)["pair"]


async def test_state_is_taken_only_between_two_messages_and_the_node_ends_its_ends(hosted):
    host, out, into = hosted
    got, states = [], []
    async with trio.open_nursery() as nursery:
        host.begin()
        nursery.start_soon(host.run, 0, None)

        async def produce():
            for number in range(30):
                await out.send(Tick(0, number))
            out.end()

        async def consume():
            got.extend([tick.number async for tick in into])

        nursery.start_soon(produce)
        nursery.start_soon(consume)
        while host.running:
            packed = await host.take_state()
            if packed is not None:
                states.append(state_of(packed))
            await trio.sleep(0.001)
    assert got == list(range(30))
    assert len(states) > 3
    # Also while it waits to send: there the message is done.
    assert all(state["before"] == state["after"] for state in states)
    assert host.ended
    assert state_of(await host.take_state()) == {"before": 30, "after": 30}


@pytest.mark.parametrize(("number", "for_good"), [(-1, False), (2_000, True)])
async def test_a_failed_node_goes_on_from_its_state_or_is_given_up(hosted, number, for_good):
    host, out, into = hosted
    await out.send(Tick(0, number))
    host.begin()
    trace = await host.run(0, None)
    assert "in node n, replica 0, start 0" in trace
    assert host.failed_for_good == for_good
    assert not host.ended
    assert await host.take_state() is None
    await out.send(Tick(0, 5))
    out.end()
    async with trio.open_nursery() as nursery:
        host.begin()
        nursery.start_soon(host.run, 1, {"pair": {"before": 7, "after": 7}})
        assert [tick.number async for tick in into] == [5]
    assert state_of(await host.take_state()) == {"before": 8, "after": 8}


async def test_a_node_given_up_ends_its_ends_and_leaves_no_half_done_state(hosted):
    host, out, into = hosted
    await out.send(Tick(0, -1))
    host.begin()
    await host.run(0, None)
    host.abandon()
    assert [tick async for tick in into] == []
    assert await host.take_state() is None
    assert host.ended


def test_a_kill_while_a_start_is_counted_leaves_the_count_before(hosted, monkeypatch):
    host, _, _ = hosted
    assert [host._starts_before(), host._starts_before()] == [0, 1]

    def killed(self, target):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            host._starts_before()
    assert host._starts_before() == 2
