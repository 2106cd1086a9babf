"""Shogi as AlphaZero sees it: 9x9x362 planes, and 9x9x139 moves from the mover's side of the board."""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodes.games.encoded import BOARDS, Board

SIDE = 9
HELD = "PLNSGBR"  # what may be in hand, and dropped
PIECES = ("P", "L", "N", "S", "G", "B", "R", "K", "+P", "+L", "+N", "+S", "+B", "+R")
HELD_MAX = 18  # pawns
REPETITIONS = 3
MOVES_MAX = 512  # paper: a game is cut there
# Rows count from the far side, as boards are printed for who moves first: ahead is one row less.
DIRECTIONS = ((-1, 0), (-1, 1), (0, 1), (1, 1), (1, 0), (1, -1), (0, -1), (-1, -1))
JUMPS = ((-2, -1), (-2, 1))
SLIDES = len(DIRECTIONS) * (SIDE - 1)
STEPS = SLIDES + len(JUMPS)
KINDS = 2 * STEPS + len(HELD)


class Shogi:
    """A move is a square and one of 139 kinds: from there 64 slides or 2 jumps, each with promotion or without; or one
    of 7 pieces dropped there.

    Of each board 14 + 14 pieces, 7 + 7 in hand (a share of 18) and 3 repetitions; then colour and moves so far.
    """

    rules = "openspiel:shogi"
    actions = SIDE * SIDE * KINDS
    board_shape = (len(PIECES) + len(HELD), REPETITIONS, SIDE, SIDE)
    constants = 2
    boards = BOARDS

    def board(self, state: Any, seen_before: int) -> Board:
        """See `Encoding`."""
        rows, _, hands, _ = _sfen(state)
        sides = np.zeros((2, len(PIECES) + len(HELD), SIDE, SIDE), np.float32)
        for row, text in enumerate(rows.split("/")):
            column = 0
            for mark in re.findall(r"\d|\+?[A-Za-z]", text):
                if mark.isdigit():
                    column += int(mark)
                else:
                    sides[int(mark[-1].islower()), PIECES.index(mark.upper()), row, column] = 1
                    column += 1
        for count, mark in re.findall(r"(\d*)([A-Za-z])", hands):
            sides[int(mark.islower()), len(PIECES) + HELD.index(mark.upper())] = int(count or 1) / HELD_MAX
        shared = np.zeros((REPETITIONS, SIDE, SIDE), np.float32)
        shared[: min(seen_before, REPETITIONS)] = 1
        return Board(sides, shared)

    def constant(self, state: Any, side: int) -> list[float]:
        """See the class."""
        return [float(side), min(int(_sfen(state)[3]) / MOVES_MAX, 1.0)]

    def turned(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """The board turned half round."""
        return planes[..., ::-1, ::-1]

    def identity(self, state: Any) -> Hashable:
        """Pieces, mover and hands."""
        return tuple(_sfen(state)[:3])

    def moves(self, state: Any, side: int) -> dict[int, int]:
        """See `Encoding`."""
        return {number_of(state.action_to_string(move), side): move for move in state.legal_actions()}

    def words(self, state: Any, move: int) -> tuple[str, ...]:
        """As USI writes it: "7g7f", "2b3c+", "P*5e"."""
        return (str(state.action_to_string(move)),)

    def written(self, state: Any) -> str:
        """SFEN."""
        return str(state.board().to_sfen())

    def drawn(self, state: Any) -> str:
        """Capitals move first; below the board what both have in hand."""
        rows, _, hands, _ = _sfen(state)
        lines = ["  9  8  7  6  5  4  3  2  1"]
        for letter, row in zip("abcdefghi", rows.split("/"), strict=True):
            marks = re.findall(r"\+?[A-Za-z.]", re.sub(r"\d", lambda empty: "." * int(empty[0]), row))
            lines.append("".join(f"{mark:>3}" for mark in marks) + f"  {letter}")
        return "\n".join([*lines, f"in hand: {hands}"])

    def action_planes(self) -> NDArray[np.uint8]:
        """Origin, or which piece is dropped; target, and whether it is on the board; whether it promotes: 11 planes."""
        planes = np.zeros((self.actions, 11, SIDE, SIDE), np.uint8)
        for action in range(self.actions):
            square, kind = divmod(action, KINDS)
            row, column = divmod(square, SIDE)
            if kind >= 2 * STEPS:
                planes[action, 1 + kind - 2 * STEPS] = 1
                up = aside = 0
            else:
                planes[action, 0, row, column] = 1
                planes[action, 10] = kind >= STEPS
                up, aside = step_of(kind % STEPS)
            if 0 <= row + up < SIDE and 0 <= column + aside < SIDE:
                planes[action, 8, row + up, column + aside] = 1
                planes[action, 9] = 1
        return planes


def number_of(word: str, side: int) -> int:
    """The number of a move such as "7g7f", "2b3c+" or "P*5e" for whoever makes it, 0 who moves first."""
    if word[1] == "*":
        row, column = _square(word[2:4], side)
        return (row * SIDE + column) * KINDS + 2 * STEPS + HELD.index(word[0].upper())
    (from_row, from_column), (to_row, to_column) = _square(word[:2], side), _square(word[2:4], side)
    up, aside = to_row - from_row, to_column - from_column
    if (up, aside) in JUMPS:
        kind = SLIDES + JUMPS.index((up, aside))
    else:
        far = max(abs(up), abs(aside))
        kind = DIRECTIONS.index((up // far, aside // far)) * (SIDE - 1) + far - 1
    return (from_row * SIDE + from_column) * KINDS + kind + STEPS * word.endswith("+")


def step_of(kind: int) -> tuple[int, int]:
    """Rows and columns of a move that is no drop."""
    if kind >= SLIDES:
        return JUMPS[kind - SLIDES]
    direction, far = divmod(kind, SIDE - 1)
    up, aside = DIRECTIONS[direction]
    return up * (far + 1), aside * (far + 1)


def _square(word: str, side: int) -> tuple[int, int]:
    row, column = ord(word[1]) - ord("a"), SIDE - int(word[0])
    return (SIDE - 1 - row, SIDE - 1 - column) if side else (row, column)


def _sfen(state: Any) -> list[str]:
    words: list[str] = state.board().to_sfen().split()
    return words
