"""The LMDB side of a replay store: groups of chunks in, old ones out, all or nothing.

    chunks    number ──► one encoded time chunk
    index     number ──► stream, start, steps, size, offsets of first steps: what a restart reads
    streams   stream ──► birth, end, steps appended; kept when all its chunks are gone
    meta      "format" ──► what the store was made with

The environment has no writemap, since a full disk would then be SIGBUS, and syncs only when told to:
a killed process loses nothing that was committed. A power cut may lose all since the last `sync`, and on a file system
that reorders writes it may damage the store: replay is to be rebuilt then, from an empty directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import lmdb
import msgpack

from flow import disk
from flow.errors import DiskFullError, StorageError
from storage.replay_index import Entry, ReplayIndex

_KEY = struct.Struct(">Q")
_ENTRY = struct.Struct("<qqII")
_STREAM = struct.Struct("<qqq")
# Deleting copies pages before it frees any, so a full map needs this much more before it can shrink.
_DELETE_ROOM = 1 << 20
_GROWTH = 1.5
_open_here: dict[Path, int] = {}
"""Path of each open store -> the process that opened it."""


class ChunkLog:
    """One LMDB environment, written by this process alone.

    Args:
      path: directory of the environment; made when missing.
      format_: what the store is made with; an existing store must say the same.
      map_bytes, map_bytes_max: size of the map at first, and where it stops growing.
    """

    def __init__(self, path: Path, format_: dict[str, Any], map_bytes: int, map_bytes_max: int) -> None:
        self.path = path
        self._map_bytes_max = max(map_bytes, map_bytes_max)
        self._gate = threading.Condition()
        self._reading = 0
        self._map_bytes = map_bytes
        self._owner = _own(path)
        try:
            self._open(format_)
        except BaseException:
            self.close()
            raise

    def _open(self, format_: dict[str, Any]) -> None:
        with self._explained(0):
            self._env = lmdb.open(
                os.fspath(self.path),
                map_size=self._map_bytes,
                max_dbs=4,
                sync=False,
                metasync=False,
                writemap=False,
                # Random reads of a store larger than memory would otherwise read pages nobody asked for.
                readahead=False,
            )
            # An earlier process that was killed while it read would pin the pages it saw for ever.
            self._env.reader_check()
            self._map_bytes = self._env.info()["map_size"]
            self._chunks, self._index, self._streams, self._meta = (
                self._env.open_db(name) for name in (b"chunks", b"index", b"streams", b"meta")
            )
            with self._env.begin(write=True) as txn:
                found = txn.get(b"format", db=self._meta)
                if found is None:
                    txn.put(b"format", msgpack.packb(format_), db=self._meta)
        if found is not None and (made_with := msgpack.unpackb(found)) != format_:
            raise StorageError(
                f"{self.path}: the store was made with {_described(made_with)}, and is opened with "
                f"{_described(format_)}; open it with the same columns, or choose another directory"
            )

    def close(self) -> None:
        """Close the environment and give up the store. The system writes unsynced pages in its own time."""
        if hasattr(self, "_env"):
            self._env.close()
        self._owner.close()
        _open_here.pop(self.path.resolve(), None)

    def sync(self) -> None:
        """Wait until all that was committed is on disk."""
        with self._explained(0):
            disk.about_to("sync", self.path)
            self._env.sync(True)

    def streams(self) -> Iterator[tuple[int, int, int, int]]:
        """Each recorded stream as (stream, birth, end, steps appended)."""
        with self._env.begin() as txn:
            for key, value in txn.cursor(db=self._streams):
                yield (_KEY.unpack(key)[0], *_STREAM.unpack(value))

    def entries(self) -> Iterator[tuple[int, Entry]]:
        """Each stored chunk's number and index entry, oldest first."""
        with self._env.begin() as txn:
            for key, value in txn.cursor(db=self._index):
                firsts = struct.unpack_from(f"<{(len(value) - _ENTRY.size) // 4}I", value, _ENTRY.size)
                stream, start, steps, size = _ENTRY.unpack_from(value)
                yield _KEY.unpack(key)[0], Entry(stream, start, steps, size, firsts)

    @contextlib.contextmanager
    def reading(self) -> Iterator[Callable[[int], memoryview | None]]:
        """Open a snapshot; the yielded function returns a chunk's bytes, or None when it is evicted.

        The bytes live as long as the snapshot. Snapshots pin the pages they see: keep them short.
        """
        with self._gate:
            self._reading += 1
        try:
            # py-lmdb keeps a finished read transaction and renews it here: this takes no new reader slot.
            with self._env.begin(db=self._chunks, buffers=True) as txn:
                yield lambda number: txn.get(_KEY.pack(number))
        finally:
            with self._gate:
                self._reading -= 1
                self._gate.notify_all()

    def write(
        self,
        evicted: Iterable[int],
        first_number: int,
        values: Sequence[bytes],
        entries: Sequence[Entry],
        streams: Mapping[int, tuple[int, int, int]],
    ) -> bool:
        """Commit one group: delete chunks `evicted`, put `values` from `first_number` on.

        Returns:
          False when the map is full and at its largest: nothing was written, room must be made.

        Raises:
          DiskFullError: the file system is full; nothing was written.
        """
        evicted = list(evicted)
        # Without values this is the call that makes room, and that must not fail for want of room.
        most = self._map_bytes_max + (0 if values else _DELETE_ROOM)

        def change(txn: Any) -> None:
            self._delete(txn, evicted)
            self._put(txn, first_number, values, entries, streams)

        return self._commit(change, sum(map(len, values)), most)

    def replace(self, number: int, value: bytes, entry: Entry) -> bool:
        """Put another value in the place of a stored chunk; returns and raises as `write`."""

        def change(txn: Any) -> None:
            txn.put(_KEY.pack(number), value, db=self._chunks)
            txn.put(_KEY.pack(number), _record(entry), db=self._index)

        return self._commit(change, len(value), self._map_bytes_max)

    def _commit(self, change: Callable[[Any], None], size: int, most: int) -> bool:
        """Make a change of `size` bytes in one transaction, in a map that is enlarged up to `most`."""
        while True:
            try:
                with self._explained(size), self._env.begin(write=True) as txn:
                    change(txn)
                    disk.about_to("commit", self.path)
                return True
            except lmdb.MapFullError:
                # A reader that was killed pins pages that could be used again; then growing is not needed.
                if not self._env.reader_check() and not self._grow(size, most):
                    return False

    def _delete(self, txn: Any, numbers: Sequence[int]) -> None:
        for number in numbers:
            key = _KEY.pack(number)
            txn.delete(key, db=self._chunks)
            txn.delete(key, db=self._index)

    def _put(
        self,
        txn: Any,
        first_number: int,
        values: Sequence[bytes],
        entries: Sequence[Entry],
        streams: Mapping[int, tuple[int, int, int]],
    ) -> None:
        for number, (value, entry) in enumerate(zip(values, entries, strict=True), first_number):
            key = _KEY.pack(number)
            # Numbers only rise; told so, LMDB fills its pages to the end instead of splitting them in half.
            txn.put(key, value, append=True, db=self._chunks)
            txn.put(key, _record(entry), append=True, db=self._index)
        for stream, facts in streams.items():
            txn.put(_KEY.pack(stream), _STREAM.pack(*facts), db=self._streams)

    def _grow(self, size: int, most: int) -> bool:
        """Enlarge the map; False when it is at its largest. Waits for readers: the map moves in memory."""
        wanted = min(int(self._map_bytes * _GROWTH) + size, most)
        if wanted <= self._map_bytes:
            return False
        with self._gate:
            while self._reading:
                self._gate.wait()
            self._env.set_mapsize(wanted)
            self._map_bytes = wanted
        return True

    @contextlib.contextmanager
    def _explained(self, size: int) -> Iterator[None]:
        """Turn LMDB's errors into ours; a full map passes through, since `write` knows what to do."""
        try:
            yield
        except lmdb.MapFullError:
            raise
        except (lmdb.Error, OSError) as error:
            room = os.statvfs(self.path)
            free = room.f_bavail * room.f_frsize
            # A short write on a full disk comes as "Input/output error", so the free space has to tell.
            if "No space left" in str(error) or ("Input/output" in str(error) and free < size + _DELETE_ROOM):
                raise DiskFullError(
                    f"{self.path}: no space left on the file system: {free} bytes are free, {size} were "
                    "refused. What was committed is whole; free some space, or lower capacity_bytes"
                ) from error
            raise StorageError(f"{self.path}: LMDB says {error}") from error


def _record(entry: Entry) -> bytes:
    return _ENTRY.pack(*entry[:4]) + struct.pack(f"<{len(entry.firsts)}I", *entry.firsts)


def rebuilt_index(log: ChunkLog) -> ReplayIndex:
    """Make the index of an existing store anew from what the log recorded beside the chunks."""
    index = ReplayIndex()
    for number, (key, entry) in enumerate(log.entries()):
        if number == 0:
            index = ReplayIndex(key)
            for facts in log.streams():
                index.remember(*facts)
        index.link(entry)
    if not index.streams:
        for facts in log.streams():
            index.remember(*facts)
    return index


def _own(path: Path) -> Any:
    """Lock the store for this process: a second writer would not see this one's index.

    A POSIX record lock, because a child made by fork does not hold it and a killed process lets it go. It
    does not exclude its own process, and closing any handle of the file drops it; hence `_open_here`.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        if _open_here.get(path.resolve()) == os.getpid():
            raise StorageError(f"{path}: this process has the store open already; share that one")
        owner = (path / "owner").open("w")
    except OSError as error:
        raise StorageError(f"{path}: cannot make a store here: {error}") from error
    try:
        fcntl.lockf(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        owner.close()
        raise StorageError(
            f"{path}: another process has this store open; one process writes a store, others ask it"
        ) from error
    _open_here[path.resolve()] = os.getpid()
    return owner


def _described(format_: dict[str, Any]) -> str:
    columns = ", ".join(f"{name} {dtype} {tuple(shape)}" for name, dtype, shape in format_["columns"])
    return f"columns [{columns}], boundary column {format_['first']!r}, format {format_['version']}"
