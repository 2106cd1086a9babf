"""Memory in which a published value is written once for all its readers on this host.

    publisher ── writes ──► │ slots │ arrays │ ◄── maps, read-only ── reader, reader, reader
                              4 KiB: a byte for each reader, set when it is told of the value, cleared by it when no
                              view of the arrays is left

Weights go to many readers, and most often are larger than what an arena holds. Where a value is as large as
PUBLISHED_MIN its large arrays are put into memory of their own, of which each reader is given the descriptor, over the
socket on which the two workers met, and told in the ring which one it is. Memory that no reader has views of is written
again, since fresh pages cost more than the copy; more than one spare is given back. It has no name, so nothing is left
of it whoever is killed.
"""

from __future__ import annotations

import array
import contextlib
import fcntl
import mmap
import os
import socket
from dataclasses import dataclass, field
from typing import Any

import msgpack
import numpy as np

from flow.arena import rounded
from flow.errors import WireError
from flow.message import Message
from flow.wire import Frames

# Below this a value is lent as any message is: a descriptor sent and mapped costs some 50 us.
PUBLISHED_MIN = 1 << 20
SLOTS = BEGIN = 4096
SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL
_ALIVE_MAX = 64
_NOTE_MAX = 1024  # bytes that go with a descriptor: the value, its place, and which places there are


class ValueFrames(list[Any]):
    """The frames of a published value, of which all but the first are the same for all its readers."""

    def __init__(self, frames: Frames, message: Message) -> None:
        super().__init__(frames)
        self.message = message

    @property
    def large(self) -> bool:
        """Whether its arrays are put into memory of their own."""
        return sum(map(len, self[1:])) >= PUBLISHED_MIN


@dataclass(eq=False)
class Place:
    """Memory that holds one value after another. name, number: which memory it is, and which value it holds now."""

    name: int
    descriptor: int
    size: int
    memory: memoryview
    number: int = -1
    lengths: tuple[int, ...] = ()
    message: Message | None = field(default=None, repr=False)

    @property
    def free(self) -> bool:
        """Whether no reader has, or is about to have, views of it."""
        return self.memory[:SLOTS].tobytes().count(0) == SLOTS

    def lend(self) -> int:
        """The slot that a reader clears when it is done.

        Raises:
          WireError: there are more readers than slots.
        """
        slot = self.memory[:SLOTS].tobytes().find(0)
        if slot < 0:
            raise WireError(f"a published value has more than {SLOTS} readers")
        self.memory[slot] = 1
        return slot

    def lent(self, number: int, slot: int) -> bool:
        """Whether the reader of that slot may still have views of that value."""
        return self.descriptor >= 0 and self.number == number and bool(self.memory[slot])

    def close(self) -> None:
        os.close(self.descriptor)
        self.descriptor = -1
        self.memory.release()


class Publications:
    """The values that a worker published, each in one place for all its readers."""

    def __init__(self) -> None:
        self.places: list[Place] = []
        self._numbers = self._names = 0

    def hold(self, frames: ValueFrames) -> Place | None:
        """The place of a value, written if it is in none yet; None if there is no memory for it."""
        for place in self.places:
            if place.message is frames.message:
                return place
        need = BEGIN + sum(rounded(len(frame)) for frame in frames[1:])
        found = self._place(need)
        if found is None:
            return None
        place, at = found, BEGIN
        for frame in frames[1:]:
            place.memory[at : at + len(frame)] = frame
            at += rounded(len(frame))
        place.message, place.number = frames.message, self._numbers
        place.lengths = tuple(len(frame) for frame in frames[1:])
        self._numbers += 1
        return place

    def _place(self, need: int) -> Place | None:
        """A place with so many bytes that nobody reads. Of others that nobody reads, one is kept."""
        free = [place for place in self.places if place.free]
        fit = [place for place in free if need <= place.size <= 2 * need]
        kept = {id(place) for place in fit[:2]}
        for place in free:
            if id(place) not in kept:
                self.places.remove(place)
                place.close()
        if fit:
            return fit[0]
        try:
            made = _make(self._names, need)
        except OSError:
            return None
        self._names += 1
        self.places.append(made)
        return made

    def close(self) -> None:
        """Readers keep what they have views of."""
        for place in self.places:
            place.close()
        self.places.clear()


def _make(name: int, size: int) -> Place:
    descriptor = os.memfd_create("flow-value", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        os.ftruncate(descriptor, size)
        fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, SEALS)
        os.posix_fallocate(descriptor, 0, size)  # a full tmpfs is an error here, and would be a SIGBUS later
        return Place(name, descriptor, size, memoryview(mmap.mmap(descriptor, size)))
    except OSError:
        os.close(descriptor)
        raise


class Sender:
    """Gives one reader the descriptors, over the socket on which it was met; takes back its slots if it dies."""

    def __init__(self, publications: Publications, line: socket.socket) -> None:
        self.publications = publications
        self._line = line
        self._told = -1  # the value whose descriptor was sent last
        self._lent: list[tuple[Place, int, int]] = []

    def lend(self, frames: ValueFrames) -> tuple[Place, int] | None:
        """The place of a value and the reader's slot in it; None if it must go another way."""
        place = self.publications.hold(frames)
        if place is None:
            return None
        if place.number != self._told:
            try:
                alive = [place.name, *(each.name for each in self.publications.places[-_ALIVE_MAX:])]
                note = msgpack.packb([place.number, place.name, alive])
                socket.send_fds(self._line, [note], [place.descriptor])
            except OSError:  # the reader is too far behind, or gone
                return None
            self._told = place.number
        self._lent = [(each, number, slot) for each, number, slot in self._lent if each.lent(number, slot)]
        slot = place.lend()
        self._lent.append((place, place.number, slot))
        return place, slot

    def take_back(self, place: Place, slot: int) -> None:
        """The reader was not told after all."""
        place.memory[slot] = 0
        self._lent.remove((place, place.number, slot))

    def close(self) -> None:
        """The reader is gone: it has views of nothing."""
        for place, number, slot in self._lent:
            if place.lent(number, slot):
                place.memory[slot] = 0
        self._lent.clear()
        self._line.close()


class _View(np.ndarray[Any, Any]):
    """A value's arrays, as long as anybody has a view of them; then the slot says that the reader is done."""

    slots: memoryview
    slot: int

    def __del__(self) -> None:
        self.slots[self.slot] = 0


@dataclass(frozen=True)
class _Mapped:
    """A place as a reader maps it: its slots to be written, its arrays not."""

    size: int
    slots: memoryview
    arrays: mmap.mmap


class Receiver:
    """Maps the values whose descriptors come over a socket.

    A place stays mapped as long as its publisher has it: its pages are found faster the second time.
    """

    def __init__(self, line: socket.socket) -> None:
        line.setblocking(False)
        self._line = line
        self._number = -1
        self._place = -1
        self._mapped: dict[int, _Mapped] = {}

    def frames(self, number: int, slot: int, lengths: tuple[int, ...]) -> Frames:
        """The arrays of that value, read-only.

        Raises:
          WireError: its descriptor did not come, or is not what it should be.
        """
        while self._number != number:
            self._take()
        size = sum(rounded(length) for length in lengths)
        place = self._mapped[self._place]
        if slot >= SLOTS or BEGIN + size > place.size or not place.slots[slot]:
            raise WireError(f"a published value of {size} bytes in slot {slot} of memory of {place.size}")
        view = _View.__new__(_View, (size,), np.uint8, place.arrays, BEGIN)
        view.slots, view.slot = place.slots, slot
        raw, frames, at = view.data, [], 0
        for length in lengths:
            frames.append(raw[at : at + length])
            at += rounded(length)
        return frames

    def _take(self) -> None:
        """Map what comes next, unless it is mapped; forget what its publisher has no more."""
        descriptors = array.array("i")
        try:
            note, rights, _, _ = self._line.recvmsg(_NOTE_MAX, socket.CMSG_LEN(4), socket.MSG_CMSG_CLOEXEC)
            for _, _, data in rights:
                descriptors.frombytes(data[: len(data) // 4 * 4])
            number, name, alive = _read_note(note)
            if len(descriptors) != 1:
                raise WireError("a published value came without its memory")
            self._mapped = {each: place for each, place in self._mapped.items() if each in alive}
            if name not in self._mapped:
                self._mapped[name] = _map(descriptors[0])
            self._number, self._place = number, name
        except OSError as error:
            raise WireError(f"a published value cannot be mapped: {error}") from error
        finally:
            for descriptor in descriptors:
                os.close(descriptor)

    def close(self) -> None:
        """Views stay as long as somebody has them."""
        with contextlib.suppress(OSError):
            self._line.close()


def _read_note(note: bytes) -> tuple[int, int, list[int]]:
    try:
        number, name, alive = msgpack.unpackb(note, max_array_len=_NOTE_MAX, max_map_len=0, max_ext_len=0)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise WireError(f"a published value came with a note that is none: {error}") from error
    if type(number) is not int or type(name) is not int or type(alive) is not list or name not in alive:
        raise WireError(f"a published value came with a note that is none: {[number, name, alive]!r:.80}")
    return number, name, alive


def _map(descriptor: int) -> _Mapped:
    size = os.fstat(descriptor).st_size
    if fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & SEALS != SEALS or size <= BEGIN:
        raise WireError("a published value is in memory that may shrink")
    return _Mapped(size, memoryview(mmap.mmap(descriptor, SLOTS)), mmap.mmap(descriptor, size, prot=mmap.PROT_READ))
