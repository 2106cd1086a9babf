"""Times of a call over rounds, and a line of a table of them: what `tools.bench.replay` is made of."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence


def timed(work: Callable[[], object]) -> float:
    """Seconds that `work` takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def measured(work: Callable[[], object], rounds: int, cpu: list[float] | None = None) -> list[float]:
    """Milliseconds of one call: in each round the mean of 20 calls, after some to warm up.

    `cpu` takes the milliseconds this thread computed: on a machine that others use it says what the
    work costs, where wall time says what was left over for it.
    """
    for _ in range(5):
        work()
    wall = []
    for _ in range(rounds):
        before = time.thread_time()
        wall.append(timed(lambda: [work() for _ in range(20)]) * 1000 / 20)
        if cpu is not None:
            cpu.append((time.thread_time() - before) * 1000 / 20)
    return wall


def row(name: str, values: Sequence[float], target: float | None, shown: str, ratio: float | None = None) -> list[str]:
    """Format one line of the table."""
    low, middle, high = (shown.format(f(values)) for f in (min, statistics.median, max))
    goal = "" if target is None else f"<= {target}" + ("" if statistics.median(values) <= target else "  MISSED")
    return [name, low, middle, high, "" if ratio is None else f"{ratio:.2f}x", goal]
