"""What lies around a node while it is tried: random generators, the clock on the wall, files.

A node that uses what it should not behaves differently when that differs, or is heard when it reaches for it.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

_CLOCKS = ("time", "monotonic", "perf_counter", "time_ns", "monotonic_ns", "perf_counter_ns")
JUMP_S = 3600.0


@dataclass(frozen=True)
class Surroundings:
    """What is different.

    dice: seed of every global random generator; 0 leaves them. wall: the clocks on the wall go mad, and a sleep on
    them is told. module: of the node, whose own names for clocks change too.
    """

    dice: int = 0
    wall: bool = False
    module: str = ""

    @contextmanager
    def around(self, inside: Callable[[], bool], complain: Callable[[str], None]) -> Iterator[None]:
        """Change the surroundings for the time of a trial. inside: whether the node itself runs now."""
        with _dice(self.dice), _wall(self.module, inside, complain, on=self.wall):
            yield


@contextmanager
def _dice(seed: int) -> Iterator[None]:
    if not seed:
        yield
        return
    torch = sys.modules.get("torch")
    before = random.getstate(), np.random.get_state(), torch.get_rng_state() if torch else None
    random.seed(seed)
    np.random.seed(seed)
    if torch:
        torch.manual_seed(seed)
    try:
        yield
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])
        if torch:
            torch.set_rng_state(before[2])


@contextmanager
def _wall(module: str, inside: Callable[[], bool], complain: Callable[[str], None], *, on: bool) -> Iterator[None]:
    if not on:
        yield
        return
    replaced: dict[Any, Any] = {}
    jumps = [0]
    for name in _CLOCKS:
        replaced[getattr(time, name)] = _mad(getattr(time, name), name.endswith("_ns"), inside, jumps)
    replaced[time.sleep] = _sleepless(time.sleep, inside, complain)
    places = [time, *([sys.modules[module]] if module in sys.modules else [])]
    changed = [
        (place, name, value)
        for place in places
        for name, value in list(vars(place).items())
        if callable(value) and _hashable(value) and value in replaced
    ]
    for place, name, value in changed:
        setattr(place, name, replaced[value])
    try:
        yield
    finally:
        for place, name, value in changed:
            setattr(place, name, value)


def _hashable(value: Any) -> bool:
    try:
        hash(value)
    except TypeError:
        return False
    return True


def _mad(
    clock: Callable[[], Any], nanoseconds: bool, inside: Callable[[], bool], jumps: list[int]
) -> Callable[[], Any]:
    def mad() -> Any:
        if not inside():
            return clock()
        jumps[0] += 1
        ahead = JUMP_S * jumps[0]
        return clock() + (int(ahead * 1e9) if nanoseconds else ahead)

    return mad


def _sleepless(
    sleep: Callable[[float], None], inside: Callable[[], bool], complain: Callable[[str], None]
) -> Callable[[float], None]:
    def sleepless(seconds: float) -> None:
        if not inside():
            sleep(seconds)
            return
        complain(f"time.sleep({seconds:g}) stops the whole loop; await trio.sleep({seconds:g})")

    return sleepless
