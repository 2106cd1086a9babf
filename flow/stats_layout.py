"""Where everything lies in a page of counters; shared by its writer and its readers."""

from __future__ import annotations

import mmap
import os
from errno import ENOSPC
from pathlib import Path
from typing import Final, Literal

from flow.errors import DiskFullError, RunError
from flow.histogram import BUCKETS

MAGIC = int.from_bytes(b"flowpage", "little")
VERSION = 2
SIZE = 600 * 1024
"""Bytes of a page: up to 1024 slots, of which about 20 can be series."""

State = Literal["starting", "running", "waiting", "ended", "failed", "paused"]
STATES: Final[tuple[State, ...]] = ("starting", "running", "waiting", "ended", "failed", "paused")
Kind = Literal["counter", "gauge", "series", "histogram"]
KINDS: Final[tuple[Kind, ...]] = ("counter", "gauge", "series", "histogram")

COMPUTING = "_computing_s"
"""A gauge of every node: how long its longest computation has gone on, 0 if there is none."""

RING = 512
"""Values of a series that a reader is shown."""
RING_SLOTS = RING + 64
"""Values that a ring has room for: as many as 63 may come while a reader copies, and 512 are still whole."""
SERIES_SIZE = 8 + RING_SLOTS * 16
SIZES: Final[dict[Kind, int]] = {"counter": 8, "gauge": 8, "series": SERIES_SIZE, "histogram": 8 * BUCKETS}
"""Bytes of a slot."""

# Header words, 8 bytes each.
(W_MAGIC, W_VERSION, W_SIZE, W_SLOTS, W_FREE, W_PID, W_INCARNATION, W_STATE, W_BEAT, W_STARTED, W_CHANGED,
 W_TEXT_SEQUENCE, W_TEXT_SIZE, W_NODE_SIZE, W_REPLICA, W_WORKER_SIZE, W_BEATEN, W_AWAY) = range(18)  # fmt: skip

HERE, AWAY, AWAY_GONE = range(3)
"""Whether the page is of a worker of this machine, or the copy of one elsewhere: of one that lives, or is gone."""

AT_NODE, AT_WORKER, NODE_MAX = 256, 384, 120
AT_TEXT, TEXT_MAX = 512, 1024
AT_DIRECTORY, ENTRY_SIZE, SLOTS_MAX = 2048, 384, 1024
AT_SLOTS = AT_DIRECTORY + ENTRY_SIZE * SLOTS_MAX
# An entry: kind, offset, sizes of name, unit and help in five words, then their bytes.
# A name is as long as that of an edge between two copies of a sweep can be.
AT_ENTRY_NAME, NAME_MAX, AT_ENTRY_UNIT, UNIT_MAX, AT_ENTRY_HELP, HELP_MAX = 40, 248, 288, 16, 304, 80

# Two marks at the end of the page: when each was made (0 while it is written), and every counter as it then was.
MARK_SIZE = 8 + 8 * SLOTS_MAX
AT_MARKS = SIZE - 2 * MARK_SIZE
"""Also where the room for slots ends."""


def make_page(path: Path) -> None:
    """Make an empty page; it has its name only once it is whole."""
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(unfinished, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, SIZE)
            header = {W_MAGIC: MAGIC, W_VERSION: VERSION, W_SIZE: SIZE, W_FREE: AT_SLOTS}
            for word, value in header.items():
                os.pwrite(descriptor, value.to_bytes(8, "little"), word * 8)
        finally:
            os.close(descriptor)
        os.replace(unfinished, path)
    except OSError as error:
        unfinished.unlink(missing_ok=True)
        if error.errno == ENOSPC:
            raise DiskFullError(f"{path}: no space for a page of counters ({SIZE // 1024} KiB); free some") from error
        raise RunError(f"{path}: can't make a page of counters: {error.strerror}") from error


def map_page(path: Path, *, write: bool) -> memoryview[int]:
    """Map a page.

    Raises:
      RunError: the file is no page, or one of another version.
      FileNotFoundError: there is no such file.
    """
    with open(path, "r+b" if write else "rb") as file:
        head = file.read(24)
        size = os.fstat(file.fileno()).st_size
        magic, version, said = (int.from_bytes(head[at : at + 8], "little") for at in (0, 8, 16))
        if size < SIZE or magic != MAGIC:
            raise RunError(f"{path}: not a page of counters; pages are made by the nodes of a run, remove this file")
        if version != VERSION or said != SIZE:
            raise RunError(
                f"{path}: a page of version {version}, this flow reads version {VERSION}; "
                "use the flow that the run was started with"
            )
        access = mmap.ACCESS_WRITE if write else mmap.ACCESS_READ
        return memoryview(mmap.mmap(file.fileno(), SIZE, access=access))
