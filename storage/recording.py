"""A stream of messages in a file, as they would travel: appended one after the other, read back the same bit for bit.

    magic │ block: name and fields of the messages │ block: a message │ block: a message │ …
    a block is its length, its checksum, its bytes; those of a message are its frames (flow/wire.py), with their lengths

Each message has the sequence number that it had among all that there were: where some were missed, numbers are, so
that a recording with gaps says so.
A message is on disk whole or not at all: what a killed writer left half written is cut off when the file is opened to
be written again, and is not seen by a reader. A power cut may cost what was written since the last sync.
"""

from __future__ import annotations

import errno
import itertools
import os
import struct
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgpack

from flow import disk
from flow.errors import DiskFullError, MissingError, StorageError, WireError
from flow.message import SCALARS, Dim, Field, Message
from flow.wire import decode, encode
from flow.wire_layout import FORMAT, Kind, Schema

M = TypeVar("M", bound=Message)

MAGIC = b"flowrec\x01"
SUFFIX = ".flow"
_BLOCK = struct.Struct("<QI")
_COUNT = struct.Struct("<I")
_LENGTH = struct.Struct("<Q")
_SCALARS = {name: kind for kind, name in SCALARS.items()}


@dataclass(frozen=True)
class Recorded(Generic[M]):
    """A message of a recording. missed: how many there were right before it that are not recorded."""

    message: M
    missed: int


class RecordingWriter:
    """Appends messages of one type to a file, which is made when missing.

    count: how many it holds. missed: how many between them it does not.

    Args:
      origin: what else it says of itself; where they were recorded, for instance.
      keep: how many of the messages that are there to keep, if not all.

    Raises:
      StorageError: the file is none of this kind, holds messages of another type, or cannot be written.
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
        head = _described(message_type, origin or {})
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise StorageError(f"{path} cannot be written: {error.strerror}") from error
        try:
            self._end = self._begin(message_type, head, keep)
        except BaseException:
            os.close(self._file)
            raise

    def _begin(self, message_type: type[Message], head: bytes, keep: int | None) -> int:
        size = os.fstat(self._file).st_size
        if size < len(MAGIC):  # fresh, or its writer was killed at once
            os.ftruncate(self._file, 0)
            return self._append(0, [MAGIC, *_block(head)])
        with RecordingReader(self.path) as reader:
            if reader.head and reader.head != head:
                raise StorageError(
                    f"{self.path} holds messages {reader.name} of other fields than {message_type.__name__} has; "
                    "record to another file"
                )
            end = reader.end(keep)
            os.ftruncate(self._file, end)
            self.count, self.missed = reader.count(), reader.missed(message_type)
        return end if reader.head else self._append(end, _block(head))

    def write(self, message: Message) -> None:
        """Append a message.

        Raises:
          DiskFullError: no space is left; what was written before is whole.
          StorageError: the disk fails otherwise.
          MessageError: the message does not fit the format.
        """
        frames, _ = encode(Kind.DATA, 0, self.count + self.missed, 0, 0, message)
        self._end = self._append(self._end, _block(*_framed(frames)))
        self.count += 1

    def miss(self, messages: int) -> None:
        """So many came before the next one, and are not recorded."""
        self.missed += messages

    def _append(self, at: int, parts: Sequence[Any]) -> int:
        """Write behind `at`; returns where that ends."""
        left = [memoryview(part).cast("B") for part in parts]
        end = at
        try:
            disk.about_to("record", self.path)
            while left:
                written = os.pwritev(self._file, left[: os.sysconf("SC_IOV_MAX")], end)
                end += written
                while left and written >= len(left[0]):
                    written -= len(left.pop(0))
                if left:
                    left[0] = left[0][written:]
        except OSError as error:
            os.ftruncate(self._file, at)
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFullError(f"{self.path}: no space is left for a message; free some") from error
            raise StorageError(f"{self.path} cannot be written: {error.strerror}") from error
        return end

    def close(self) -> None:
        """Sync, and let go of the file."""
        try:
            os.fsync(self._file)
        finally:
            os.close(self._file)

    def __enter__(self) -> RecordingWriter:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class RecordingReader:
    """Reads what a writer wrote, also while it goes on writing.

    name, fields: of the messages' type. origin: what its writer said of it.

    Raises:
      MissingError: there is no such file.
      StorageError: it is no recording, or damaged.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb")
        except FileNotFoundError as error:
            raise MissingError(f"there is no recording at {path}; record one with nodes.sink.recording") from error
        except OSError as error:
            raise StorageError(f"{path} cannot be read: {error.strerror}") from error
        try:
            if self._file.read(len(MAGIC)) != MAGIC:
                raise StorageError(f"{path} is no recording of flow: it does not begin as one")
            first = next(self._blocks(), None)
            self.head = b"" if first is None else self._read(*first)
            self.name, self.fields, self.origin = _read_head(path, self.head) if self.head else ("", (), {})
        except BaseException:
            self._file.close()
            raise

    def messages(self, message_type: type[M], start: int = 0) -> Iterator[M]:
        """The messages from number `start` on, as many as are whole now.

        Args:
          message_type: one with `fields`.
        """
        return (each.message for each in self.recorded(message_type, start))

    def recorded(self, message_type: type[M], start: int = 0) -> Iterator[Recorded[M]]:
        """The same, each with how many were missed right before it; before the first, how many in all before it."""
        missed = 0
        for number, block in enumerate(self._blocks(), -1):
            if number >= start:
                message, sequence = self._message(message_type, number, block)
                yield Recorded(message, sequence - number - missed)
                missed = sequence - number

    def missed(self, message_type: type[Message]) -> int:
        """How many messages are missing between those that are here."""
        count, last = 0, None
        for block in self._blocks():
            count, last = count + 1, block
        # The first block is the head.
        return self._message(message_type, count - 2, last)[1] - (count - 2) if last is not None and count > 1 else 0

    def _message(self, message_type: type[M], number: int, block: tuple[int, int, int]) -> tuple[M, int]:
        """A message and its sequence number."""
        schema = Schema(message_type, {})
        try:
            envelope = decode(_frames(self._read(*block)), lambda kind, link: schema)
        except (WireError, struct.error) as error:
            raise StorageError(f"{self.path}, message {number}: {error}") from error
        assert isinstance(envelope.message, message_type)
        return envelope.message, envelope.sequence

    def count(self) -> int:
        """How many messages are whole now."""
        return max(0, sum(1 for _ in self._blocks()) - 1)

    def end(self, keep: int | None = None) -> int:
        """Where the last whole block ends, or message `keep`; what lies behind it was not written to its end."""
        end, last = len(MAGIC), None
        for at, length, checksum in itertools.islice(self._blocks(), None if keep is None else keep + 1):
            end, last = at + length, (at, length, checksum)
        if last is not None and zlib.crc32(self._at(*last[:2])) != last[2]:
            return last[0] - _BLOCK.size  # of full length, and not all of it written
        return end

    def _blocks(self) -> Iterator[tuple[int, int, int]]:
        """Where each block that the file has room for begins, its length and checksum; the head's first."""
        size = os.fstat(self._file.fileno()).st_size
        at = len(MAGIC) + _BLOCK.size
        while at <= size:
            length, checksum = _BLOCK.unpack(self._at(at - _BLOCK.size, _BLOCK.size))
            if at + length > size:
                return
            yield at, length, checksum
            at += length + _BLOCK.size

    def _at(self, begin: int, length: int) -> bytes:
        self._file.seek(begin)
        return self._file.read(length)

    def _read(self, at: int, length: int, checksum: int) -> bytes:
        block = self._at(at, length)
        if zlib.crc32(block) != checksum:
            raise StorageError(f"{self.path} is damaged at byte {at}: what is there is not what was written")
        return block

    def close(self) -> None:
        self._file.close()

    def __enter__(self) -> RecordingReader:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _block(*parts: Any) -> list[Any]:
    checksum = length = 0
    for part in parts:
        checksum = zlib.crc32(part, checksum)
        length += memoryview(part).nbytes
    return [_BLOCK.pack(length, checksum), *parts]


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
