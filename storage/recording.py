"""A stream of messages on disk, as they would travel: appended one after the other, read back the same bit for bit.

    0       ──► checksum, description: name and fields of the messages, where they were recorded
    number  ──► checksum, a message: its frames (flow/wire.py) with their lengths

A recording is a directory that holds one LMDB environment. Each message is a transaction: it is there whole or not at
all, and a writer that is killed, or whose disk is full, costs the one under way. A power cut may cost what was written
since the last sync. Each message has the sequence number that it had among all that there were: where some were
missed, numbers are, so that a recording with gaps says so.

One process writes a recording, any number read it meanwhile.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgpack

from flow import disk
from flow.errors import MissingError, StorageError, WireError
from flow.message import SCALARS, Dim, Field, Message
from flow.wire import decode, encode
from flow.wire_layout import FORMAT, Kind, Schema
from storage.environment import DATA, LOCK, Environment, acquire, explained

M = TypeVar("M", bound=Message)

SUFFIX = ".flow"
HEAD = b"\0"
"""Key of the description; it sorts before all numbers, which have eight bytes."""
PIECE_MESSAGES, PIECE_BYTES = 64, 4 << 20
"""What is read in one transaction: a longer one would keep the writer from using its pages again."""
_KEY = struct.Struct(">Q")
_SUM = struct.Struct("<I")
_COUNT = struct.Struct("<I")
_LENGTH = struct.Struct("<Q")
_SCALARS = {name: kind for kind, name in SCALARS.items()}
_BEFORE = b"flowrec"
"""How files began that an earlier version wrote."""


@dataclass(frozen=True)
class Recorded(Generic[M]):
    """A message of a recording. missed: how many there were right before it that are not recorded."""

    message: M
    missed: int


class RecordingWriter:
    """Appends messages of one type to a recording, which is made when missing.

    count: how many it holds. missed: how many between them it does not.

    Args:
      path: its directory.
      origin: what else it says of itself; where they were recorded, for instance.
      keep: how many of the messages that are there to keep, if not all.

    Raises:
      DiskFullError: no space is left for it.
      StorageError: what is there is none, holds messages of another type, or cannot be written.
    """

    def __init__(
        self,
        path: Path,
        message_type: type[Message],
        origin: Mapping[str, Any] | None = None,
        keep: int | None = None,
    ) -> None:
        self.path = path
        self.count = self.missed = 0
        _refuse_others(path)
        self._environment = acquire(path)
        self._env = self._environment.env
        try:
            self._begin(message_type, _described(message_type, origin or {}), keep)
        except BaseException:
            self._environment.release()
            raise

    def _begin(self, message_type: type[Message], head: bytes, keep: int | None) -> None:
        with RecordingReader(self.path) as reader:
            if reader.head and reader.head != head:
                name, fields, origin = _read_head(self.path, head)
                if (reader.name, reader.fields) != (name, fields):
                    raise StorageError(
                        f"{self.path} holds messages {reader.name} of other fields than {name} has; record to another "
                        "place"
                    )
                raise StorageError(
                    f"{self.path} was recorded elsewhere: it says of its origin {reader.origin or 'nothing'}, expected "
                    f"{origin or 'nothing'}; record to another place"
                )
            if not reader.head:
                self._put(HEAD, [head])
            elif keep is not None and keep < reader.count():
                self._cut(keep)
            self.count, self.missed = reader.count(), reader.missed(message_type)

    def _cut(self, keep: int) -> None:
        stat, data = self._env.stat(), self.path / DATA
        # More than a transaction that only deletes can take at the end.
        pages = stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] // 256 + 64
        with explained(self.path), self._env.begin(write=True) as txn:
            cursor = txn.cursor()
            more = cursor.set_range(_KEY.pack(keep))
            while more:
                more = cursor.delete()
            # LMDB does not write what it took at the end and let go at once; a reader asks for a file of full length.
            # Before the commit: a writer that is killed behind it leaves a whole file.
            needed = _needed_bytes(self._environment) + pages * stat["psize"]
            os.truncate(data, max(data.stat().st_size, needed))

    def write(self, message: Message) -> None:
        """Append a message.

        Raises:
          DiskFullError: no space is left; what was written before is whole.
          StorageError: the disk fails otherwise, or another process writes here too.
          MessageError: the message does not fit the format.
        """
        frames, _ = encode(Kind.DATA, 0, self.count + self.missed, 0, 0, message)
        self._put(_KEY.pack(self.count), _framed(frames))
        self.count += 1

    def miss(self, messages: int) -> None:
        """So many came before the next one, and are not recorded."""
        self.missed += messages

    def _put(self, key: bytes, parts: Sequence[Any]) -> None:
        checksum = 0
        for part in parts:
            checksum = zlib.crc32(part, checksum)
        value = b"".join([_SUM.pack(checksum), *parts])
        with explained(self.path), self._env.begin(write=True) as txn:
            disk.about_to("record", self.path)
            # Told that keys only rise, LMDB fills its pages to the end instead of splitting them in half.
            put = txn.put(key, value, append=True)
        if not put:
            raise StorageError(f"{self.path} is written by another process too; one at a time writes a recording")

    def close(self) -> None:
        """Sync, and let go of it."""
        try:
            with explained(self.path):
                self._env.sync(True)
        finally:
            self._environment.release()

    def __enter__(self) -> RecordingWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class RecordingReader:
    """Reads what a writer wrote, also while it goes on writing.

    head: the description as it is stored, empty if there is none yet. name, fields: of the messages' type. origin:
    what its writer said of it.

    Raises:
      MissingError: there is none.
      StorageError: it is no recording, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        _refuse_others(path)
        if not path.exists():
            raise MissingError(f"there is no recording at {path}; record one with nodes.sink.recording or flow record")
        self.head, self.name = b"", ""
        self.fields: tuple[Field, ...] = ()
        self.origin: dict[str, Any] = {}
        self._environment: Environment | None = None
        data = path / DATA
        if not data.exists() or not data.stat().st_size:
            return  # its writer has only begun
        self._environment = acquire(path)
        try:
            _refuse_cut_off(path, self._environment)
            self._describe()
        except BaseException:
            self._environment.release()
            raise

    def _describe(self) -> None:
        with explained(self.path), self._reading() as txn:
            value = txn.get(HEAD)
            if value is None:
                if txn.stat()["entries"]:
                    raise StorageError(f"{self.path} is an LMDB environment of another kind, no recording")
                return
            self.head = bytes(self._checked("its description", value))
        self.name, self.fields, self.origin = _read_head(self.path, self.head)

    def _reading(self) -> Any:
        assert self._environment is not None
        return self._environment.env.begin(buffers=True)

    def messages(self, message_type: type[M], start: int = 0) -> Iterator[M]:
        """The messages from number `start` on, as many as are whole now.

        Args:
          message_type: one with `fields`.
        """
        return (each.message for each in self.recorded(message_type, start))

    def recorded(self, message_type: type[M], start: int = 0) -> Iterator[Recorded[M]]:
        """The same, each with how many were missed right before it; before the first, how many in all before it."""
        missed, number = 0, start
        while piece := self._piece(number):
            for block in piece:
                message, sequence = self._message(message_type, number, block)
                yield Recorded(message, sequence - number - missed)
                missed = sequence - number
                number += 1

    def missed(self, message_type: type[Message]) -> int:
        """How many messages are missing between those that are here."""
        last = self.count() - 1
        return 0 if last < 0 else self._message(message_type, last, self._piece(last)[0])[1] - last

    def count(self) -> int:
        """How many messages are whole now."""
        if self._environment is None:
            return 0
        with explained(self.path), self._reading() as txn:
            return max(0, int(txn.stat()["entries"]) - 1)

    def stored_bytes(self) -> int:
        """What it takes on disk."""
        data = self.path / DATA
        return data.stat().st_size if data.exists() else 0

    def problems(self, message_type: type[Message]) -> Iterator[str]:
        """What is wrong with it: messages that are damaged."""
        for number in range(self.count()):
            try:
                for block in self._piece(number, 1):
                    self._message(message_type, number, block)
            except StorageError as error:
                yield str(error)

    def _piece(self, start: int, most: int = PIECE_MESSAGES) -> list[bytes]:
        """The next messages from a number on, a few, or none."""
        piece: list[bytes] = []
        if self._environment is None:
            return piece
        with explained(self.path), self._reading() as txn:
            cursor = txn.cursor()
            size, more = 0, cursor.set_range(_KEY.pack(start))
            while more and len(piece) < most and size < PIECE_BYTES:
                number = start + len(piece)
                if bytes(cursor.key()) != _KEY.pack(number):
                    raise StorageError(f"{self.path}, message {number} is not there, and later ones are: it is damaged")
                piece.append(bytes(self._checked(f"message {number}", cursor.value())))
                size += len(piece[-1])
                more = cursor.next()
        return piece

    def _checked(self, what: str, value: memoryview) -> memoryview:
        content = memoryview(value)[_SUM.size :]
        if len(value) < _SUM.size or zlib.crc32(content) != _SUM.unpack_from(value)[0]:
            raise StorageError(f"{self.path}, {what} is damaged: what is there is not what was written")
        return content

    def _message(self, message_type: type[M], number: int, block: bytes) -> tuple[M, int]:
        """A message and its sequence number."""
        schema = Schema(message_type, {})
        try:
            envelope = decode(_frames(block), lambda kind, link: schema)
        except (WireError, struct.error) as error:
            raise StorageError(f"{self.path}, message {number}: {error}") from error
        assert isinstance(envelope.message, message_type)
        return envelope.message, envelope.sequence

    def close(self) -> None:
        if self._environment is not None:
            self._environment.release()

    def __enter__(self) -> RecordingReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def is_recording(path: Path) -> bool:
    """Whether there is a recording, or one of an earlier version, and not some other thing.

    Where nothing was put in yet it may become one.

    Raises:
      StorageError: what is there is cut off, or damaged.
    """
    if path.is_file():
        return True
    data = path / DATA
    if not data.exists():
        return False
    if not data.stat().st_size:
        return True
    environment = acquire(path)
    try:
        _refuse_cut_off(path, environment)
        with explained(path), environment.env.begin() as txn:
            return txn.get(HEAD) is not None or not txn.stat()["entries"]
    finally:
        environment.release()


def _refuse_others(path: Path) -> None:
    """Raise what tells of anything at a path that can be no recording."""
    try:
        if path.is_file():
            with path.open("rb") as file:
                begins = file.read(len(_BEFORE))
            if begins == _BEFORE:
                raise StorageError(
                    f"{path} was recorded by an earlier version of flow, whose files this one does not read; record it "
                    "again with nodes.sink.recording or flow record"
                )
            raise StorageError(f"{path} is no recording of flow: it is a file, and a recording is a directory")
        others = sorted(each.name for each in path.iterdir() if each.name not in (DATA, LOCK)) if path.exists() else []
    except OSError as error:
        raise StorageError(f"{path} cannot be read: {error.strerror}") from error
    if others and not (path / DATA).exists():
        raise StorageError(f"{path} is no recording of flow: it is a directory that holds {others[0]}")


def _refuse_cut_off(path: Path, environment: Environment) -> None:
    """Before anything is read: what is not there cannot be read through the map, only crashed at."""
    data = path / DATA
    needed, there = _needed_bytes(environment), data.stat().st_size
    if there < needed:
        raise StorageError(
            f"{data} is cut off: it has {there} bytes of {needed}; copy it again from where it came, whole"
        )


def _needed_bytes(environment: Environment) -> int:
    """How long an environment's file has to be."""
    return int((environment.env.info()["last_pgno"] + 1) * environment.env.stat()["psize"])


def _framed(frames: Sequence[Any]) -> list[Any]:
    lengths = [memoryview(frame).nbytes for frame in frames]
    return [_COUNT.pack(len(frames)) + b"".join(map(_LENGTH.pack, lengths)), *frames]


def _frames(block: bytes) -> list[memoryview]:
    view = memoryview(block)
    (count,) = _COUNT.unpack_from(block)
    start = _COUNT.size + count * _LENGTH.size
    frames = []
    for number in range(count):
        (length,) = _LENGTH.unpack_from(block, _COUNT.size + number * _LENGTH.size)
        frames.append(view[start : start + length])
        start += length
    return frames


def _described(message_type: type[Message], origin: Mapping[str, Any]) -> bytes:
    fields = [
        [f.name, f.kind, f.doc, f.dtypes, [[d.name, d.size] for d in f.dims], f.any_rank, f.library, SCALARS[f.scalar]]
        for f in message_type.fields
    ]
    said = {"format": FORMAT, "name": message_type.__name__, "fields": fields}
    described: bytes = msgpack.packb({**said, "origin": dict(origin)} if origin else said)
    return described


def _read_head(path: Path, head: bytes) -> tuple[str, tuple[Field, ...], dict[str, Any]]:
    try:
        said = msgpack.unpackb(head)
        if said["format"] != FORMAT:
            raise StorageError(f"{path} is of wire format {said['format']!r}, this program reads {FORMAT}")
        fields = tuple(
            Field(name, kind, doc, tuple(dtypes), tuple(Dim(*dim) for dim in dims), any_rank, library, _SCALARS[scalar])
            for name, kind, doc, dtypes, dims, any_rank, library, scalar in said["fields"]
        )
        return str(said["name"]), fields, dict(said.get("origin", {}))
    except (ValueError, TypeError, KeyError, msgpack.UnpackException) as error:
        raise StorageError(f"{path}: what it says of its messages cannot be read: {error!r}") from error
