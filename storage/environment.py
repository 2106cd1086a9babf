"""LMDB's one handle of an environment in a process, shared by all who use it there, and its errors in our words.

LMDB allows one handle of an environment in a process: two would take each other's locks away. No handle is used across
a fork. There is no writemap, since a full disk would then be SIGBUS, and nothing is synced but when told to: a killed
process loses nothing that was committed.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import lmdb

from flow.errors import DiskFullError, StorageError

# Address space, not memory and not disk: without writemap the file grows as it is filled.
MAP_BYTES = 1 << 40
DATA = "data.mdb"
LOCK = "lock.mdb"


@dataclass
class Environment:
    """A handle. env: LMDB's. users: how many here hold it. owner: the process that opened it."""

    path: Path
    env: Any
    users: int = 0
    owner: int = field(default_factory=os.getpid)

    def release(self) -> None:
        """Let go of it; the last one here closes it."""
        with _gate:
            self.users -= 1
            if self.users == 0:
                if _open_here.get(self.path) is self:
                    del _open_here[self.path]
                self.env.close()


_open_here: dict[Path, Environment] = {}
_gate = threading.Lock()


def acquire(path: Path, databases: int = 0) -> Environment:
    """The handle of an environment, for one more user; opened if nobody here has it, and made when missing.

    What this process may not write is opened to be read.

    Args:
      databases: how many named ones it has.

    Raises:
      DiskFullError: there is no space for it.
      StorageError: it cannot be opened.
    """
    path = path.resolve()
    with _gate:
        shared = _open_here.get(path)
        if shared is None or shared.owner != os.getpid():
            shared = _open_here[path] = Environment(path, _opened(path, databases))
        shared.users += 1
    return shared


def _opened(path: Path, databases: int) -> Any:
    data = path / DATA
    readonly = data.exists() and not (os.access(data, os.W_OK) and os.access(path, os.W_OK))
    with explained(path):
        if not readonly:
            path.mkdir(parents=True, exist_ok=True)
        env = lmdb.open(
            os.fspath(path), map_size=MAP_BYTES, max_dbs=databases, sync=False, metasync=False, writemap=False,
            readahead=False, max_readers=1024, readonly=readonly, lock=not readonly, mode=0o600,
        )  # fmt: skip
        if not readonly:
            env.reader_check()  # a reader that was killed would pin the pages it saw for ever
    return env


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn LMDB's errors into ours."""
    try:
        yield
    except (lmdb.Error, OSError) as error:
        room = os.statvfs(path) if path.exists() else None
        free = room.f_bavail * room.f_frsize if room is not None else 0
        # A short write on a full disk comes as "Input/output error", so the free space has to tell.
        if "No space left" in str(error) or ("Input/output" in str(error) and free < 1 << 20):
            raise DiskFullError(
                f"{path}: no space left on the file system, {free} bytes are free. What was committed is whole and is "
                "not made again; free some space and start anew"
            ) from error
        raise StorageError(f"{path}: {error}") from error
