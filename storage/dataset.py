"""Records that are written once and read for many epochs: what a video, a sound or a picture was made into.

    values    key, column, number ──► checksum, bytes: one frame, one flow field, …
    records   key ──► how many values each column has, and what is known of the whole; written when all are there
    parts     key ──► how many values a record has so far that is not whole yet
    about     "format"

A key says what a record was made of and how (`content_key`), so that a record that is there need not be made again,
whoever made it. Values come in any order and may come twice. A record is whole or cannot be read: a writer that is
killed, or a disk that is full, costs the transaction under way, and what was written of a record so far is used
when its writing goes on.

One process writes an environment, any number read it, also while it is written.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import struct
import threading
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

import lmdb
import msgpack

from flow import disk
from flow.errors import MissingError, NotStoredError, StorageError
from storage.environment import DATA, acquire, explained

FORMAT = {"format": "flow dataset", "version": 1}
KEY_BYTES = 16
_PLACE = struct.Struct(">16sBI")
_SUM = struct.Struct("<I")
_NAMES = (b"values", b"records", b"parts", b"about")
_opening = threading.Lock()
"""LMDB opens tables in one transaction of a process at a time."""


def content_key(path: Path, how: str) -> str:
    """The key, 32 hexadecimal digits, of what a file's bytes are made into.

    Args:
      how: all that decides what is made of them.

    Raises:
      OSError: the file cannot be read.
    """
    digest = hashlib.blake2b(how.encode(), digest_size=KEY_BYTES)
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


@dataclass(frozen=True)
class Record:
    """A whole record. counts: values of each column. facts: what its writer said of it. stored_bytes: of its values."""

    key: str
    counts: Mapping[str, int]
    facts: Mapping[str, Any]
    stored_bytes: int


class Dataset:
    """A dataset on disk; several may be open on one path. A context manager.

    Args:
      path: its directory.
      create: make it when it is missing.

    Raises:
      MissingError: there is none, and none is to be made.
      StorageError: what is there is none of these, or cannot be opened.
    """

    def __init__(self, path: str | os.PathLike[str], *, create: bool = False) -> None:
        self.path = Path(path).resolve()
        if not (self.path / DATA).exists() and not create:
            raise MissingError(f"there is no dataset at {path}; make one with: flow data import")
        self._shared = acquire(self.path, len(_NAMES))
        self._env = self._shared.env
        try:
            self._values, self._records, self._parts = self._opened(create)
        except BaseException:
            self.close()
            raise

    def _opened(self, create: bool) -> tuple[Any, Any, Any]:
        with _opening, explained(self.path), self._to_open_tables() as txn:
            try:
                values, records, parts, about = (self._env.open_db(name, txn, create=create) for name in _NAMES)
            except lmdb.NotFoundError:
                raise StorageError(f"{self.path} is no dataset; make one elsewhere with: flow data import") from None
            if create and txn is not None and txn.get(b"format", db=about) is None:
                txn.put(b"format", msgpack.packb(FORMAT), db=about)
        with explained(self.path), self._env.begin(db=about) as txn:
            found = msgpack.unpackb(txn.get(b"format", msgpack.packb(None)))
        if found != FORMAT:
            raise StorageError(f"{self.path}: expected {FORMAT}, found {found}; use another directory")
        return values, records, parts

    def _to_open_tables(self) -> contextlib.AbstractContextManager[Any]:
        # Begun here: `open_db` would begin one by itself, and wait for whoever writes without letting other threads
        # go on, the writer among them. Where this process may not write it does not wait.
        return contextlib.nullcontext() if self._env.flags()["readonly"] else self._env.begin(write=True)

    def close(self) -> None:
        """Let go of it; the last one here closes the environment."""
        self._shared.release()

    def __enter__(self) -> Dataset:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # Writing

    def put(self, key: str, columns: Mapping[str, tuple[int, Sequence[Any]]]) -> None:
        """Store values of a record that is being made, in one transaction: after a crash all are there, or none.

        Of a record that is whole nothing is stored: it is all there.

        Args:
          columns: by name, the number of the first value, and the values in a row.

        Raises:
          DiskFullError: nothing of these is stored; what was stored before is whole.
          StorageError: the disk fails otherwise.
        """
        raw = _raw(key)
        with explained(self.path), self._env.begin(write=True) as txn:
            if txn.get(raw, db=self._records) is not None:
                return
            part = self._part(txn, raw)
            for name, (first, values) in columns.items():
                if name not in part["names"]:
                    part["names"].append(name)
                    part["counts"].append(0)
                column = part["names"].index(name)
                for number, value in enumerate(values, first):
                    whole = _SUM.pack(zlib.crc32(value)) + bytes(value)
                    # What came before is not written again: it is the same, being of the same key.
                    if txn.put(_PLACE.pack(raw, column, number), whole, overwrite=False, db=self._values):
                        part["counts"][column] += 1
                        part["bytes"] += len(whole)
            txn.put(raw, msgpack.packb(part), db=self._parts)
            disk.about_to("commit", self.path)

    def _part(self, txn: Any, raw: bytes) -> dict[str, Any]:
        """What there is of a record that is not whole."""
        found = txn.get(raw, db=self._parts)
        return {"names": [], "counts": [], "bytes": 0} if found is None else dict(msgpack.unpackb(found))

    def finish(self, key: str, counts: Mapping[str, int], facts: Mapping[str, Any]) -> bool:
        """Make a record whole if it has so many values in each column; whether it is whole now.

        Args:
          facts: numbers and texts that are kept with it.
        """
        raw = _raw(key)
        with explained(self.path), self._env.begin(write=True) as txn:
            if txn.get(raw, db=self._records) is not None:
                return True
            part = self._part(txn, raw)
            have = dict(zip(part["names"], part["counts"], strict=True))
            if have != {name: count for name, count in counts.items() if count or name in have}:
                return False
            record = {"names": part["names"], "counts": part["counts"], "facts": dict(facts), "bytes": part["bytes"]}
            txn.put(raw, msgpack.packb(record), db=self._records)
            txn.delete(raw, db=self._parts)
            disk.about_to("commit", self.path)
        return True

    def drop(self, key: str) -> None:
        """Delete what there is of a record that is not whole."""
        raw = _raw(key)
        with explained(self.path), self._env.begin(write=True) as txn:
            if txn.get(raw, db=self._records) is None:
                cursor = txn.cursor(db=self._values)
                while cursor.set_range(raw) and cursor.key().startswith(raw):
                    cursor.delete()
                txn.delete(raw, db=self._parts)
            disk.about_to("commit", self.path)

    def sync(self) -> None:
        """Wait until all that was stored is on disk."""
        with explained(self.path):
            disk.about_to("sync", self.path)
            self._env.sync(True)

    # Reading

    def has(self, key: str) -> bool:
        """Whether a record is whole."""
        with self._env.begin(db=self._records) as txn:
            return txn.get(_raw(key)) is not None

    def record(self, key: str) -> Record:
        """What is known of a whole record.

        Raises:
          NotStoredError: there is none.
        """
        with self._env.begin(db=self._records) as txn:
            found = txn.get(_raw(key))
        if found is None:
            raise NotStoredError(f"{self.path}: there is no record {key}")
        return _record(key, found)

    def records(self) -> Iterator[Record]:
        """All whole records, by key."""
        with self._env.begin(db=self._records) as txn:
            found = [(key.hex(), value) for key, value in txn.cursor()]
        return (_record(key, value) for key, value in found)

    def unfinished(self) -> list[str]:
        """Keys of records that are not whole."""
        with self._env.begin(db=self._parts) as txn:
            return [key.hex() for key, _ in txn.cursor()]

    @contextlib.contextmanager
    def reading(self, record: Record) -> Iterator[Any]:
        """A function `value(column, number)` that gives a record's value as bytes that live as long as this is open.

        Raises:
          NotStoredError: by the function, where there is no such value.
          StorageError: by the function, where what is there is not what was written.
        """
        raw = _raw(record.key)
        order = {name: index for index, name in enumerate(record.counts)}
        with self._env.begin(db=self._values, buffers=True) as txn:

            def value(column: str, number: int) -> memoryview:
                index = order.get(column, -1)
                found = None if index < 0 else txn.get(_PLACE.pack(raw, index, number))
                if found is None:
                    raise NotStoredError(f"{self.path}, record {record.key}: there is no {column} {number}")
                if zlib.crc32(found[_SUM.size :]) != _SUM.unpack_from(found)[0]:
                    raise StorageError(
                        f"{self.path}, record {record.key}, {column} {number} is damaged: it is not what was written; "
                        "delete the directory and import anew"
                    )
                return memoryview(found)[_SUM.size :]

            yield value

    def problems(self) -> Iterator[str]:
        """What is wrong with the whole records: values that are missing or damaged."""
        for record in self.records():
            for column, count in record.counts.items():
                for number in range(count):
                    with self.reading(record) as value:
                        try:
                            value(column, number)
                        except StorageError as error:
                            yield str(error)


def _raw(key: str) -> bytes:
    try:
        raw = bytes.fromhex(key)
    except ValueError:
        raw = b""
    if len(raw) != KEY_BYTES:
        raise StorageError(f"key {key!r}: expected {2 * KEY_BYTES} hexadecimal digits, as `content_key` gives")
    return raw


def _record(key: str, packed: bytes) -> Record:
    said = msgpack.unpackb(packed)
    return Record(key, dict(zip(said["names"], said["counts"], strict=True)), said["facts"], said["bytes"])
