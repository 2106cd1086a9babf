"""Whole games on disk, and positions in them drawn by priority.

    add ──► encode ──► LMDB, one transaction a group ──► places in memory, a sum tree over them
                                                           │ draw
    games by place ◄── decoded, the last ones kept ◄───────┘ game

Each position of each game has a place: a handle of `storage.priorities`, a game's in a row. So a late priority for a
game that has gone is told from one that counts, and the oldest games go first by going forward.

The same log of chunks as replay by time (`storage.replay_log`), a chunk a game: what a game is needs no windows.
Threads: one may add while others draw and read.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flow.errors import NotStoredError, StorageError
from storage.byte_cache import ByteCache
from storage.chunks import Column, common_steps, encode, parse
from storage.priorities import Drawn, Mix, Priorities
from storage.replay_index import Entry
from storage.replay_log import ChunkLog

Game = dict[str, NDArray[Any]]
PRIORITY = "priority"
# 1 stored weights, to which the exponent had been applied.
_FORMAT = 2
_MAP_SLACK = 64 << 20
_BY_PRIORITY = Mix(prioritised=1.0)


class _Stored(NamedTuple):
    """A game's first place, how many it has, and its bytes on disk."""

    place: int
    length: int
    size: int


@dataclass(frozen=True)
class GameStatistics:
    """What a store of games holds and has done.

    positions, games, stored_bytes: now. drawable: positions that can be drawn. added_positions: since it was made.
    fill: 0 to 1, by positions or bytes, whichever is nearer the capacity.
    """

    games: int
    positions: int
    stored_bytes: int
    added_positions: int
    fill: float
    drawable: int


class GameStore:
    """A store of whole games, opened by the one process that uses it. A context manager.

    Args:
      path: directory of the store; made when missing.
      columns: what each position holds; an existing store must have been made with the same.
      capacity_positions, capacity_bytes: the oldest games go when either would be passed.
      exponent: α of the priorities by which positions are drawn.
      cache_bytes: decoded games that are kept in memory, those used last.

    Raises:
      StorageError: the store has other columns, or is open elsewhere.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        columns: Sequence[Column],
        *,
        capacity_positions: int,
        capacity_bytes: int,
        exponent: float = 1.0,
        cache_bytes: int = 256 << 20,
    ) -> None:
        self.path = Path(path)
        if capacity_positions < 1 or capacity_bytes < 1:
            raise StorageError(f"{self.path}: {capacity_positions=} and {capacity_bytes=} must be 1 or more")
        self.columns = {c.name: Column(c.name, np.dtype(c.dtype).str, tuple(c.shape)) for c in columns}
        if PRIORITY in self.columns:
            raise StorageError(f"{self.path}: {PRIORITY!r} is the store's own column; give yours another name")
        self.capacity_positions, self.capacity_bytes = capacity_positions, capacity_bytes
        described = [[c.name, c.dtype, list(c.shape)] for c in self.columns.values()]
        room = 3 * capacity_bytes + _MAP_SLACK
        self._log = ChunkLog(
            self.path, {"version": _FORMAT, "columns": described, "first": None, "games": True}, room, 4 * room
        )
        self._lock = threading.Lock()
        self._games: deque[_Stored] = deque()
        self._first_number = 0
        # Place p lies at p modulo the ring; places that are stored are in a row, so none meets another.
        self._ring = capacity_positions
        self._priorities = Priorities(self._ring, exponent=exponent)
        self._game_at = np.full(self._ring, -1, np.int64)
        self._first_at = np.full(self._ring, -1, np.int64)  # the first place of that game
        self._size = self._positions = 0
        self._cache: ByteCache[Game] = ByteCache(cache_bytes)
        try:
            self._rebuild()
        except BaseException:
            self._log.close()
            raise

    def __enter__(self) -> GameStore:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._log.close()

    def sync(self) -> None:
        """Wait until all that was added is on disk: each second, and at checkpoints."""
        self._log.sync()

    @property
    def exponent(self) -> float:
        """α of the priorities; setting it weighs all positions anew."""
        return self._priorities.exponent

    @exponent.setter
    def exponent(self, value: float) -> None:
        with self._lock:
            self._priorities.exponent = value

    def add(self, games: Sequence[tuple[Mapping[str, NDArray[Any]], NDArray[Any]]]) -> None:
        """Store a group of games in one transaction: after a crash all of it is there, or nothing.

        Args:
          games: columns (T, ...) of each, and the priority of each of its positions, (T,), 0 or more. A position that
            is added with 0 is never drawn: it is there for the others' sake.

        Raises:
          StorageError: columns that do not fit, a game above the capacity, a priority that is no number of 0 or more.
          DiskFullError: nothing of the group is stored.
        """
        values, stored, given = [], [], []
        place = self._priorities.next
        for columns, priorities in games:
            length = self._checked(columns, priorities)
            whole = {**columns, PRIORITY: np.asarray(priorities, np.float32)}
            value = encode(0, place, whole)
            values.append(value)
            stored.append(_Stored(place, length, len(value)))
            given.append(whole[PRIORITY])
            place += length
        self._commit(values, stored)
        with self._lock:
            for one, priorities in zip(stored, given, strict=True):
                self._link(one, priorities)

    def replace(self, place: int, columns: Mapping[str, NDArray[Any]]) -> bool:
        """Put other columns (T, ...) in a stored game, that which the place is of; called where games are added.

        Returns:
          False when it is not stored any more, or there is no room for it on disk: nothing has changed.

        Raises:
          StorageError: columns that do not fit.
        """
        with self._lock:
            number = self._number_of(place)
            first = int(self._first_at[place % self._ring])
        stored = self._read(number) if number >= 0 else None
        if stored is None:
            return False
        whole = {**stored, **columns}
        self._check_columns({name: array for name, array in whole.items() if name != PRIORITY})
        length = common_steps(0, first, whole)
        if length != len(stored[PRIORITY]):
            raise StorageError(f"{self.path}: {length} positions in place of a game of {len(stored[PRIORITY])}")
        value = encode(0, first, whole)
        if not self._log.replace(number, value, Entry(0, first, length, len(value), ())):
            return False
        with self._lock:
            at = number - self._first_number
            self._size += len(value) - self._games[at].size
            self._games[at] = _Stored(first, length, len(value))
            self._cache.drop(number)
        return True

    def draw(self, rng: np.random.Generator, count: int, mix: Mix = _BY_PRIORITY) -> Drawn:
        """Draw positions with replacement, by priority unless `mix` says otherwise.

        Raises:
          StorageError: nothing with a priority is stored.
        """
        with self._lock:
            return self._priorities.draw(rng, count, mix)

    def game(self, place: int) -> tuple[int, int, Game]:
        """The game that a place is of: its first place, which move the place is, and its columns (T, ...), read-only.

        Raises:
          NotStoredError: it is not stored any more.
        """
        with self._lock:
            number = self._number_of(place)
            first = int(self._first_at[place % self._ring])
            known = self._cache.get([number])
        if known:
            return first, place - first, known[number]
        columns = self._read(number) if number >= 0 else None
        if columns is None:
            raise NotStoredError(f"{self.path}: position {place} is not stored, or not any more")
        with self._lock:
            self._cache.put(number, columns, sum(array.nbytes for array in columns.values()))
        return first, place - first, columns

    def set_priorities(self, places: NDArray[np.int64], priorities: NDArray[Any]) -> int:
        """Give positions new priorities; returns how many are not stored any more, and were passed over."""
        with self._lock:
            return self._priorities.update(places, priorities)

    def state_dict(self) -> dict[str, Any]:
        """The priorities of all positions: what is on disk is what games were added with."""
        with self._lock:
            return self._priorities.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Give the positions that are stored still the priorities that they had."""
        with self._lock:
            self._priorities.load_state_dict(state)

    def statistics(self) -> GameStatistics:
        """Count what the store holds and has done."""
        with self._lock:
            fill = max(self._positions / self.capacity_positions, self._size / self.capacity_bytes)
            held = self._priorities
            return GameStatistics(len(self._games), self._positions, self._size, held.next, fill, held.drawable)

    def _check_columns(self, columns: Mapping[str, NDArray[Any]]) -> None:
        found = {name: (array.dtype.str, tuple(array.shape[1:])) for name, array in columns.items()}
        expected = {c.name: (c.dtype, c.shape) for c in self.columns.values()}
        if found != expected:
            raise StorageError(f"{self.path}: a game has columns {found}, the store has {expected}")

    def _checked(self, columns: Mapping[str, NDArray[Any]], priorities: NDArray[Any]) -> int:
        self._check_columns(columns)
        length = common_steps(0, self._priorities.next, columns)
        if length > self.capacity_positions:
            raise StorageError(f"{self.path}: a game of {length} positions, the store has {self.capacity_positions}")
        if np.shape(priorities) != (length,) or not (np.isfinite(priorities).all() and np.min(priorities) >= 0):
            raise StorageError(f"{self.path}: a game of {length} positions needs as many priorities of 0 or more")
        return length

    def _commit(self, values: Sequence[bytes], stored: Sequence[_Stored]) -> None:
        """Evict and insert in one transaction, then forget what was evicted."""
        length, size = sum(one.length for one in stored), sum(one.size for one in stored)
        if length > self.capacity_positions or size > self.capacity_bytes:
            raise StorageError(
                f"{self.path}: a group of {length} positions and {size} bytes is more than the whole capacity, "
                f"{self.capacity_positions} positions and {self.capacity_bytes} bytes; add less at a time"
            )
        entries = [Entry(0, one.place, one.length, one.size, ()) for one in stored]
        evicted, extra = self._excess(length, size), 0
        number = self._first_number + len(self._games)
        while not self._log.write(
            range(self._first_number, self._first_number + evicted + extra), number, values, entries, {}
        ):
            # The map cannot grow: let an eighth more go.
            if evicted + extra >= len(self._games):
                raise StorageError(f"{self.path}: LMDB's map is full with nothing left to evict; raise capacity_bytes")
            extra = min(extra + len(self._games) // 8 + 1, len(self._games) - evicted)
        with self._lock:
            for _ in range(evicted + extra):
                self._forget()

    def _excess(self, length: int, size: int) -> int:
        """How many of the oldest games must go for so much more."""
        positions, stored_bytes = self._positions + length, self._size + size
        for count, game in enumerate(self._games):
            if positions <= self.capacity_positions and stored_bytes <= self.capacity_bytes:
                return count
            positions, stored_bytes = positions - game.length, stored_bytes - game.size
        return len(self._games)

    def _link(self, one: _Stored, priorities: NDArray[Any]) -> None:
        at = (one.place + np.arange(one.length)) % self._ring
        self._game_at[at] = self._first_number + len(self._games)
        self._first_at[at] = one.place
        self._priorities.append(one.length, priorities, allowed=priorities > 0)
        self._games.append(one)
        self._positions += one.length
        self._size += one.size

    def _forget(self) -> None:
        gone = self._games.popleft()
        at = (gone.place + np.arange(gone.length)) % self._ring
        self._priorities.forget(gone.length)
        self._game_at[at] = -1
        self._cache.drop(self._first_number)
        self._first_number += 1
        self._positions -= gone.length
        self._size -= gone.size

    def _number_of(self, place: int) -> int:
        held = self._priorities.oldest <= place < self._priorities.next
        return int(self._game_at[place % self._ring]) if held else -1

    def _read(self, number: int) -> Game | None:
        with self._log.reading() as get:
            value = get(number)
            if value is None:
                return None
            chunk = parse(bytes(value), f"{self.path}, game {number}")
        return {name: chunk.column(name) for name in (*self.columns, PRIORITY)}

    def _rebuild(self) -> None:
        """Make places and priorities anew from what is on disk, where priorities are as they were added."""
        entries = list(self._log.entries())
        kept = len(entries)
        positions = sum(entry.steps for _, entry in entries)
        for _, entry in entries:  # the capacity may be smaller than it was
            if positions <= self.capacity_positions:
                break
            positions, kept = positions - entry.steps, kept - 1
        too_old, entries = entries[: len(entries) - kept], entries[len(entries) - kept :]
        if too_old:
            self._log.write([number for number, _ in too_old], 0, (), (), {})
        if entries:
            self._first_number = entries[0][0]
            first_place = entries[0][1].start
            self._priorities = Priorities(self._ring, exponent=self._priorities.exponent, first=first_place)
        for number, entry in entries:
            game = self._read(number)
            if game is None:
                raise StorageError(f"{self.path}: game {number} is in the index and not stored; remove the directory")
            self._link(_Stored(entry.start, entry.steps, entry.size), game[PRIORITY])
