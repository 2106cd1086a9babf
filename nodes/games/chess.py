"""Chess as AlphaZero sees it: 8x8x119 planes, and 8x8x73 moves from the mover's side of the board."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodes.games.encoded import BOARDS, Board

SIDE = 8
PIECES = "PNBRQK"
# Rows count from the mover's own side, so that a pawn always goes up.
DIRECTIONS = ((1, 0), (1, 1), (0, 1), (-1, 1), (-1, 0), (-1, -1), (0, -1), (1, -1))
JUMPS = ((2, 1), (1, 2), (-1, 2), (-2, 1), (-2, -1), (-1, -2), (1, -2), (2, -1))
UNDER = "nbr"
SLIDES = len(DIRECTIONS) * (SIDE - 1)
KINDS = SLIDES + len(JUMPS) + 3 * len(UNDER)
NO_PROGRESS_MAX = 100  # half-moves, after which it is a draw
MOVES_MAX = 512  # paper: a game is cut there


class Chess:
    """A move is its origin and one of 73 kinds: 56 slides, 8 jumps, 9 promotions to less than a queen.

    Of each board 6 + 6 pieces and 2 repetitions; then colour, moves so far, castling of both, and moves without
    progress.

    Args:
      boards: how many are shown; AlphaZero's 8, MuZero's 100.
    """

    rules = "openspiel:chess"
    actions = SIDE * SIDE * KINDS
    board_shape = (len(PIECES), 2, SIDE, SIDE)
    constants = 7

    def __init__(self, boards: int = BOARDS) -> None:
        self.boards = boards

    def board(self, state: Any, seen_before: int) -> Board:
        """See `Encoding`."""
        sides = np.zeros((2, len(PIECES), SIDE, SIDE), np.float32)
        for line, row in enumerate(_fen(state)[0].split("/")):
            column = 0
            for mark in row:
                if mark.isdigit():
                    column += int(mark)
                else:
                    sides[int(mark.islower()), PIECES.index(mark.upper()), SIDE - 1 - line, column] = 1
                    column += 1
        shared = np.zeros((2, SIDE, SIDE), np.float32)
        shared[: min(seen_before, 2)] = 1
        return Board(sides, shared)

    def constant(self, state: Any, side: int) -> list[float]:
        """See the class."""
        _, _, castling, _, half_moves, move = _fen(state)
        own, other = ("KQ", "kq") if side == 0 else ("kq", "KQ")
        rights = [float(right in castling) for right in own + other]
        return [float(side), min(int(move) / MOVES_MAX, 1.0), *rights, min(int(half_moves) / NO_PROGRESS_MAX, 1.0)]

    def turned(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Black sees its own row first; files stay where they are."""
        return planes[..., ::-1, :]

    def identity(self, state: Any) -> Hashable:
        """Pieces, mover, castling and en passant, as the rule of threefold repetition says."""
        return tuple(_fen(state)[:4])

    def moves(self, state: Any, side: int) -> dict[int, int]:
        """See `Encoding`."""
        import pyspiel

        board = state.board()
        words = ((move, pyspiel.chess.action_to_move(move, board).to_lan()) for move in state.legal_actions())
        return {number_of(word, side): move for move, word in words}

    def words(self, state: Any, move: int) -> tuple[str, ...]:
        """As in a game's record, "Nf3", and by squares, "g1f3"."""
        import pyspiel

        by_squares = pyspiel.chess.action_to_move(move, state.board()).to_lan()
        return (str(state.action_to_string(state.current_player(), move)), str(by_squares))

    def written(self, state: Any) -> str:
        """FEN."""
        return str(state.board().to_fen())

    def drawn(self, state: Any) -> str:
        """Capitals are white."""
        rows = [re.sub(r"\d", lambda empty: "." * int(empty[0]), row) for row in _fen(state)[0].split("/")]
        lines = [f"{SIDE - line} {' '.join(row)}" for line, row in enumerate(rows)]
        return "\n".join([*lines, "  a b c d e f g h"])

    def action_planes(self) -> NDArray[np.uint8]:
        """Origin, target, whether the target is on the board, and the promotion: knight, bishop, rook, none.

        A promotion to a queen is the slide that leads there and has no plane of its own.
        """
        planes = np.zeros((self.actions, 7, SIDE, SIDE), np.uint8)
        for action in range(self.actions):
            origin, kind = divmod(action, KINDS)
            row, column = divmod(origin, SIDE)
            up, aside, piece = step_of(kind)
            planes[action, 0, row, column] = 1
            if 0 <= row + up < SIDE and 0 <= column + aside < SIDE:
                planes[action, 1, row + up, column + aside] = 1
                planes[action, 2] = 1
            planes[action, 3 + (UNDER.index(piece) if piece else len(UNDER))] = 1
        return planes


def number_of(word: str, side: int) -> int:
    """The number of a move such as "e2e4" or "b7a8n" for whoever makes it, 0 white."""
    (from_column, from_row), (to_column, to_row) = (_square(word[at : at + 2], side) for at in (0, 2))
    up, aside = to_row - from_row, to_column - from_column
    piece = word[4:5]
    if piece in tuple(UNDER):
        kind = SLIDES + len(JUMPS) + 3 * UNDER.index(piece) + aside + 1
    elif (up, aside) in JUMPS:
        kind = SLIDES + JUMPS.index((up, aside))
    else:
        far = max(abs(up), abs(aside))
        kind = DIRECTIONS.index((up // far, aside // far)) * (SIDE - 1) + far - 1
    return (from_row * SIDE + from_column) * KINDS + kind


def step_of(kind: int) -> tuple[int, int, str]:
    """Rows up, columns aside, and the piece of a promotion to less than a queen, "" for all other moves."""
    if kind < SLIDES:
        direction, far = divmod(kind, SIDE - 1)
        up, aside = DIRECTIONS[direction]
        return up * (far + 1), aside * (far + 1), ""
    if kind < SLIDES + len(JUMPS):
        return *JUMPS[kind - SLIDES], ""
    piece, aside = divmod(kind - SLIDES - len(JUMPS), 3)
    return 1, aside - 1, UNDER[piece]


def _square(word: str, side: int) -> tuple[int, int]:
    row = int(word[1]) - 1
    return ord(word[0]) - ord("a"), SIDE - 1 - row if side else row


def _fen(state: Any) -> list[str]:
    words: list[str] = state.board().to_fen().split()
    return words
