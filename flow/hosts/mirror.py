"""Counters and logs of another host's workers, copied to the run's own directory a few times a second.

A page of counters is 600 KiB, of which little changes: what differs from the last copy travels, in pieces of 512 bytes.
A reader of the copy meets what it meets in a page that is being written: slots before their number, values before their
count, since the pieces are read from the front and written from the back.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import lz4.frame
import numpy as np

from flow import stats_layout as layout

PIECE = 512
PIECES = layout.SIZE // PIECE
LOG_BYTES_MAX = 256 << 10
"""Of one log, at a time."""
LOG_ENDINGS = (".log", ".jsonl", ".out", ".stack")
_AT_AWAY = layout.W_AWAY * 8


class PageSource:
    """The pages of a host's nodes."""

    def __init__(self, paths: Iterable[Path]) -> None:
        self._paths = list(paths)
        self._sent: dict[Path, Any] = {}

    def changes(self) -> Iterator[tuple[str, bytes]]:
        """Name of each page that has changed, and what of it."""
        for path in self._paths:
            try:
                now = np.frombuffer(path.read_bytes(), np.uint8)
            except FileNotFoundError:
                continue
            if len(now) != layout.SIZE:
                continue
            now = now.reshape(PIECES, PIECE)
            before = self._sent.get(path)
            differs = (now != (0 if before is None else before)).any(axis=1)
            self._sent[path] = now
            if differs.any():
                numbers = np.flatnonzero(differs).astype("<u2")
                whole = before is None
                yield path.name, packed(numbers.tobytes(), now[differs].tobytes(), whole=whole)


def packed(numbers: bytes, pieces: bytes, *, whole: bool) -> bytes:
    """Pieces of a page as they travel. whole: the other pieces hold nothing."""
    text: bytes = lz4.frame.compress(struct.pack("<?I", whole, len(numbers)) + numbers + pieces)
    return text


def apply(path: Path, text: bytes) -> None:
    """Write what changed of a page into its copy.

    Raises:
      ValueError: it is no such thing.
      OSError: it cannot be written.
    """
    try:
        raw = lz4.frame.LZ4FrameDecompressor().decompress(text, max_length=layout.SIZE + 2 * PIECES + 8)
        whole, size = struct.unpack_from("<?I", raw)
    except (RuntimeError, EOFError, struct.error) as error:
        raise ValueError(f"{path.name}: no pieces of a page: {error}") from error
    numbers = np.frombuffer(raw, "<u2", size // 2, 5)
    pieces = raw[5 + size :]
    if len(pieces) != len(numbers) * PIECE or (len(numbers) and numbers.max() >= PIECES):
        raise ValueError(f"{path.name}: {len(numbers)} pieces in {len(pieces)} bytes")
    if not path.exists():
        layout.make_page(path)
    with path.open("r+b", buffering=0) as file:
        # In place, since readers have it mapped; from the back, so that nothing is counted that is not there yet.
        if whole:
            for number in sorted(set(range(PIECES)) - set(numbers.tolist()), reverse=True):
                os.pwrite(file.fileno(), bytes(PIECE), number * PIECE)
        for at, number in reversed(list(enumerate(numbers.tolist()))):
            piece = pieces[at * PIECE : (at + 1) * PIECE]
            if number == 0:
                piece = piece[:_AT_AWAY] + layout.AWAY.to_bytes(8, "little") + piece[_AT_AWAY + 8 :]
            os.pwrite(file.fileno(), piece, number * PIECE)


def mark_gone(path: Path) -> None:
    """Say in the copy of a page that its worker is gone."""
    if path.exists():
        with path.open("r+b", buffering=0) as file:
            os.pwrite(file.fileno(), layout.AWAY_GONE.to_bytes(8, "little"), _AT_AWAY)


class LogSource:
    """What is appended to the logs of a directory, from now on."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._done = {path.name: path.stat().st_size for path in self._logs()}

    def _logs(self) -> list[Path]:
        return [path for path in sorted(self._folder.iterdir()) if path.suffix in LOG_ENDINGS]

    def news(self, only: str = "") -> Iterator[tuple[str, bytes]]:
        """Name of each log that has grown, and by what. only: the logs whose names begin so."""
        for path in self._logs():
            if not path.name.startswith(only):
                continue
            size, done = path.stat().st_size, self._done.get(path.name, 0)
            done = 0 if size < done else done  # a stack is written afresh
            if size > done:
                with path.open("rb") as file:
                    file.seek(done)
                    text = file.read(LOG_BYTES_MAX)
                yield path.name, text
                done += len(text)
            self._done[path.name] = done


def append(folder: Path, name: str, text: bytes) -> None:
    """Add to the copy of a log; `name` was judged by `is_log`."""
    descriptor = os.open(folder / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.write(descriptor, text)
    finally:
        os.close(descriptor)


def is_log(name: str) -> bool:
    """Whether another host may write a log of this name."""
    return name == os.path.basename(name) and name[:1] not in ("", ".") and Path(name).suffix in LOG_ENDINGS
