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

    positions: P of them, each before those that it leads to. q: (P, A) what each move is worth to the mover
    under best play of both, -inf where it is not legal. index: by key. starts: where games begin. after: of each
    position its moves, and the position each leads to, -1 where the game is over.
    """

    positions: list[Position]
    q: NDArray[np.float64]
    index: dict[Hashable, int]
    starts: list[int]
    after: list[list[tuple[int, int]]]

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

    @property
    def matters(self) -> NDArray[np.bool_]:
        """Where some legal move gives value away, (P,)."""
        least = np.where(np.isfinite(self.q), self.q, np.inf).min(1)
        matters: NDArray[np.bool_] = least < self.values
        return matters

    def held(self, moves: NDArray[np.int64]) -> float:
        """The share of starts and sides from which a player who makes these moves gets all that can be had, whatever
        the opponent does.

        Args:
          moves: (P,), one for each position.
        """
        own = np.empty(len(self.positions))  # the player's outcome at worst, where it moves
        other = np.empty(len(self.positions))  # and where the opponent moves
        for at in reversed(range(len(self.positions))):  # positions come before those that they lead to
            to = dict(self.after[at])
            own[at] = other[to[int(moves[at])]] if to[int(moves[at])] >= 0 else self.q[at, moves[at]]
            other[at] = min(own[later] if later >= 0 else -self.q[at, move] for move, later in to.items())
        values = self.values
        both = [(own[at] >= values[at], other[at] >= -values[at]) for at in self.starts]
        return float(np.mean(both))


def solve(game: Game) -> Solution:
    """Solve a game by going through all of it.

    Raises:
      SettingError: it has more than 200,000 positions.
    """
    found: dict[Hashable, Position] = {}
    after: dict[Hashable, list[tuple[int, Position]]] = {}
    starts = game.starts()
    ahead = [position for position in starts if not position.over]
    for position in ahead:  # grows while it is gone through
        if position.key in found:
            continue
        if len(found) == POSITIONS_MAX:
            raise SettingError(f"{game.name} has more than {POSITIONS_MAX} positions; it cannot be solved here")
        found[position.key] = position
        after[position.key] = [(int(move), position.after(int(move))) for move in np.flatnonzero(position.legal())]
        ahead += [later for _, later in after[position.key] if not later.over]
    last_first = _last_first(after)
    index = {key: number for number, key in enumerate(reversed(last_first))}
    q = np.full((len(found), game.actions), -np.inf)
    for key in last_first:
        for move, later in after[key]:
            q[index[key], move] = later.reward if later.over else -q[index[later.key]].max()
    keys = list(index)
    leads = [[(move, -1 if later.over else index[later.key]) for move, later in after[key]] for key in keys]
    return Solution([found[key] for key in keys], q, index, [index[start.key] for start in starts], leads)


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
