"""What a simulated run shares with its process: directories, open files, threads, generators."""

from __future__ import annotations

import gc
import hashlib
import os
import random
import shutil
import sys
import tempfile
import threading
from contextlib import AbstractContextManager
from pathlib import Path
from random import Random

import numpy as np

from flow.testing.simulation.journal import Violation


def left_open(open_before: dict[str, str], threads_before: int) -> list[Violation]:
    """What the run had opened and never closed."""
    gc.collect()
    left = [target for number, target in open_files().items() if open_before.get(number) != target]
    found = [Violation("left open", f"{len(left)} files: {', '.join(sorted(left)[:5])}")] if left else []
    if threading.active_count() > threads_before:
        found.append(Violation("left open", f"{threading.active_count() - threads_before} threads"))
    return found


def open_files() -> dict[str, str]:
    found = {}
    for number in os.listdir("/proc/self/fd"):
        try:
            found[number] = os.readlink(f"/proc/self/fd/{number}")
        except OSError:  # the directory itself, listed while it was open
            continue
    return found


def seed_globals(seed: str) -> None:
    """Seed the generators of the process, as no node should rely on."""
    random.seed(seed)
    number = Random(seed).getrandbits(32)
    np.random.seed(number)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.manual_seed(number)


def hash_of(content: bytes) -> str:
    """A short hash."""
    return hashlib.blake2b(content, digest_size=8).hexdigest()


class Temporary(AbstractContextManager[Path]):
    """A directory in memory where there is one: a run's files are many and short-lived."""

    def __enter__(self) -> Path:
        memory = Path("/dev/shm")
        base = memory if os.access(memory, os.W_OK) else None
        self._path = Path(tempfile.mkdtemp(prefix="flow-simulated-", dir=base))
        return self._path

    def __exit__(self, *exc: object) -> None:
        shutil.rmtree(self._path, ignore_errors=True)
