"""What a group of chunks must be before a replay store takes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flow.errors import StorageError
from storage.chunks import Column, common_steps
from storage.replay_index import Entry, ReplayIndex


class Chunk(NamedTuple):
    """K consecutive steps of one stream."""

    stream: int
    start: int
    columns: Mapping[str, NDArray[Any]]
    """name -> (K, ...)."""


class StreamFacts(NamedTuple):
    """What is recorded of a stream for ever."""

    birth: int
    end: int
    appended: int


def check_columns(where: str, chunk: Chunk, columns: Mapping[str, Column]) -> None:
    """Raise StorageError unless a chunk has the store's columns, each with its dtype and shape."""
    expected = {c.name: (c.dtype, c.shape) for c in columns.values()}
    found = {name: (array.dtype.str, array.shape[1:]) for name, array in chunk.columns.items()}
    if found != expected:
        raise StorageError(
            f"{where}, stream {chunk.stream}, step {chunk.start}: the chunk has columns {found}, the store {expected}"
        )


def facts_after(where: str, group: Sequence[Chunk], index: ReplayIndex) -> dict[int, StreamFacts]:
    """Check that no step of a group is stored already; return what each of its streams will be after it."""
    facts: dict[int, StreamFacts] = {}
    for stream, start, columns in group:
        steps = common_steps(stream, start, columns)
        known = index.streams.get(stream)
        fresh = StreamFacts(max(start, 0), max(start, 0), 0)
        recorded = fresh if known is None else StreamFacts(known.birth, known.end, known.appended)
        birth, end, appended = facts.get(stream, recorded)
        if stream < 0 or start < end:
            raise StorageError(
                f"{where}: stream {stream} is recorded up to step {end}, a chunk of steps {start} to "
                f"{start + steps - 1} overlaps; both count from 0, and a stream goes on at `ends`"
            )
        facts[stream] = StreamFacts(birth, start + steps, appended + steps)
    return facts


def entry_of(chunk: Chunk, size: int, first_column: str | None) -> Entry:
    """Make the index entry of a chunk that takes `size` bytes."""
    firsts: list[int] = []
    if first_column is not None:
        firsts = np.flatnonzero(chunk.columns[first_column]).tolist()
    return Entry(chunk.stream, chunk.start, len(next(iter(chunk.columns.values()))), size, firsts)
