"""Workers that share memory: how they come to do so, what is lent and comes back, and strangers at the door."""

from __future__ import annotations

import array
import contextlib
import gc
import os
import socket

import msgpack
import numpy as np
import pytest
import trio

from flow.carrier import ring, shared
from flow.carrier.peer import SocketWay
from flow.carrier.ring import ARENA, LENT_MIN, RING
from flow.carrier.shared import MemoryWay, doorway
from tests.flow.joined import Edge, Node, joined
from tests.flow.sample_messages import Block, Tick
from tests.flow.test_carriers import publisher, reader, sink, source
from tests.flow.test_zeromq import wait_until

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(not ring.available(), reason="needs Linux on x86-64"),
]
NODES = [Node("a", source), Node("b", sink)]
BLOCKS = [Edge("a.blocks", "b.blocks", "share", 8)]


def block(number, size):
    return Block(number, np.full(size, number % 251, np.uint8))


def whole(got):
    return bool(np.all(got.data == got.number % 251))


async def writer_of(run):
    await wait_until(lambda: run.hubs["a"].peers["b"]._way is not None)
    return run.hubs["a"].peers["b"]._way.writer


async def test_what_a_node_keeps_is_its_own_until_it_lets_go_and_then_the_sender_has_it_again():
    async with joined("shared", NODES, BLOCKS) as run:
        out, into, kept = run.ports("a").blocks, run.ports("b").blocks, []
        writer = await writer_of(run)
        for number in range(40):
            await out.send(block(number, LENT_MIN + number))
            got = await into.receive()
            if number % 4 == 0:
                kept.append(got.data[number:])  # a view of a view
        del got
        gc.collect()
        assert writer.lent == len(kept) == 10
        assert all(np.all(data == 4 * at) for at, data in enumerate(kept))
        kept.clear()
        gc.collect()
        assert writer.lent == 0


async def test_a_node_that_keeps_more_than_the_arena_holds_still_gets_every_message_whole():
    async with joined("shared", NODES, BLOCKS) as run, trio.open_nursery() as nursery:
        out, into, size, kept = run.ports("a").blocks, run.ports("b").blocks, ARENA // 6, []

        async def produce():
            for number in range(10):
                await out.send(block(number, size))
                await out.send(block(100 + number, 10))  # goes the same way, and behind
            out.end()

        nursery.start_soon(produce)
        with trio.fail_after(20):
            async for got in into:
                kept.append(got)  # noqa: PERF401  the loop is what is tested
        assert [got.number for got in kept] == [n for number in range(10) for n in (number, 100 + number)]
        assert all(map(whole, kept))
        assert (await writer_of(run)).lent == 5  # the sixth would have no room: blocks begin at cache lines


async def test_a_message_larger_than_the_arena_arrives():
    async with joined("shared", NODES, BLOCKS) as run, trio.open_nursery() as nursery:
        nursery.start_soon(run.ports("a").blocks.send, block(7, ARENA + RING))
        with trio.fail_after(20):
            got = await run.ports("b").blocks.receive()
        assert got.data.nbytes == ARENA + RING
        assert whole(got)


async def test_what_was_lent_outlives_its_sender_and_a_killed_receiver_holds_nothing():
    async with joined("shared", NODES, BLOCKS) as run:
        await run.ports("a").blocks.send(block(1, LENT_MIN))
        kept = await run.ports("b").blocks.receive()
        await run.kill("a")
        run.start("a", epoch=1)
        for number in range(2, 20):
            await run.ports("a").blocks.send(block(number, LENT_MIN))
            assert whole(await run.ports("b").blocks.receive())
        assert whole(kept)
        for number in range(3):
            await run.ports("a").blocks.send(block(number, LENT_MIN))
        await run.kill("b")
        run.start("b", epoch=1)
        gc.collect()
        assert (await writer_of(run)).lent == 0
        assert run.hubs["b"].malformed == 0
        await run.ports("a").blocks.send(block(9, LENT_MIN))
        assert whole(await run.ports("b").blocks.receive())


async def test_what_a_sender_wrote_before_it_was_killed_comes_before_what_its_successor_writes():
    edge = [Edge("a.out", "b.into", "share", 8)]
    async with joined("shared", NODES, edge) as run:
        into = run.ports("b").into
        await run.ports("a").out.send(Tick(0, 0))
        assert (await into.receive()).number == 0
        writer = await writer_of(run)
        writer._words[24] = 0  # the reader sleeps, and whoever writes next dies before it rings
        for number in (1, 2):
            await run.ports("a").out.send(Tick(0, number))
        await run.kill("a")
        run.start("a", epoch=1)
        await run.ports("a").out.send(Tick(1, 0))
        got = [await into.receive() for _ in range(3)]
        assert [(tick.sender, tick.number) for tick in got] == [(0, 1), (0, 2), (1, 0)]
        assert run.hubs["b"].lost == run.hubs["b"].malformed == 0


async def test_nothing_stays_open_however_often_workers_are_started_again():
    def open_now():
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    async with joined("shared", NODES, BLOCKS) as run:
        counts = []
        for epoch in range(1, 8):
            await run.ports("a").blocks.send(block(epoch, 2 * LENT_MIN))
            assert whole(await run.ports("b").blocks.receive())
            await run.kill("ab"[epoch % 2])
            run.start("ab"[epoch % 2], epoch)
            await trio.sleep(0.02)
            counts.append(open_now())
        assert counts[-1] <= counts[1]


async def test_a_worker_that_takes_no_memory_is_spoken_to_through_its_socket():
    async with joined("zeromq", NODES, BLOCKS) as run:
        run.hubs["a"].through_memory = True  # and b does not listen
        await run.kill("b")
        run.start("b", epoch=1)
        assert isinstance(run.hubs["a"].peers["b"]._way, SocketWay)
        await run.ports("a").blocks.send(block(5, LENT_MIN))
        with trio.fail_after(5):
            assert whole(await run.ports("b").blocks.receive())


async def test_without_memory_to_be_had_the_socket_is_used(monkeypatch):
    def full():
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(ring, "make", full)
    async with joined("shared", NODES, BLOCKS) as run:
        await run.ports("a").blocks.send(block(5, LENT_MIN))
        with trio.fail_after(5):
            assert whole(await run.ports("b").blocks.receive())
        assert isinstance(run.hubs["a"].peers["b"]._way, SocketWay)


async def test_what_is_sent_before_the_receiver_is_known_waits_for_it():
    async with joined("shared", [Node("p", publisher), Node("r", reader)], [Edge("p.best", "r.best")]) as run:
        peer = run.hubs["p"].peers["r"]
        peer.disconnect()
        peer.epoch = -1
        await run.ports("p").best.publish(Tick(0, 4), 4)
        run.hubs["p"].peer_restarted("r", run.directory / "r.0", 0)
        assert isinstance(peer._way, MemoryWay)
        with trio.fail_after(5):
            assert (await run.ports("r").best.wait(3)).number == 4


async def test_workers_that_no_link_ties_share_nothing():
    nodes = [*NODES, Node("p", publisher), Node("r", reader)]
    async with joined("shared", nodes, [*BLOCKS, Edge("p.best", "r.best")]) as run:
        await run.ports("a").blocks.send(block(0, 10))
        await run.ports("b").blocks.receive()
        await run.kill("p")
        run.start("p", epoch=1)
        await wait_until(lambda: all(hub._intake._incoming for hub in run.hubs.values()))
        shares = {name: set(hub._intake._incoming) for name, hub in run.hubs.items()}
        assert shares == {"a": {"b"}, "b": {"a"}, "p": {"r"}, "r": {"p"}}


def at_the_door(run, raw, descriptors):
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as line:
        line.connect(str(doorway(run.directory / "b.0")))
        if raw is not None:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", descriptors))] if descriptors else []
            line.sendmsg([raw], rights)


async def test_strangers_at_the_door_are_counted_and_change_nothing():
    async with joined("shared", NODES, BLOCKS) as run:
        await run.ports("a").blocks.send(block(0, 10))
        await wait_until(lambda: all(hub._intake._incoming for hub in run.hubs.values()))
        before = len(os.listdir("/proc/self/fd"))
        memory, bells, pipe = ring.make(), [os.eventfd(0) for _ in range(2)], os.pipe()
        hello = msgpack.packb([shared.FORMAT, "a", 5])
        strangers = [
            (None, []),
            (b"\xc1", []),
            (b"GET / HTTP/1.1\r\n\r\n", []),
            (msgpack.packb([]), [memory, *bells]),
            (msgpack.packb([99, "a", 5]), [memory, *bells]),
            (msgpack.packb([shared.FORMAT, 7, 5]), [memory, *bells]),
            (msgpack.packb([shared.FORMAT, "a", "x"]), [memory, *bells]),
            (hello, []),
            (hello, [memory]),
            (hello, [memory, *bells, *bells]),
            (hello, [pipe[0], *bells]),
            (hello, [memory, *pipe]),
            (msgpack.packb([shared.FORMAT, "nobody", 0]), [memory, *bells]),
        ]
        for raw, descriptors in strangers:
            at_the_door(run, raw, descriptors)
        for descriptor in (memory, *bells, *pipe):
            os.close(descriptor)
        await wait_until(lambda: run.hubs["b"].malformed == len(strangers))
        assert "dropped a peer's memory" in run.warnings[-1]
        assert len(os.listdir("/proc/self/fd")) == before
        for number in range(1, 4):
            await run.ports("a").blocks.send(block(number, 10))
        assert [(await run.ports("b").blocks.receive()).number for _ in range(4)] == [0, 1, 2, 3]


async def test_who_connects_and_says_nothing_keeps_nobody_waiting(monkeypatch):
    monkeypatch.setattr(shared, "HELLO_S", 0.05)
    async with joined("shared", NODES, BLOCKS) as run:
        with contextlib.closing(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)) as line:
            line.connect(str(doorway(run.directory / "b.0")))
            await run.ports("a").blocks.send(block(1, LENT_MIN))
            with trio.fail_after(5):
                assert whole(await run.ports("b").blocks.receive())
            await wait_until(lambda: run.hubs["b"].malformed == 1)


async def test_memory_that_is_written_over_is_counted_and_the_worker_lives():
    async with joined("shared", NODES, BLOCKS) as run:
        await run.ports("a").blocks.send(block(1, 10))
        assert (await run.ports("b").blocks.receive()).number == 1
        writer = await writer_of(run)
        writer._memory[8192 : 8192 + RING] = b"\xff" * RING
        writer._publish(64)
        os.eventfd_write(writer.bell, 1)
        await wait_until(lambda: run.hubs["b"].malformed == 1)
        assert "dropped what worker a wrote into shared memory: a record of" in run.warnings[-1]
        await run.ports("a").blocks.send(block(2, 10))
        with trio.fail_after(5):
            assert (await run.ports("b").blocks.receive()).number == 2


@pytest.mark.parametrize("carrier", ["zeromq", "shared"])
async def test_a_way_that_is_closed_as_room_comes_sends_no_more(carrier, monkeypatch):
    async with joined(carrier, NODES, BLOCKS) as run:
        await wait_until(lambda: run.hubs["a"].peers["b"]._way is not None)
        way = run.hubs["a"].peers["b"]._way
        assert type(way) is {"zeromq": SocketWay, "shared": MemoryWay}[carrier]
        closed = []

        async def closed_in_the_same_turn(descriptor):
            way.close()
            closed.append(descriptor)

        with monkeypatch.context() as patch:
            owner = way.writer if carrier == "shared" else way
            patch.setattr(owner, "send", lambda frames: False)
            patch.setattr("flow.carrier.peer.events", lambda socket: 0)
            patch.setattr(trio.lowlevel, "wait_readable", closed_in_the_same_turn)
            with pytest.raises(trio.ClosedResourceError):
                await way.push([b"x"])
        assert len(closed) == 1
        run.hubs["a"].peers["b"]._way = None  # it is closed already
