"""What a two-player board game is to a node: positions that know their legal moves and what follows.

    game = game_named("nim")
    position = game.start(rng)
    position.legal()                which of game.actions moves may be made, (A,) bool
    position.observation()          what the mover sees, game.observation_shape float32
    position.after(action)          the next position; its `reward` is what the move gave who made it

Players alternate, nothing is hidden and nothing is drawn by chance but the start. A position that is over has no legal
move. Its `reward` is from the view of who moved last: 1 won, 0 drawn, -1 lost.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from flow import Array, Names
from flow.errors import FlowError, SettingError

OPENSPIEL = "openspiel:"
ATARI = "atari:"
OWN = ("nim", "tictactoe", "go", "chess", "shogi")


class IllegalMove(FlowError):
    """A move that the rules do not allow where it was made."""


class Position(Protocol):
    """Where a game stands; never changes."""

    @property
    def mover(self) -> int:
        """Who moves, 0 or 1."""
        ...

    @property
    def over(self) -> bool:
        """Whether the game has ended here."""
        ...

    @property
    def reward(self) -> float:
        """What the move that led here gave who made it."""
        ...

    @property
    def key(self) -> Hashable:
        """Equal for positions that are the same to the rules."""
        ...

    def legal(self) -> NDArray[np.bool_]:
        """(A,) bool."""
        ...

    def observation(self) -> NDArray[np.float32]:
        """What the mover sees."""
        ...

    def after(self, action: int) -> Position:
        """The position that a move leads to. Raises IllegalMove."""
        ...

    def words(self, action: int) -> tuple[str, ...]:
        """What a legal move is called, as it is written here first."""
        ...

    def __str__(self) -> str:
        """The board as text, a row a line."""
        ...


class Task(Protocol):
    """What a network must know of what it plays: a board game, or one of Atari.

    observation_shape: without rows. actions: A.
    """

    @property
    def name(self) -> str: ...

    @property
    def actions(self) -> int: ...

    @property
    def observation_shape(self) -> tuple[int, ...]: ...

    def action_planes(self) -> NDArray[np.uint8] | None:
        """(A, Q, H, W), how an action enters a network over planes; None where the network's own way will do."""
        ...


@runtime_checkable
class Game(Task, Protocol):
    """A board game's rules. moves_max: no game takes more."""

    moves_max: int

    def start(self, rng: np.random.Generator) -> Position:
        """Where a game begins; games with several starts draw one."""
        ...

    def starts(self) -> list[Position]:
        """Every position that a game can begin at."""
        ...


def game_named(name: str) -> Game:
    """The rules of a game.

    Args:
      name: "nim", "tictactoe"; "go", "go:9" for a smaller board, "chess", "chess:100" for so many boards in what is
        seen, "shogi": as the paper encodes them; or any two-player board game of OpenSpiel, "openspiel:connect_four".

    Raises:
      SettingError: there is no such game, or it is not of this kind.
      MissingError: OpenSpiel is not installed.
    """
    if name.startswith(OPENSPIEL):
        from nodes.games.openspiel import OpenSpiel  # pyspiel is an extra

        return OpenSpiel(name)
    if name == "nim":
        from nodes.games.nim import Nim

        return Nim()
    if name == "tictactoe":
        from nodes.games.tictactoe import TicTacToe

        return TicTacToe()
    if name.partition(":")[0] in ("go", "chess", "shogi"):
        return _encoded(name)
    near = difflib.get_close_matches(name, OWN, n=1)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(map(repr, OWN))}."
    raise SettingError(f"{name!r} is no game; {hint} Games of OpenSpiel are written 'openspiel:connect_four'")


def task_named(name: str) -> Task:
    """A board game as of `game_named`, or a game of Atari, "atari:pong"; see `nodes.games.atari` for its options.

    Raises:
      SettingError: there is no such game.
      MissingError: the package that has it is not installed.
    """
    if name.startswith(ATARI):
        from nodes.games.atari import atari_task  # needed for these alone

        return atari_task(name)
    return game_named(name)


def _encoded(name: str) -> Game:
    from nodes.games.chess import Chess
    from nodes.games.encoded import EncodedGame
    from nodes.games.go import SIZE_MAX, SIZE_MIN, Go
    from nodes.games.shogi import Shogi

    own, colon, number = name.partition(":")
    if not colon:
        return EncodedGame(name, {"go": Go, "chess": Chess, "shogi": Shogi}[own]())
    count = int(number) if number.isdigit() else -1
    if own == "go" and SIZE_MIN <= count <= SIZE_MAX:
        return EncodedGame(name, Go(count))
    if own == "chess" and count >= 1:
        return EncodedGame(name, Chess(count))
    known = {
        "go": f'"go:9", a board from {SIZE_MIN} to {SIZE_MAX}',
        "chess": '"chess:100", how many boards are seen',
        "shogi": '"shogi" alone',
    }
    raise SettingError(f"{name!r} is no game; write {known[own]}")


@dataclass(frozen=True)
class _GameNames(Names):
    """Names of games, OpenSpiel's among them: too many to list, so each is looked up."""

    find: Callable[[str], object]

    def problem(self, value: str) -> str:
        try:
            self.find(value)
        except FlowError as error:
            return str(error)
        return ""


GAMES = _GameNames(lambda: OWN, "a board game", game_named)
TASKS = _GameNames(lambda: OWN, "a board game, or one of Atari", task_named)


def observations_of(positions: list[Position]) -> Array:
    """What the movers of some positions see, (B, *observation_shape) float32."""
    return np.stack([position.observation() for position in positions])


def legal_of(positions: list[Position]) -> NDArray[np.bool_]:
    """(B, A)."""
    return np.stack([position.legal() for position in positions])
