"""Go, chess and shogi by OpenSpiel's rules, with the planes and the numbering of moves that AlphaZero and MuZero use.

    position ──► the last boards, oriented to the mover ──► planes (8 boards · what a board has + constants, H, W)
    number of a move, as the mover sees the board ◄──► move of OpenSpiel

Each game's own part is an `Encoding`. Source: arXiv:1712.01815, tables S1 and S2; arXiv:1911.08265, appendix E, whose
100 boards for chess are a setting of the encoding.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nodes.games.interface import IllegalMove, Position
from nodes.games.openspiel import OpenSpiel, OpenSpielPosition

BOARDS = 8


@dataclass(frozen=True)
class Board:
    """A board as nobody in particular sees it.

    sides: (2, P, H, W), of each player what belongs to it. shared: (S, H, W), how often this board was there before.
    """

    sides: NDArray[np.float32]
    shared: NDArray[np.float32]


class Encoding(Protocol):
    """What is a game's own.

    rules: the game's name in OpenSpiel. actions: how many numbers moves have. board_shape: (P, S, H, W) of `Board`.
    constants: how many planes say the same on every square. boards: how many boards are shown. `side` is 0 for whoever
    began.
    """

    rules: str
    actions: int
    board_shape: tuple[int, int, int, int]
    constants: int
    boards: int

    def board(self, state: Any, seen_before: int) -> Board:
        """The board of a state that was there so many times before."""
        ...

    def constant(self, state: Any, side: int) -> list[float]:
        """What the constant planes hold, each from 0 to 1."""
        ...

    def turned(self, planes: NDArray[np.float32]) -> NDArray[np.float32]:
        """Planes (..., H, W) as the second player sees them."""
        ...

    def identity(self, state: Any) -> Hashable:
        """What must be equal for a board to count as repeated."""
        ...

    def moves(self, state: Any, side: int) -> dict[int, int]:
        """OpenSpiel's number of each legal move, by the number it has for the mover."""
        ...

    def words(self, state: Any, move: int) -> tuple[str, ...]:
        """What a move of OpenSpiel is called in the game's own notation."""
        ...

    def written(self, state: Any) -> str:
        """A state as an engine is told it."""
        ...

    def drawn(self, state: Any) -> str:
        """The board as text, as the first player sees it."""
        ...

    def action_planes(self) -> NDArray[np.uint8]:
        """(A, Q, H, W): how a move enters the dynamics, appendix E."""
        ...


class EncodedPosition(OpenSpielPosition):
    """A position with what was on the board before. boards: newest first. identities: of every position so far.

    side: who moves, 0 whoever began; OpenSpiel's players may be numbered otherwise.
    """

    def __init__(
        self, state: Any, game: EncodedGame, moved: int, boards: tuple[Board, ...], identities: tuple[Hashable, ...]
    ) -> None:
        super().__init__(state, game, moved)
        self._encoded = game
        encoding = game.encoding
        identity = encoding.identity(state)
        board = encoding.board(state, identities.count(identity))
        self._boards = (board, *boards)[: encoding.boards]
        self._identities = (*identities, identity)
        self.side = int(self.mover != game.first)
        self._moves: dict[int, int] = {} if self.over else encoding.moves(state, self.side)

    def legal(self) -> NDArray[np.bool_]:
        legal = np.zeros(self._encoded.actions, bool)
        legal[list(self._moves)] = True
        return legal

    def observation(self) -> NDArray[np.float32]:
        """Board by board: the mover's planes, the opponent's, the repetitions; then the constants."""
        encoding, side = self._encoded.encoding, self.side
        owned, shared, height, width = encoding.board_shape
        planes = np.zeros((encoding.boards, 2 * owned + shared, height, width), np.float32)
        for at, board in enumerate(self._boards):
            planes[at, :owned], planes[at, owned : 2 * owned] = board.sides[side], board.sides[1 - side]
            planes[at, 2 * owned :] = board.shared
        seen = encoding.turned(planes) if side else planes
        constants = np.array(encoding.constant(self._state, side), np.float32)
        return np.concatenate(
            [
                seen.reshape(-1, height, width),
                np.broadcast_to(constants[:, None, None], (len(constants), height, width)),
            ]
        )

    def after(self, action: int) -> EncodedPosition:
        if action not in self._moves:
            raise IllegalMove(f"{self._encoded.name}: move {action} is not legal here:\n{self._state}")
        state = self._state.child(self._moves[action])
        return EncodedPosition(state, self._encoded, self.mover, self._boards, self._identities)

    def words(self, action: int) -> tuple[str, ...]:
        """As the encoding has it."""
        return self._encoded.encoding.words(self._state, self._moves[action])

    def __str__(self) -> str:
        return self._encoded.encoding.drawn(self._state)

    @property
    def written(self) -> str:
        """As an engine is told it: FEN of chess, SFEN of shogi, OpenSpiel's text of others."""
        return self._encoded.encoding.written(self._state)

    def searched_by(self, bot: Any) -> int:
        """What a bot of OpenSpiel plays here."""
        chosen = super().searched_by(bot)
        return next(action for action, move in self._moves.items() if move == chosen)


class EncodedGame(OpenSpiel):
    """The rules of a game, encoded.

    Raises:
      MissingError: OpenSpiel is not installed.
    """

    def __init__(self, name: str, encoding: Encoding) -> None:
        super().__init__(encoding.rules)
        self.name = name
        self.first = int(self._game.new_initial_state().current_player())
        self.encoding = encoding
        self.actions = encoding.actions
        owned, shared, height, width = encoding.board_shape
        self.observation_shape = (encoding.boards * (2 * owned + shared) + encoding.constants, height, width)

    def starts(self) -> list[Position]:
        state = self._game.new_initial_state()
        return [EncodedPosition(state, self, 1 - state.current_player(), (), ())]

    def action_planes(self) -> NDArray[np.uint8]:
        """(A, Q, H, W)."""
        return self.encoding.action_planes()
