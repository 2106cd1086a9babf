"""What a network sees of a board, as the board again: how the inspector shows messages with positions.

Observations are planes, from the view of who moves; here they are letters on squares, the mover's own in capitals or as
"x". Only the newest board is drawn of those that an observation holds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flow import Array
from nodes.games.chess import PIECES as CHESS_PIECES
from nodes.games.interface import ATARI
from nodes.games.nim import HEAPS
from nodes.games.shogi import HELD, HELD_MAX
from nodes.games.shogi import PIECES as SHOGI_PIECES

BOARDS_MOST = 4
# By game: what stands for each of the first planes. Connect four and tic-tac-toe of OpenSpiel say whose stone it is,
# all others whether it is the mover's.
LEGENDS = {
    "tictactoe": ("x", "o"),
    "go": ("x", "o"),
    "chess": (*CHESS_PIECES, *CHESS_PIECES.lower()),
    "shogi": (*SHOGI_PIECES, *("",) * len(HELD), *(piece.lower() for piece in SHOGI_PIECES)),
    "openspiel:connect_four": ("x", "o", "."),
    "openspiel:tic_tac_toe": (".", "o", "x"),
    "openspiel:othello": (".", "x", "o"),
}


def boards(fields: Mapping[str, Any], settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """The first boards of a message, each as text; none where its game is not known.

    Args:
      fields: of the message, arrays as arrays.
      settings: of nodes, the nearest first; the first that names a game counts.
    """
    game = next((str(each["game"]) for each in settings if "game" in each), "")
    seen = fields.get("observations")
    if not isinstance(seen, np.ndarray) or game.startswith(ATARI) or seen.ndim < 2:
        return []
    found = [drawn(game, each) for each in seen[:BOARDS_MOST]]
    return [text for text in found if text]


def drawn(game: str, observation: Array) -> str:
    """What the mover sees, as text; "" of a game whose planes are not known here."""
    name = game if game in LEGENDS or game == "nim" else game.partition(":")[0]
    if name == "nim":
        return _heaps(observation)
    legend = LEGENDS.get(name)
    if legend is None or observation.ndim != 3 or len(observation) < len(legend):
        return ""
    planes = np.asarray(observation[: len(legend)])
    if name == "openspiel:connect_four":
        planes = planes[:, ::-1]  # its first row is the lowest
    if name == "chess":
        planes = planes[:, ::-1]  # rows count from the mover's side
    marks = max(map(len, legend))
    rows = []
    for row in range(planes.shape[1]):
        cells = [_mark(planes[:, row, column], legend) for column in range(planes.shape[2])]
        rows.append(" ".join(cell.rjust(marks) for cell in cells))
    if name == "shogi":
        rows += [f"own hand: {_hand(observation[14:21])}", f"other's hand: {_hand(observation[35:42])}"]
    return "\n".join(rows)


def _mark(square: NDArray[Any], legend: tuple[str, ...]) -> str:
    set_ = [mark for mark, value in zip(legend, square, strict=True) if mark and value > 0]
    return set_[0] if set_ else "."


def _hand(planes: Array) -> str:
    counts = [(piece, round(float(plane.flat[0]) * HELD_MAX)) for piece, plane in zip(HELD, planes, strict=True)]
    return " ".join(f"{piece}{count}" for piece, count in counts if count) or "-"


def _heaps(observation: Array) -> str:
    lines, at = [], 0
    for number, most in enumerate(HEAPS, 1):
        left = int(np.argmax(observation[at : at + most + 1]))
        lines.append(f"{number}: {'o ' * left}".rstrip())
        at += most + 1
    return "\n".join(lines)
