"""Memory between two workers: what is written arrives whole and in order, and nothing that is wrong is believed."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import struct
import time
from collections import deque

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.carrier import ring
from flow.carrier.ring import ARENA, LENT_MIN, PART_MAX, RING, SIZE, SLOTS, Reader, Writer
from flow.errors import WireError

pytestmark = pytest.mark.skipif(not ring.available(), reason="needs Linux on x86-64")
SLOTS_AT, RING_AT = 4096, 8192


@contextlib.contextmanager
def ends():
    """A writer and a reader of the same memory, and the memory itself."""
    descriptor = ring.make()
    bells = [os.eventfd(0, os.EFD_NONBLOCK) for _ in range(2)]
    writer, reader = Writer(descriptor, *bells), Reader(descriptor, *bells)
    try:
        yield writer, reader
    finally:
        os.close(descriptor)
        writer.close()


def message(number, sizes):
    """Frames of these sizes, filled so that no two messages look alike."""
    return [bytes([number % 251]) * size for size in sizes]


def read(reader, most=5000):
    got = []
    reader.drain(most, lambda frames: got.append([bytes(frame) for frame in frames]))
    return got


def rung(bell):
    try:
        return os.eventfd_read(bell)
    except BlockingIOError:
        return 0


sizes = st.lists(
    st.sampled_from([0, 1, 7, 8, 300, LENT_MIN - 1, LENT_MIN, LENT_MIN + 1, 3 * LENT_MIN, RING]), min_size=1, max_size=3
)


@given(steps=st.lists(st.one_of(sizes, st.integers(1, 5), st.none()), max_size=30))
def test_messages_arrive_whole_in_order_and_stay_as_they_were_while_anybody_holds_them(steps):
    with ends() as (writer, reader):
        waiting, held = deque(), []

        def take(frames):
            number, sent = waiting.popleft()
            assert [bytes(frame) for frame in frames] == sent
            held.append((number, frames, sent))

        for number, step in enumerate(steps):
            if isinstance(step, list):
                frames = message(number, step)
                if writer.send(frames):
                    waiting.append((number, frames))
                else:
                    assert waiting or held  # there is room for one, whatever its size
            elif step is None:
                held = held[1::2]
            else:
                before = len(waiting)
                reader.drain(step, take)
                assert step > before or len(waiting) < before
            assert all([bytes(frame) for frame in frames] == sent for _, frames, sent in held)
        reader.drain(1000, take)
        assert not waiting
        held.clear()
        gc.collect()
        assert writer.lent == 0
        assert writer._arena.free == ARENA


@given(sizes=st.lists(st.sampled_from([0, 1, PART_MAX - 1, PART_MAX, 3 * PART_MAX + 5]), min_size=1, max_size=4))
def test_a_message_in_parts_arrives_as_one(sizes):
    frames = message(3, [*sizes, 9])
    with ends() as (writer, reader):
        got = []
        assert writer.begin_parts(frames)
        for frame in frames:
            for start in range(0, len(frame), PART_MAX):
                while not writer.send_part(frame[start : start + PART_MAX]):
                    got += read(reader)
        assert writer.send([b"next"])
        assert got + read(reader) == [frames, [b"next"]]


def test_a_full_ring_and_a_full_arena_refuse_and_have_room_again_when_it_was_read():
    with ends() as (writer, reader):
        sent = 0
        while writer.send([bytes(1000)]):
            sent += 1
        assert sent * 1000 < RING < (sent + 1) * 1100
        assert len(read(reader)) == sent
        held = []
        while writer.send([bytes(ARENA // 8)]):
            reader.drain(10, held.append)
        assert len(held) == 8 == writer.lent
        assert writer.send([b"small"])  # which needs no arena
        del held[3]
        assert writer.send([bytes(ARENA // 8)])
        assert not writer.send([bytes(ARENA + 1)])


def test_all_blocks_of_an_arena_have_slots_and_come_back():
    with ends() as (writer, reader):
        held = []
        for _ in range(ARENA // LENT_MIN):
            assert writer.send([bytes(LENT_MIN)])
            reader.drain(10, held.append)
        assert not writer.send([bytes(LENT_MIN)])
        held.clear()
        assert writer.lent == 0


def test_who_sleeps_is_woken_once_and_who_does_not_is_not():
    with ends() as (writer, reader):
        assert writer.send([b"a"])
        assert not rung(reader.bell)  # nobody sleeps
        assert not reader.doze()  # something waits
        read(reader)
        assert reader.doze()
        assert writer.send([b"b"])
        assert writer.send([b"c"])
        assert rung(reader.bell) == 1
        while writer.send([bytes(5000)]):
            pass
        assert writer.tire()
        assert not rung(writer.room)
        read(reader)
        assert rung(writer.room) == 1
        assert not writer.tire()  # there is room already


where = st.one_of(
    st.integers(8, 32).map(lambda word: 8 * word),
    st.integers(SLOTS_AT, SLOTS_AT + 8),
    st.integers(RING_AT, RING_AT + 600),
    st.integers(0, RING_AT + RING - 1),
)


@given(
    sent=st.lists(st.lists(st.integers(0, 200), min_size=1, max_size=3), max_size=6),
    large=st.booleans(),
    flips=st.lists(st.tuples(where, st.binary(min_size=1, max_size=8)), min_size=1, max_size=6),
)
def test_whatever_is_written_over_the_memory_is_refused_or_read_as_bytes_and_reading_goes_on(sent, large, flips):
    with ends() as (writer, reader):
        for number, lengths in enumerate(sent):
            assert writer.send(message(number, lengths))
        if large:
            assert writer.send([b"x" * 40, b"y" * LENT_MIN])
        for at, raw in flips:
            reader._memory[at : at + len(raw)] = raw
        for _ in range(3):
            with contextlib.suppress(WireError):
                reader.drain(1000, lambda frames: [bytes(frame) for frame in frames])
        writer._words[8] = writer._head = reader._tail  # the writer goes on from where it is read
        writer._tail = reader._tail
        assert writer.send([b"good"])
        assert read(reader) == [[b"good"]]


RECORD = struct.Struct("<IHHQQ")
COPIED, LENT, BEGIN, PART = 1, 2, 3, 4
WRONG = [
    (RECORD.pack(4, COPIED, 1, 0, 0), "a record of 4 bytes"),
    (RECORD.pack(25, COPIED, 1, 0, 0), "a record of 25 bytes"),
    (RECORD.pack(1 << 16, COPIED, 1, 0, 0), "a record of 65536 bytes, where 64 wait"),
    (RECORD.pack(16, COPIED, 0, 0, 0), "a record of 16 bytes"),
    (RECORD.pack(64, COPIED, 6, 0, 0), "a record of 64 bytes says that 6 lengths are in it"),
    (RECORD.pack(64, COPIED, 1, 0, 0) + struct.pack("<Q", 33), "a frame of 33 bytes in a record that holds 32"),
    (RECORD.pack(64, COPIED, 2, 0, 0) + struct.pack("<QQ", 8, 17), "frames of (8, 17) bytes in a record that holds 24"),
    (RECORD.pack(64, 9, 1, 0, 0), "a record of kind 9 with 1 frames"),
    (RECORD.pack(64, LENT, 1, SLOTS, 0) + struct.pack("<Q", 8), f"in slot {SLOTS}"),
    (RECORD.pack(64, LENT, 1, 1, 0) + struct.pack("<Q", 8), "in slot 1"),  # which is not lent
    (RECORD.pack(64, LENT, 1, 0, 8) + struct.pack("<Q", 8), "a block of 64 bytes at 8 of"),
    (RECORD.pack(64, LENT, 1, 0, 64) + struct.pack("<Q", ARENA), "a block of"),
    (RECORD.pack(64, LENT, 2, 0, 0) + struct.pack("<QQ", 1 << 63, 1 << 63), "a block of"),
    (RECORD.pack(64, BEGIN, 1, 9, 0) + struct.pack("<Q", 8), "a record of kind 3 with 1 frames, 9"),
    (RECORD.pack(64, BEGIN, 1, 1 << 40, 0) + struct.pack("<Q", 1 << 40), "a record of kind 3 with 1 frames"),
    (RECORD.pack(64, PART, 0, 8, 0), "a part of 8 bytes of a message of 0"),
    (RECORD.pack(64, PART, 0, 48, 0), "a record of kind 4 with 0 frames, 48"),
    (RECORD.pack(64, 5, 1, 0, 0) + struct.pack("<Q", 8), "a record of kind 5 with 1 frames"),  # no value can come here
]


@pytest.mark.parametrize(("raw", "said"), WRONG, ids=[f"{at} {said[:30]}" for at, (_, said) in enumerate(WRONG)])
def test_what_is_wrong_with_a_record_is_said_and_what_follows_is_read(raw, said):
    with ends() as (writer, reader):
        writer._slots[0] = 1
        writer._memory[RING_AT : RING_AT + len(raw)] = raw
        writer._publish(64)
        with pytest.raises(WireError) as caught:
            read(reader)
        assert said in str(caught.value)
        assert writer.send([b"good"])
        assert read(reader) == [[b"good"]]


@pytest.mark.parametrize("head", [0, RING + 48, 1 << 63])
def test_an_index_that_cannot_be_is_not_believed(head):
    with ends() as (writer, reader):
        assert writer.send([b"ab"])
        read(reader)
        writer._words[8] = head
        with pytest.raises(WireError, match=rf"a ring of {RING} bytes filled to"):
            read(reader)


@pytest.mark.parametrize("tail", [1 << 63, RING])
def test_a_reader_that_says_it_took_what_was_never_written_makes_no_room(tail):
    with ends() as (writer, reader):
        reader._words[16] = tail
        while writer.send([bytes(30_000)]):
            assert writer._head <= RING
        assert writer.tire()  # it waits, and does not turn for ever
        reader._words[16] = 0
        assert len(read(reader)) == 34


def test_memory_that_is_too_small_or_may_shrink_is_not_mapped(tmp_path):
    good = ring.make()
    unsealed = os.memfd_create("flow", os.MFD_ALLOW_SEALING)
    os.ftruncate(unsealed, SIZE)
    small = os.memfd_create("flow", os.MFD_ALLOW_SEALING)
    file = os.open(tmp_path / "file", os.O_RDWR | os.O_CREAT)
    os.ftruncate(file, SIZE)
    pipe = os.pipe()
    try:
        assert [ring.trusted(one) for one in (good, unsealed, small, file, pipe[0])] == [True] + [False] * 4
        with pytest.raises(PermissionError):
            os.ftruncate(good, 0)
    finally:
        for descriptor in (good, unsealed, small, file, *pipe):
            os.close(descriptor)


@pytest.mark.real_time
def test_a_writer_killed_at_any_moment_leaves_whole_messages_only():
    for pause in (0.002, 0.005, 0.011, 0.017):
        with ends() as (writer, reader):
            child = os.fork()
            if child == 0:
                number = 0
                while True:
                    frames = [struct.pack("<Q", number), *message(number, (100, number % 3 * LENT_MIN))]
                    number += writer.send(frames)
            numbers = []

            def take(frames, numbers=numbers):
                (number,) = struct.unpack("<Q", frames[0])
                fill = number % 251
                assert all(np.all(np.frombuffer(frame, np.uint8) == fill) for frame in frames[1:] if len(frame))
                numbers.append(number)

            while not numbers:
                reader.drain(100, take)
            until = time.monotonic() + pause
            while time.monotonic() < until:
                reader.drain(100, take)
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            while reader.drain(100, take):
                pass
            assert numbers == list(range(len(numbers)))
