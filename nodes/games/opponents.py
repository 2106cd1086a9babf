"""Opponents of fixed strength."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from flow.errors import SettingError
from nodes.games.interface import Game, Position

UCT_C = 2.0
MEMORY_MB = 200


class Opponent(Protocol):
    """Makes moves."""

    def move(self, position: Position) -> int:
        """A legal move."""
        ...


def opponent_named(name: str, game: Game, simulations: int, seed: int, engine: str = "") -> Opponent:
    """An opponent: "random"; "mcts", OpenSpiel's tree search with random playouts; or "engine", a program.

    Args:
      simulations: playouts a move of "mcts", nodes a move of an engine.
      engine: the command that starts the latter.

    Raises:
      SettingError: "mcts" for a game that is not of OpenSpiel, "engine" for one that is neither chess nor shogi.
      MissingError: there is no such engine.
    """
    if name == "random":
        return RandomMoves(seed)
    if name == "engine":
        from nodes.games.engine import Engine  # knows OpenSpiel's games, and that is an extra

        return Engine(engine, game, simulations)
    from nodes.games.openspiel import OpenSpiel

    if not isinstance(game, OpenSpiel):
        raise SettingError(
            f'opponent="mcts" plays games of OpenSpiel alone, found {game.name!r}; set opponent = "random", or take '
            "the game from OpenSpiel, such as openspiel:tic_tac_toe"
        )
    return game.searcher(simulations, seed, UCT_C, MEMORY_MB)


class RandomMoves:
    """Any legal move, all alike."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def move(self, position: Position) -> int:
        return int(self._rng.choice(np.flatnonzero(position.legal())))
