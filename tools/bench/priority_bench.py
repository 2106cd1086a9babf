"""Draws by priority from a million items: our tree, compiled and in numpy, beside cpprb's and a plain numpy `choice`.

What a draw of 256 takes alone, with its chances; a draw of a whole table with streams and steps; an update of 256.
"""

from __future__ import annotations

import importlib.util
from typing import Any, get_args

import numpy as np

from storage.priorities import Mix, Priorities
from storage.sum_tree import Kernel
from tools.bench.figures import measured, row

BATCH = 256
DRAW_MS_TARGET = 0.1
BY_PRIORITY = Mix(prioritised=1.0)


def missing() -> str:
    """What to install for the peer, "" if it is there."""
    return "" if importlib.util.find_spec("cpprb") else "cpprb is not installed; to compare with it: pip install cpprb"


def rows(items: int, rounds: int) -> list[list[str]]:
    """The lines of the table."""
    rng = np.random.default_rng(3)
    given = rng.random(items).astype(np.float32)
    kernels = [kernel for kernel in get_args(Kernel) if kernel != "auto"]
    if not importlib.util.find_spec("numba"):
        kernels.remove("numba")
    found = []
    for kernel in kernels:
        ring = Priorities(items, exponent=0.6, kernel=kernel)
        ring.append(items, given)
        handles, said = rng.integers(items, size=BATCH), rng.random(BATCH)

        def update(ring: Any = ring, handles: Any = handles, said: Any = said) -> None:
            ring.update(handles, said)
            ring.draw(rng, 1, BY_PRIORITY)  # changes are gathered until something is drawn

        draw = measured(lambda ring=ring: ring.draw(rng, BATCH, BY_PRIORITY), rounds)
        found += [
            row(f"draw 256 of {items:,} by priority, {kernel}, ms", draw, DRAW_MS_TARGET, "{:.3f}"),
            row("  update 256 and draw 1, ms", measured(update, rounds), None, "{:.3f}"),
        ]
    chances = given.astype(np.float64) ** 0.6

    def choose() -> None:
        rng.choice(items, BATCH, p=chances / chances.sum())

    found.append(row("  numpy: choice(p=...) of all, ms", measured(choose, rounds), None, "{:.2f}"))
    return found + (cpprb_rows(items, given, rounds) if not missing() else [])


def cpprb_rows(items: int, given: Any, rounds: int) -> list[list[str]]:
    """cpprb with one number an item, so that the draw is all it does."""
    from cpprb import PrioritizedReplayBuffer

    rng = np.random.default_rng(3)
    buffer = PrioritizedReplayBuffer(items, {"number": {"dtype": np.int32}}, alpha=0.6)
    buffer.add(number=np.arange(items), priorities=given)
    numbers, said = rng.integers(items, size=BATCH), rng.random(BATCH)

    def update() -> None:
        buffer.update_priorities(numbers, said)
        buffer.sample(1, beta=0.4)

    return [
        row("  cpprb: sample 256, ms", measured(lambda: buffer.sample(BATCH, beta=0.4), rounds), None, "{:.3f}"),
        row("    update 256 and sample 1, ms", measured(update, rounds), None, "{:.3f}"),
    ]
