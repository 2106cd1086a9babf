"""Opponents of fixed strength, and how strong a score against one is."""

from __future__ import annotations

import math
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


def opponent_named(name: str, game: Game, simulations: int, seed: int) -> Opponent:
    """An opponent: "random", or "mcts", OpenSpiel's tree search with random playouts.

    Args:
      simulations: playouts a move of "mcts".

    Raises:
      SettingError: "mcts" for a game that is not of OpenSpiel.
    """
    if name == "random":
        return RandomMoves(seed)
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


def elo_of(score: float, games: int) -> float:
    """How much stronger a player is who scores so much a game, a draw a half: P = 1 / (1 + 10^(-d/400)).

    A score of 0 or 1 says no more than that d is large; it is taken half a game away from there.
    """
    held = min(max(score, 0.5 / games), 1 - 0.5 / games)
    return 400 * math.log10(held / (1 - held))
