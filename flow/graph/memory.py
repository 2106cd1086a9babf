"""The `[memory]` table: how much a worker may take before it is started again.

    [memory]
    play = "2 GiB"

What is measured is what `flow top` shows: the memory of its process that is resident, its own and shared memory, with
messages that are lent to others and files in /dev/shm. Pages of files on a disk are not counted, as of a store that it
reads: the system takes them back when it needs them. A graph without the table is bounded by the machine alone, and
there the system chooses whom it kills.
"""

from __future__ import annotations

import re
from typing import Any

from flow.graph.model import MAIN_WORKER, MODEL_WORKER, Graph, place
from flow.graph.params import Unfilled
from flow.graph.problems import Problems, described, nearest
from flow.graph.source import Tables

_UNITS = {"MiB": 1 << 20, "GiB": 1 << 30}
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?(MiB|GiB)")


def read_memory(raw: dict[str, Any], problems: Problems) -> dict[str, int]:
    """The limit of each worker that has one, in bytes, as far as it alone can be judged."""
    limits: dict[str, int] = {}
    for worker, value in raw.items():
        match = _SIZE.fullmatch(value) if isinstance(value, str) else None
        size = int(float(match[1]) * _UNITS[match[2]]) if match else 0
        if size:
            limits[worker] = size
        elif not isinstance(value, Unfilled):
            problems.add(
                "memory", worker, f'expected a size above 0, as in "2 GiB" or "500 MiB", found {described(value)}'
            )
    return limits


def check_memory_limits(graph: Graph, tables: Tables, problems: Problems) -> None:
    """Note limits of workers that there are not.

    Args:
      tables: as they were written: a worker that could not be read is there.
    """
    defaults = (MAIN_WORKER, MODEL_WORKER) if problems.found else ()
    known = list(dict.fromkeys([*place(graph), *tables.get("workers", {}), *defaults]))
    for worker in graph.memory:
        if worker not in known:
            problems.add("memory", worker, f"there is no worker '{worker}'{nearest(worker, known)}")


def written(size: int) -> str:
    """A limit as a graph writes it, so that reading it gives the same number of bytes."""
    unit = "GiB" if size % _UNITS["GiB"] == 0 else "MiB"
    return f"{size / _UNITS[unit]:.20f}".rstrip("0").rstrip(".") + f" {unit}"
