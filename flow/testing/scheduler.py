"""One trio loop a test, on a clock that jumps, with a scheduler whose choices Hypothesis draws.

trio shuffles tasks that are ready at once with a random generator that it hands to Hypothesis, which seeds it alike
for every example: without a seed of its own drawn for each, a property is tried in one interleaving only, however many
examples there are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from random import Random
from typing import Any, TypeVar

import trio
import trio.testing
from hypothesis import strategies as st
from hypothesis.control import current_build_context

R = TypeVar("R")


def scheduler_random() -> Random:
    """What trio's scheduler draws from. It is private, and reached for here alone.

    Raises:
      RuntimeError: this version of trio keeps it elsewhere, so that interleavings would no longer be explored.
    """
    found = getattr(getattr(trio._core, "_run", None), "_r", None)
    if not isinstance(found, Random):
        raise RuntimeError(
            f"trio {trio.__version__} keeps its scheduler's generator elsewhere than trio._core._run._r; "
            "find it and mend flow/testing/scheduler.py"
        )
    return found


def take_turns_alike() -> None:
    """Let tasks that are ready at once be ordered by age before they are shuffled: else memory addresses decide.

    Raises:
      RuntimeError: this version of trio has that switch elsewhere, so that a seed would not fix a run.
    """
    switch = "_ALLOW_DETERMINISTIC_SCHEDULING"
    if not hasattr(trio._core._run, switch):
        raise RuntimeError(
            f"trio {trio.__version__} has no trio._core._run.{switch}; find it and mend flow/testing/scheduler.py"
        )
    setattr(trio._core._run, switch, True)


def run(test: Callable[[], Awaitable[R]], *, seed: int = 0, real_time: bool = False) -> R:
    """Run an async test to its end; with the same seed its tasks take the same turns."""
    scheduler_random().seed(seed)
    take_turns_alike()
    clock = None if real_time else trio.testing.MockClock(autojump_threshold=0)
    return trio.run(test, clock=clock)


def drawn_seed() -> int:
    """A scheduler seed, drawn by the Hypothesis test that runs now; shrunk and replayed like all it draws."""
    seed: Any = current_build_context().data.draw(st.integers(0, (1 << 32) - 1))
    return int(seed)
