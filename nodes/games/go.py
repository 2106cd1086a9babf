"""Go as AlphaZero sees it: the stones of the last eight boards, and whose turn it is."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodes.games.encoded import BOARDS, Board

SIZE, SIZE_MIN, SIZE_MAX = 19, 3, 19


class Go:
    """Points row by row and the pass: size² + 1 moves. 8 · 2 + 1 planes.

    OpenSpiel counts area, komi 7.5, and forbids what repeats a board.
    """

    def __init__(self, size: int = SIZE) -> None:
        self.size = size
        self.rules = f"openspiel:go(board_size={size})"
        self.actions = size * size + 1
        self.board_shape = (1, 0, size, size)
        self.constants = 1
        self.boards = BOARDS

    def board(self, state: Any, seen_before: int) -> Board:
        """See `Encoding`. OpenSpiel's first two planes are the stones of black and of white."""
        planes = np.array(state.observation_tensor(0), np.float32).reshape(-1, self.size, self.size)
        return Board(planes[:2, None], np.zeros((0, self.size, self.size), np.float32))

    def constant(self, state: Any, side: int) -> list[float]:
        """1 where black moves."""
        return [1.0 - side]

    def turned(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """A board of Go looks the same from both sides."""
        return planes

    def identity(self, state: Any) -> Hashable:
        """Repetitions are not shown."""
        return None

    def moves(self, state: Any, side: int) -> dict[int, int]:
        """OpenSpiel numbers them alike."""
        return {move: move for move in state.legal_actions()}

    def words(self, state: Any, move: int) -> tuple[str, ...]:
        """ "c4", or "pass"."""
        return (str(state.action_to_string(state.current_player(), move)).split()[1].lower(),)

    def written(self, state: Any) -> str:
        """As OpenSpiel writes it."""
        return str(state)

    def drawn(self, state: Any) -> str:
        """X black, O white."""
        return str(state).rstrip()

    def action_planes(self) -> NDArray[np.uint8]:
        """One plane with the point set; none for the pass."""
        planes = np.zeros((self.actions, self.size * self.size), np.uint8)
        np.fill_diagonal(planes, 1)
        return planes.reshape(self.actions, 1, self.size, self.size)
