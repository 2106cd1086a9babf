"""Memory that one worker writes and another of the same host reads: records in a ring, and an arena for what is large.

    │ words          │ slots           │ ring: records              │ arena: blocks                       │
      4 KiB            4 KiB             1 MiB                        64 MiB, of which few pages are touched
      head, tail,      which blocks      what a message is, and its   lent to the receiver, who marks their
      who sleeps       are lent          bytes where they are few     slot when no view of them is left

A message below LENT_MIN bytes is copied into the ring and out of it. A larger one is copied into a block of the arena,
once, and its receiver gets views of that block; when the last is gone its slot says so, and the sender uses the block
again. Where the arena has no room a message goes through the ring in parts: slower, never stuck.

The index that says how far the ring is filled is stored after what it speaks of, so a writer that dies half-way said
nothing. What is read is held against the layout first, since the other process may be broken: a record that cannot be
is a WireError, and reading goes on behind all that was said until then.

x86 keeps stores in order, and loads; what it may turn around is a store and a later load, which is where the fence
stands. Elsewhere Python has no means to order them, so this carrier is for x86-64 alone: see `available`.
"""

from __future__ import annotations

import fcntl
import mmap
import os
import platform
import struct
import sys
import threading
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np

from flow.arena import ALIGNMENT, Arena
from flow.carrier.published import Receiver
from flow.errors import WireError
from flow.message import Array
from flow.wire import FRAMES_MAX, Frames

RING = 1 << 20
ARENA = 64 << 20
# Messages from so many bytes on are lent. Copying 64 KiB in and out costs 8 us and lending it 11, at 160 KiB they cost
# the same; but small messages sweep through the ring, and large ones use the same place again and again, which is in
# the cache: `tools.bench.serve` (110 KiB a message) says 103 k observations/s with 64 KiB here, 54-77 k with 128.
LENT_MIN = 64 * 1024
# As many as blocks can be: none is smaller.
SLOTS = ARENA // LENT_MIN
_SLOTS_AT, _RING_AT = 4096, 8192
_ARENA_AT = _RING_AT + RING
SIZE = _ARENA_AT + ARENA
# How many lent blocks are looked at for each that is lent: those who hold many must not make sending slow.
TAKE_BACK = 8
PART_MAX = 128 * 1024
WHOLE_MAX = 1 << 32
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL

# Words, each in a cache line of its own: what is written and what is taken, and whether an end waits for the other.
_HEAD, _TAIL, _ASLEEP, _BLOCKED = 8, 16, 24, 32
# A record: its bytes, kind, count of frames, and two numbers whose meaning is the kind's. Then the frames' lengths.
_RECORD = struct.Struct("<IHHQQ")
_RECORD_OF_1 = struct.Struct("<IHHQQQ")
_PADDING = struct.Struct("<IH")
_PAD, _COPIED, _LENT, _BEGIN, _PART, _VALUE = range(6)

_lock = threading.Lock()


def available() -> bool:
    """Whether this machine has what the carrier needs."""
    return sys.platform == "linux" and platform.machine() == "x86_64"


def _fence() -> None:
    # Taking a lock is a locked instruction, over which x86 moves no load and no store.
    _lock.acquire()
    _lock.release()


def make() -> int:
    """The descriptor of new memory, which has no name and so goes with the last who holds it.

    Raises:
      OSError: there is no room.
    """
    descriptor = os.memfd_create("flow", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, SIZE)
        # A reader of memory that may shrink could be killed by its peer's hand (SIGBUS).
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
        os.posix_fallocate(descriptor, 0, _ARENA_AT)
    except OSError:
        os.close(descriptor)
        raise
    return descriptor


def trusted(memory: int, *bells: int) -> bool:
    """Whether memory and bells from another process are what they should be, and will stay so."""
    try:
        sealed = fcntl.fcntl(memory, fcntl.F_GET_SEALS) & SEALS == SEALS
        kinds = [os.readlink(f"/proc/self/fd/{bell}") for bell in bells]
        return sealed and os.fstat(memory).st_size == SIZE and kinds == ["anon_inode:[eventfd]"] * len(bells)
    except OSError:
        return False


class _End:
    """What both ends hold. bell, room: eventfds by which the writer wakes the reader and the reader the writer."""

    def __init__(self, descriptor: int, bell: int, room: int) -> None:
        mapped = mmap.mmap(descriptor, SIZE)
        self.bell, self.room = bell, room
        self._memory = memoryview(mapped)
        self._words: memoryview[int] = self._memory[:_SLOTS_AT].cast("Q")
        self._slots = self._memory[_SLOTS_AT : _SLOTS_AT + SLOTS]

    def close(self) -> None:
        """Close the bells. The memory stays as long as there are views of it."""
        os.close(self.bell)
        os.close(self.room)


class Writer(_End):
    """The sending end."""

    def __init__(self, descriptor: int, bell: int, room: int) -> None:
        super().__init__(descriptor, bell, room)
        self._head = self._tail = 0
        self._arena = Arena(ARENA)
        self._free = list(range(SLOTS - 1, -1, -1))
        self._lent: dict[int, tuple[int, int]] = {}  # by slot: where its block is, and its bytes

    def send(self, frames: Frames) -> bool:
        """Send a message, unless there is no room for it now."""
        if len(frames) == 1:
            size = len(frames[0])
            return self._copy(frames[0], size) if size < LENT_MIN else self._lend(frames)
        lengths = [len(frame) for frame in frames]
        return self._put(_COPIED, lengths, frames) if sum(lengths) < LENT_MIN else self._lend(frames)

    def begin_parts(self, frames: Frames) -> bool:
        """Say that a message follows in parts. False if there is no room to say so."""
        lengths = [len(frame) for frame in frames]
        return self._put(_BEGIN, lengths, [], sum(lengths))

    def send_part(self, part: Any) -> bool:
        """The next part, of at most PART_MAX bytes."""
        return self._put(_PART, [], [part], len(part))

    def tell(self, frames: Frames, number: int, slot: int) -> bool:
        """Tell of a published value, of which the first frame alone goes through the ring."""
        return self._put(_VALUE, [len(frame) for frame in frames], frames[:1], number, slot)

    def tire(self) -> bool:
        """Ask to be woken by `room` when there is more room. False if there is already."""
        self._words[_BLOCKED] = 1
        _fence()
        if self._tail < self._words[_TAIL] <= self._head:
            self._words[_BLOCKED] = 0
            return False
        return True

    def _copy(self, frame: Any, size: int) -> bool:
        begin = _RECORD_OF_1.size
        whole = _up(begin + size, 8)
        at = self._place(whole)
        if at < 0:
            return False
        memory = self._memory
        _RECORD_OF_1.pack_into(memory, at, whole, _COPIED, 1, 0, 0, size)
        memory[at + begin : at + begin + size] = frame
        self._publish(whole)
        return True

    def _put(self, kind: int, lengths: list[int], parts: Frames, first: int = 0, second: int = 0) -> bool:
        begin = _RECORD.size + 8 * len(lengths)
        whole = begin + sum(_up(len(part), 8) for part in parts)
        at = self._place(whole)
        if at < 0:
            return False
        memory = self._memory
        _RECORD.pack_into(memory, at, whole, kind, len(lengths), first, second)
        struct.pack_into(f"<{len(lengths)}Q", memory, at + _RECORD.size, *lengths)
        at += begin
        for part in parts:
            memory[at : at + len(part)] = part
            at += _up(len(part), 8)
        self._publish(whole)
        return True

    def _lend(self, frames: Frames) -> bool:
        lengths = [len(frame) for frame in frames]
        room = sum([_up(length, ALIGNMENT) for length in lengths])
        self._take_back(TAKE_BACK)
        place = self._arena.take(room)
        if place is None:
            self._take_back(SLOTS)
            place = self._arena.take(room)
            if place is None:
                return False
        slot = self._free.pop()
        memory, at = self._memory, _ARENA_AT + place
        for frame, length in zip(frames, lengths, strict=True):
            memory[at : at + length] = frame
            at += _up(length, ALIGNMENT)
        self._slots[slot] = 1
        if not self._put(_LENT, lengths, [], slot, place):
            self._free.append(slot)
            self._arena.give_back(place, room)
            return False
        self._lent[slot] = (place, room)
        return True

    def _take_back(self, most: int) -> None:
        """Free blocks that the receiver has no views of any more, of the `most` not looked at for longest."""
        slots, lent = self._slots, self._lent
        for slot in list(islice(lent, most)):
            block = lent.pop(slot)
            if slots[slot]:
                lent[slot] = block  # last in line
            else:
                self._arena.give_back(*block)
                self._free.append(slot)

    @property
    def lent(self) -> int:
        """How many blocks the receiver holds views of, or has not read yet."""
        self._take_back(SLOTS)
        return len(self._lent)

    def _place(self, size: int) -> int:
        """Where in memory a record of so many bytes goes; -1 if there is no room. Records do not wrap."""
        head = self._head
        at = head & RING - 1
        skip = RING - at if size > RING - at else 0
        if head + skip + size - self._tail > RING:
            tail = self._words[_TAIL]
            if not self._tail <= tail <= head:  # a reader that took what was never written: no room by its word
                return -1
            self._tail = tail
            if head + skip + size - tail > RING:
                return -1
        if skip:
            _PADDING.pack_into(self._memory, _RING_AT + at, skip, _PAD)
            self._head, at = head + skip, 0
        return _RING_AT + at

    def _publish(self, size: int) -> None:
        self._head += size
        self._words[_HEAD] = self._head
        _fence()
        if self._words[_ASLEEP]:
            self._words[_ASLEEP] = 0
            os.eventfd_write(self.bell, 1)


class _Block(np.ndarray[Any, Any]):
    """A block of the arena, as long as anybody has a view of it; then its slot says that it is free."""

    slots: memoryview
    slot: int

    def __del__(self) -> None:
        self.slots[self.slot] = 0


class Reader(_End):
    """The receiving end. values: where published values are found."""

    def __init__(self, descriptor: int, bell: int, room: int) -> None:
        super().__init__(descriptor, bell, room)
        self.values: Receiver | None = None
        self._tail = 0
        self._whole: Array | None = None  # a message that comes in parts
        self._lengths: tuple[int, ...] = ()
        self._filled = 0

    def doze(self) -> bool:
        """Ask to be woken by `bell` when something is written. False if something waits already."""
        self._words[_ASLEEP] = 1
        _fence()
        if self._words[_HEAD] == self._tail:
            return True
        self._words[_ASLEEP] = 0
        return False

    def drain(self, most: int, receive: Callable[[Frames], None]) -> int:
        """Hand over up to `most` messages that wait; how many records were read.

        Raises:
          WireError: what was written is no record. It is skipped, with all that was written behind it.
        """
        words, tail, read = self._words, self._tail, 0
        head = words[_HEAD]
        if head == tail:
            return 0
        try:
            if not tail < head <= tail + RING:
                raise WireError(f"a ring of {RING} bytes filled to {head}, of which {tail} were read")
            while tail != head and read < most:
                size, frames = self._record(tail, head - tail)
                tail += size
                read += 1
                if frames is not None:
                    self._tail = words[_TAIL] = tail
                    receive(frames)
        except WireError:
            tail, self._whole = head, None
            raise
        finally:
            self._tail = words[_TAIL] = tail
            _fence()
            if words[_BLOCKED]:
                words[_BLOCKED] = 0
                os.eventfd_write(self.room, 1)
        return read

    def _record(self, tail: int, waiting: int) -> tuple[int, Frames | None]:
        """The bytes of the record at `tail`, and the message that it ends, if it ends one."""
        memory, at = self._memory, _RING_AT + (tail & RING - 1)
        size, kind, count, first, second = _RECORD.unpack_from(memory, at)
        if size % 8 or not 8 <= size <= min(waiting, _ARENA_AT - at) or (kind != _PAD and size < _RECORD.size):
            raise WireError(f"a record of {size} bytes, where {waiting} wait")
        if kind == _PAD:
            return size, None
        begin = _RECORD.size + 8 * count
        if count > FRAMES_MAX or begin > size:
            raise WireError(f"a record of {size} bytes says that {count} lengths are in it")
        lengths = struct.unpack_from(f"<{count}Q", memory, at + _RECORD.size)
        if kind == _COPIED and count == 1 and lengths[0] <= size - begin:
            return size, [memory[at + begin : at + begin + lengths[0]].tobytes()]
        if kind == _COPIED and count:
            return size, _cut(memory[at + begin : at + size].tobytes(), lengths, 8)
        if kind == _LENT and count:
            return size, self._borrow(first, second, lengths)
        if kind == _VALUE and count and lengths[0] <= size - begin and self.values is not None:
            rest = self.values.frames(first, second, lengths[1:])
            return size, [memory[at + begin : at + begin + lengths[0]].tobytes(), *rest]
        if kind == _BEGIN and count and 0 < first == sum(lengths) <= WHOLE_MAX:
            self._whole, self._lengths, self._filled = np.empty(first, np.uint8), lengths, 0
            return size, None
        if kind == _PART and first <= size - begin:
            return size, self._add_part(memory[at + begin : at + begin + first])
        raise WireError(f"a record of kind {kind} with {count} frames, {first} and {second}")

    def _borrow(self, slot: int, place: int, lengths: tuple[int, ...]) -> Frames:
        """Views of a block of the arena."""
        size = sum([_up(length, ALIGNMENT) for length in lengths])
        if slot >= SLOTS or place % ALIGNMENT or place + size > ARENA or not self._slots[slot]:
            raise WireError(f"a block of {size} bytes at {place} of {ARENA} in slot {slot}")
        block = _Block.__new__(_Block, (size,), np.uint8, self._memory, _ARENA_AT + place)
        block.slots, block.slot = self._slots, slot
        return _cut(block.data, lengths, ALIGNMENT)

    def _add_part(self, part: memoryview) -> Frames | None:
        whole = self._whole
        if whole is None or self._filled + len(part) > len(whole):
            raise WireError(f"a part of {len(part)} bytes of a message of {0 if whole is None else len(whole)}")
        whole[self._filled : self._filled + len(part)] = part
        self._filled += len(part)
        if self._filled < len(whole):
            return None
        self._whole = None
        return _cut(whole.data, self._lengths, 1)


def _up(size: int, multiple: int) -> int:
    return (size + multiple - 1) & -multiple  # of powers of two


def _cut(raw: Any, lengths: tuple[int, ...], alignment: int) -> Frames:
    """Frames of these lengths, each at a multiple of `alignment`."""
    view = memoryview(raw)
    if len(lengths) == 1:
        if lengths[0] > len(view):
            raise WireError(f"a frame of {lengths[0]} bytes in a record that holds {len(view)}")
        return [view[: lengths[0]]]
    frames: Frames = []
    at = 0
    for length in lengths:
        if at + length > len(view):
            raise WireError(f"frames of {lengths!r:.80} bytes in a record that holds {len(view)}")
        frames.append(view[at : at + length])
        at += _up(length, alignment)
    return frames
