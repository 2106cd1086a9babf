"""Nim with three heaps of up to 3, 4 and 5 objects: take any number from one heap; who takes the last object wins.

A game begins at heaps drawn uniformly, none of them all empty, so that self-play sees every position. The mover loses
exactly where the exclusive or of the heaps is 0 (Bouton 1901): 17 of the 119 positions.
"""

from __future__ import annotations

import itertools
from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodes.games.interface import IllegalMove, Position

HEAPS = (3, 4, 5)
MOVES = [(heap, taken) for heap, most in enumerate(HEAPS) for taken in range(1, most + 1)]
"""By action: which heap, and how many are taken from it."""


@dataclass(frozen=True)
class NimPosition:
    """Heaps, who moves, and what the last move gave."""

    heaps: tuple[int, ...]
    mover: int = 0

    @property
    def over(self) -> bool:
        return not any(self.heaps)

    @property
    def reward(self) -> float:
        return float(self.over)

    @property
    def key(self) -> Hashable:
        return self.heaps

    def legal(self) -> NDArray[np.bool_]:
        return np.array([taken <= self.heaps[heap] for heap, taken in MOVES])

    def observation(self) -> NDArray[np.float32]:
        """Each heap's size one-hot: 4 + 5 + 6 numbers."""
        seen = [np.eye(most + 1, dtype=np.float32)[left] for most, left in zip(HEAPS, self.heaps, strict=True)]
        return np.concatenate(seen)

    def after(self, action: int) -> NimPosition:
        heap, taken = MOVES[action]
        if taken > self.heaps[heap]:
            raise IllegalMove(f"{taken} cannot be taken from heap {heap + 1} of {self.heaps}")
        heaps = tuple(left - taken * (number == heap) for number, left in enumerate(self.heaps))
        return NimPosition(heaps, 1 - self.mover)

    def words(self, action: int) -> tuple[str, ...]:
        """ "2x3" takes three from heap 2."""
        heap, taken = MOVES[action]
        return (f"{heap + 1}x{taken}",)

    def __str__(self) -> str:
        return "\n".join(f"{number}: {'o ' * left}".rstrip() for number, left in enumerate(self.heaps, 1))


class Nim:
    """The rules."""

    name = "nim"
    actions = len(MOVES)
    observation_shape: tuple[int, ...] = (sum(most + 1 for most in HEAPS),)
    moves_max = sum(HEAPS)

    def start(self, rng: np.random.Generator) -> Position:
        starts = self.starts()
        return starts[int(rng.integers(len(starts)))]

    def starts(self) -> list[Position]:
        every = itertools.product(*(range(most + 1) for most in HEAPS))
        return [NimPosition(heaps) for heaps in every if any(heaps)]

    def action_planes(self) -> NDArray[np.uint8] | None:
        return None
