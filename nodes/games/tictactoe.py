"""Tic-tac-toe: three in a row win, a full board is a draw."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from nodes.games.interface import IllegalMove, Position

LINES = ((0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6))


@dataclass(frozen=True)
class TicTacToePosition:
    """The nine squares, row by row: 1 of who began, -1 of the other, 0 empty."""

    squares: tuple[int, ...] = (0,) * 9

    @property
    def mover(self) -> int:
        return sum(map(abs, self.squares)) % 2

    @property
    def won(self) -> bool:
        return any(abs(sum(self.squares[square] for square in line)) == 3 for line in LINES)

    @property
    def over(self) -> bool:
        return all(self.squares) or self.won

    @property
    def reward(self) -> float:
        return float(self.won)

    @property
    def key(self) -> Hashable:
        return self.squares

    def legal(self) -> NDArray[np.bool_]:
        return np.zeros(9, bool) if self.won else np.array(self.squares) == 0

    def observation(self) -> NDArray[np.float32]:
        """(2, 3, 3): the mover's stones, the opponent's."""
        own = 1 - 2 * self.mover
        board = np.array(self.squares).reshape(3, 3)
        return np.stack([board == own, board == -own]).astype(np.float32)

    def after(self, action: int) -> TicTacToePosition:
        if self.over or self.squares[action]:
            why = "the game is over" if self.over else "it is taken"
            raise IllegalMove(f"square {action} cannot be played: {why}")
        stone = 1 - 2 * self.mover
        return TicTacToePosition((*self.squares[:action], stone, *self.squares[action + 1 :]))

    def words(self, action: int) -> tuple[str, ...]:
        """ "b2" is the middle, as on a board of chess."""
        row, column = divmod(action, 3)
        return (f"{'abc'[column]}{3 - row}",)

    def __str__(self) -> str:
        marks = [".xo"[stone] for stone in self.squares]
        rows = [f"{3 - row // 3} {' '.join(marks[row : row + 3])}" for row in (0, 3, 6)]
        return "\n".join([*rows, "  a b c"])


class TicTacToe:
    """The rules."""

    name = "tictactoe"
    actions = 9
    observation_shape: tuple[int, ...] = (2, 3, 3)
    moves_max = 9

    def start(self, rng: np.random.Generator) -> Position:
        return TicTacToePosition()

    def starts(self) -> list[Position]:
        return [TicTacToePosition()]

    def action_planes(self) -> NDArray[np.uint8] | None:
        return None
