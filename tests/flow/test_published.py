"""Published values in shared memory: written once for all readers, never changed under one, freed when replaced."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
from pathlib import Path

import msgpack
import numpy as np
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from flow import Latest, Publish, node
from flow.carrier import published, ring
from flow.carrier.published import PUBLISHED_MIN, SLOTS, Publications, Receiver, Sender, ValueFrames
from flow.errors import WireError
from tests.flow.joined import Edge, Node, joined
from tests.flow.sample_messages import Block
from tests.flow.test_zeromq import wait_until

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(not ring.available(), reason="needs Linux on x86-64"),
]


@node
async def publisher(best: Publish[Block]) -> None: ...


@node
async def reader(best: Latest[Block]) -> None: ...


NODES = [Node("p", publisher), *(Node(f"r{n}", reader) for n in range(3))]
EDGES = [Edge("p.best", f"r{n}.best", "copy") for n in range(3)]


def block(number, size=PUBLISHED_MIN):
    return Block(number, np.full(size, number % 251, np.uint8))


def whole(got):
    return bool(np.all(got.data == got.number % 251))


def frames_of(number, size=PUBLISHED_MIN):
    message = block(number, size)
    return ValueFrames([b"head", message.data.data], message)


class Pair:
    """A publisher's end of some readers, and those readers' ends."""

    def __init__(self, readers):
        self.publications = Publications()
        lines = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(readers)]
        self.senders = [Sender(self.publications, ours) for ours, _ in lines]
        self.receivers = [Receiver(theirs) for _, theirs in lines]

    def send(self, reader, frames):
        """The frames as that reader finds them."""
        place, slot = self.senders[reader].lend(frames)
        return self.receivers[reader].frames(place.number, slot, tuple(len(frame) for frame in frames[1:]))

    def __enter__(self):
        return self

    def __exit__(self, *exc):
        for end in (*self.senders, *self.receivers, self.publications):
            end.close()


async def test_a_value_is_written_once_for_all_its_readers():
    async with joined("shared", NODES, EDGES) as run:
        out = run.ports("p").best
        await wait_until(lambda: all(peer._way for peer in run.hubs["p"].peers.values()))
        await out.publish(block(7), 0)
        with trio.fail_after(10):
            got = [await run.ports(f"r{n}").best.wait() for n in range(3)]
        assert all(map(whole, got))
        assert not any(each.data.flags.writeable for each in got)
        places = run.hubs["p"]._publications.places
        assert [place.memory[:SLOTS].tobytes().count(1) for place in places] == [3]


async def test_values_that_follow_each_other_leave_what_a_reader_holds_alone():
    async with joined("shared", NODES, EDGES) as run:
        out, into = run.ports("p").best, [run.ports(f"r{n}").best for n in range(3)]
        await wait_until(lambda: all(peer._way for peer in run.hubs["p"].peers.values()))
        held = []
        for version in range(6):
            await out.publish(block(version), version)
            with trio.fail_after(10):
                got = [await port.wait(newer_than=version - 1) for port in into]
            assert [each.number for each in got] == [version] * 3
            if version == 1:
                held.append(got[0])
            del got
            assert all(map(whole, held))
        # the one that is held, the newest, and the one before it that is written next
        assert len(run.hubs["p"]._publications.places) <= 4


async def test_a_reader_that_dies_frees_what_it_held():
    async with joined("shared", NODES[:2], EDGES[:1]) as run:
        out, port = run.ports("p").best, run.ports("r0").best
        await wait_until(lambda: run.hubs["p"].peers["r0"]._way is not None)
        await out.publish(block(1), 0)
        with trio.fail_after(10):
            held = await port.wait()
        place = run.hubs["p"]._publications.places[0]
        assert not place.free
        await run.kill("r0")
        run.start("r0", 1)
        with trio.fail_after(10):
            assert whole(await run.ports("r0").best.wait())  # its successor gets the newest again
        del held
        assert [each.memory[:SLOTS].tobytes().count(1) for each in run.hubs["p"]._publications.places] == [1]


@settings(max_examples=15)
@given(data=st.data(), readers=st.integers(1, 3))
def test_whatever_is_held_stays_as_it_was_and_memory_is_bounded_by_what_is_held(data, readers):
    with Pair(readers) as pair:
        held = []
        for number in range(data.draw(st.integers(1, 12))):
            frames = frames_of(number, data.draw(st.sampled_from([4096, 9000, 40_000])))
            for who in data.draw(st.permutations(range(readers))):
                (view,) = pair.send(who, frames)
                if data.draw(st.booleans()):
                    held.append((number, view))
                del view
            # what is held, the one just written, and a spare
            assert len(pair.publications.places) <= len({before for before, _ in held}) + 2
            while held and data.draw(st.booleans()):
                held.pop(data.draw(st.integers(0, len(held) - 1)))
            assert all(bytes(view) == bytes([number]) * len(view) for number, view in held)
        held.clear()
        gc.collect()
        assert all(place.free for place in pair.publications.places)


def test_memory_that_is_in_use_no_more_is_written_again_and_stays_mapped():
    with Pair(1) as pair:
        for number in range(6):
            pair.send(0, frames_of(number))
        assert len(pair.publications.places) == 1
        assert len(pair.receivers[0]._mapped) == 1


def test_a_reader_forgets_memory_that_its_publisher_gave_back():
    with Pair(1) as pair:
        pair.send(0, frames_of(0))
        pair.send(0, frames_of(1, 4 * PUBLISHED_MIN))
        assert [place.size for place in pair.receivers[0]._mapped.values()] == [4 * PUBLISHED_MIN + SLOTS]


def test_nothing_is_left_mapped_or_open_when_all_have_closed():
    gc.collect()
    before = len(os.listdir("/proc/self/fd"))
    with Pair(2) as pair:
        views = [pair.send(who, frames_of(3)) for who in range(2)]
        assert "flow-value" in Path("/proc/self/maps").read_text()
        del views
    del pair
    gc.collect()
    assert "flow-value" not in Path("/proc/self/maps").read_text()
    assert len(os.listdir("/proc/self/fd")) == before


def test_where_there_is_no_memory_a_value_goes_another_way(monkeypatch):
    def full(descriptor, offset, size):
        raise OSError("no space left")

    with Pair(1) as pair:
        before = len(os.listdir("/proc/self/fd"))
        monkeypatch.setattr(os, "posix_fallocate", full)
        assert pair.senders[0].lend(frames_of(1)) is None
        assert len(os.listdir("/proc/self/fd")) == before


def memory(size=8192, seals=published.SEALS):
    import fcntl

    descriptor = os.memfd_create("flow-value", os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, seals)
    return descriptor


GOOD = msgpack.packb([5, 1, [1]])
WRONG = [
    (GOOD, [], "came without its memory"),
    (GOOD, [lambda: memory(seals=0)], "is in memory that may shrink"),
    (GOOD, [lambda: memory(size=4096)], "is in memory that may shrink"),
    (GOOD, [lambda: os.open("/dev/null", os.O_RDWR)], "cannot be mapped"),
    (b"", [memory], "a note that is none"),
    (msgpack.packb([5, 1]), [memory], "a note that is none"),
    (msgpack.packb(["5", 1, [1]]), [memory], "a note that is none"),
    (msgpack.packb([5, 1, [2]]), [memory], "a note that is none"),
    (GOOD, [memory], "in slot 0 of memory of 8192"),  # which is not lent
]


@pytest.mark.parametrize(("note", "make", "said"), WRONG, ids=[f"{at} {said}" for at, (_, _, said) in enumerate(WRONG)])
def test_what_is_no_value_is_refused(note, make, said):
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    receiver = Receiver(theirs)
    descriptors = [each() for each in make]
    with ours:
        if note:
            socket.send_fds(ours, [note], descriptors)
        else:
            socket.send_fds(ours, [b"\xc1"], descriptors)
        with pytest.raises(WireError, match=said):
            receiver.frames(5, 0, (100,))
    for descriptor in descriptors:
        os.close(descriptor)
    receiver.close()


def test_a_value_whose_memory_never_came_is_refused():
    with Pair(1) as pair, pytest.raises(WireError, match="a published value cannot be mapped"):
        pair.receivers[0].frames(1, 0, (100,))


def test_a_publisher_that_is_killed_leaves_nothing_but_what_its_reader_holds():
    """The memory has no name: a reader's view is all that is left of it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    script = (
        "import os, signal, socket, sys\n"
        "from tests.flow.test_published import Publications, Sender, frames_of\n"
        "line = socket.socket(fileno=int(sys.argv[1]))\n"
        "place, slot = Sender(Publications(), line).lend(frames_of(9))\n"
        "print(place.number, slot, place.lengths[0], flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    died = subprocess.run(
        [sys.executable, "-c", script, str(theirs.fileno())],
        pass_fds=[theirs.fileno()], capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert died.returncode == -9, died.stderr
    number, slot, length = map(int, died.stdout.split())
    receiver = Receiver(ours)
    (view,) = receiver.frames(number, slot, (length,))
    assert bytes(view) == bytes([9]) * length
    del view
    receiver.close()
    theirs.close()
    del receiver
    gc.collect()
    assert "flow-value" not in Path("/proc/self/maps").read_text()
