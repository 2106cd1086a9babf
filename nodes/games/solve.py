"""Small games, solved: the value of every position that can be reached, and of every move there."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from flow.errors import SettingError
from nodes.games.interface import Game, Position

POSITIONS_MAX = 200_000


@dataclass(frozen=True)
class Solution:
    """Every position in which someone moves.

    positions: P of them, in the order in which they can be reached. q: (P, A) what each move is worth to the mover
    under best play of both, -inf where it is not legal. index: by key.
    """

    positions: list[Position]
    q: NDArray[np.float64]
    index: dict[Hashable, int]

    @property
    def values(self) -> NDArray[np.float64]:
        """What each position is worth to the mover, (P,)."""
        best: NDArray[np.float64] = self.q.max(1)
        return best

    @property
    def won(self) -> NDArray[np.bool_]:
        """Where the mover wins under best play, (P,)."""
        won: NDArray[np.bool_] = self.values > 0
        return won

    @property
    def best(self) -> NDArray[np.bool_]:
        """Moves that keep the position's value, (P, A)."""
        best: NDArray[np.bool_] = self.q == self.values[:, None]
        return best


def solve(game: Game) -> Solution:
    """Solve a game by going through all of it.

    Raises:
      SettingError: it has more than 200,000 positions.
    """
    found: dict[Hashable, Position] = {}
    after: dict[Hashable, list[tuple[int, Position]]] = {}
    ahead = [position for position in game.starts() if not position.over]
    for position in ahead:  # grows while it is gone through
        if position.key in found:
            continue
        if len(found) == POSITIONS_MAX:
            raise SettingError(f"{game.name} has more than {POSITIONS_MAX} positions; it cannot be solved here")
        found[position.key] = position
        after[position.key] = [(int(move), position.after(int(move))) for move in np.flatnonzero(position.legal())]
        ahead += [later for _, later in after[position.key] if not later.over]
    index = {key: number for number, key in enumerate(found)}
    q = np.full((len(found), game.actions), -np.inf)
    for key in _last_first(after):
        for move, later in after[key]:
            q[index[key], move] = later.reward if later.over else -q[index[later.key]].max()
    return Solution(list(found.values()), q, index)


def _last_first(after: dict[Hashable, list[tuple[int, Position]]]) -> list[Hashable]:
    """Keys in an order in which each comes after all that it leads to."""
    done: dict[Hashable, None] = {}
    stack = [(key, False) for key in after]
    while stack:
        key, ready = stack.pop()
        if ready:
            done[key] = None
        elif key not in done:
            stack.append((key, True))
            stack += [(later.key, False) for _, later in after[key] if not later.over and later.key not in done]
    return list(done)
