"""Who owns a run: a lock on a file, held for as long as the owner lives.

flock, because it ends with its holder however that dies. It is inherited by a fork, so the owner also writes
down who it is: a lock that only a killed owner's child still has does not count as an owner.
"""

from __future__ import annotations

import fcntl
import os
import re
import time
from pathlib import Path
from types import TracebackType

LOCK_TRIES, LOCK_PAUSE_S = 10, 0.02


class Ownership:
    """The lock of a run; a child that was forked without an exec must `forget` it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def release(self) -> None:
        """Give the run up."""
        if self._descriptor >= 0:
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
        self.forget()

    def forget(self) -> None:
        """Close this process's copy of the lock, and leave it to whoever else has one."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def __enter__(self) -> Ownership:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.release()


def take(lock_file: Path) -> Ownership | None:
    """Take the lock for this process; None when someone else has it."""
    descriptor = os.open(lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    for _ in range(LOCK_TRIES):  # one who asks for the owner holds the lock for microseconds
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            time.sleep(LOCK_PAUSE_S)
            continue
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()} {_birth(os.getpid())}\n".encode(), 0)
        return Ownership(descriptor)
    os.close(descriptor)
    return None


def holder(lock_file: Path) -> int | None:
    """Pid of the living process that took the lock; None when there is none."""
    try:
        descriptor = os.open(lock_file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        found = re.fullmatch(rb"(\d+) (\d+)\n", os.pread(descriptor, 64, 0))
        pid, birth = (int(found[1]), int(found[2])) if found else (0, -1)
        return pid if found and _birth(pid) == birth else None
    else:
        return None
    finally:
        os.close(descriptor)


def _birth(pid: int) -> int:
    """When a process began, in clock ticks since the machine did; -2 when it is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return -2
    return -2 if fields[0] in "ZX" else int(fields[19])
