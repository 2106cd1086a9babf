"""Files that sinks write: where they lie, and each whole or not at all."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path

from flow import Context
from flow.errors import DiskFullError, StorageError


def place_of(context: Context, folder: str) -> Path:
    """Where a node's files go: a folder, with one in it for each of several replicas; without, the node's own place."""
    if not folder:
        return context.directory
    return Path(folder) if context.replicas == 1 else Path(folder) / str(context.replica)


def write_whole(path: Path, content: Callable[[Path], None]) -> None:
    """Have a file written under another name first, so that nobody reads half of one.

    Raises:
      DiskFullError: no space is left.
      StorageError: the disk fails otherwise.
    """
    unfinished = path.with_name(f".{path.name}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        content(unfinished)
        unfinished.replace(path)
    except OSError as error:
        if unfinished.exists():
            unfinished.unlink()
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise DiskFullError(f"{path}: no space is left for it; free some") from error
        raise StorageError(f"{path} cannot be written: {error.strerror or error}") from error
