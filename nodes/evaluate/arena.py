"""Plays matches between a planner and an opponent of fixed strength.

weights, every so many updates ──► a match: all games at once, sides in turn ──► score, Elo over the opponent

Against the network's own past it is `nodes.evaluate.ladder` that plays.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import trio

from flow import Call, Context, Latest, Promises, Range, compute, node
from flow.errors import MessageError
from nodes.algo.elo import elo_of
from nodes.games.engine import Engine
from nodes.games.interface import GAMES, Game, Position, game_named, legal_of, observations_of
from nodes.games.messages import Plans, Positions
from nodes.games.opponents import Opponent, opponent_named
from nodes.messages import Weights


@node(promises=Promises(given="nodes.given.learning:arena"))
async def arena(
    planner: Call[Positions, Plans],
    weights: Latest[Weights],
    context: Context,
    *,
    game: Annotated[str, GAMES],
    opponent: Literal["random", "mcts", "engine"] = "random",
    opponent_simulations: Annotated[int, Range(1)] = 100,
    engine: str = "",
    prefix: str = "",
    games: Annotated[int, Range(2, 1000)] = 40,
    opening_moves: Annotated[int, Range(0, 100)] = 2,
    every: Annotated[int, Range(1)] = 1000,
) -> None:
    """Let the planner play, without noise, and count: a win 1, a draw a half.

    `score` is the mean, `elo` what it says over the opponent, `elo_low` and `elo_high` the ends of its 95 % interval.
    Each opening of random moves is played from both sides, so that a match holds different games.

    Args:
      game: which.
      opponent: random legal moves; OpenSpiel's tree search with random playouts; or a chess or shogi engine.
      opponent_simulations: playouts a move of the search, nodes a move of the engine.
      engine: the command that starts a UCI or USI engine, such as "/usr/games/stockfish".
      prefix: put before the names of what is measured, where a graph has several arenas.
      games: in a match; an odd one is left out.
      opening_moves: random moves that a game begins with, unless they would end it.
      every: updates of the weights from one match to the next.
    """
    rules = game_named(game)
    other = await compute(opponent_named, opponent, rules, opponent_simulations, context.seed, engine)
    with contextlib.ExitStack() as stack:
        if isinstance(other, Engine):
            stack.callback(other.close)
        matches = Matches(rules, other, opponent, games // 2, opening_moves, prefix, context)
        due = 0
        while True:
            try:
                await weights.wait(due - 1)
            except trio.EndOfChannel:
                return
            due = weights.version + every
            await matches.play(planner, weights.version)


class Matches:
    """One match after another against one opponent; see `arena` for each."""

    def __init__(
        self, game: Game, other: Opponent, name: str, openings: int, opening_moves: int, prefix: str, context: Context
    ) -> None:
        self._game, self._other, self._name = game, other, name
        self._openings, self._opening_moves, self._prefix, self._context = openings, opening_moves, prefix, context
        self._rng = np.random.default_rng((context.seed, context.incarnation))

    async def play(self, planner: Call[Positions, Plans], version: int) -> None:
        """Play one, and say how it went. version: of the weights that the planner has."""
        match = Match(self._game, self._openings, self._opening_moves, self._rng)
        while match.under_way:
            await compute(match.answer, self._other)
            if match.under_way:
                match.move(await planner(match.question()))
        score, elo = float(np.mean(match.scores)), elo_of(sum(match.scores), len(match.scores))
        metrics, prefix = self._context.metrics, self._prefix
        metrics.count(f"{prefix}matches")
        metrics.record(f"{prefix}match_score", score)
        for name, value in (("score", score), ("elo", elo.difference), ("elo_low", elo.low), ("elo_high", elo.high)):
            metrics.gauge(f"{prefix}{name}", value)
        said = f"scored {score:.3f} against {self._name} in {len(match.scores)} games, Elo {elo}"
        self._context.log(f"updates {version}: {said}")


@dataclass
class _Board:
    position: Position
    side: int  # which player the planner is


class Match:
    """Games between a planner and an opponent, all at once. scores: of the planner in those that are over."""

    def __init__(self, game: Game, openings: int, opening_moves: int, rng: np.random.Generator) -> None:
        self._game = game
        self.scores: list[float] = []
        self.under_way: list[_Board] = []
        for _ in range(openings):
            start = _opening(game, opening_moves, rng)
            self.under_way += [_Board(start, 0), _Board(start, 1)]

    def question(self) -> Positions:
        """What the planner is asked: every game, in which it is to move."""
        positions = [board.position for board in self.under_way]
        return Positions(observations_of(positions), legal_of(positions), np.zeros(len(positions), bool))

    def move(self, plans: Plans) -> None:
        """Make the planner's moves, the most visited.

        Raises:
          MessageError: it advises a move that is not legal.
        """
        for board, action in zip(self.under_way, plans.visits.argmax(1).tolist(), strict=True):
            if not board.position.legal()[action]:
                raise MessageError(
                    f"{self._game.name}: the planner advises move {action}, which is not legal here:\n{board.position}"
                )
            board.position = board.position.after(action)
        self._take_ended()

    def answer(self, opponent: Opponent) -> None:
        """Make the opponent's moves wherever it is to move."""
        self.answered_by(lambda positions: [opponent.move(position) for position in positions])

    def answered_by(self, moves: Callable[[list[Position]], list[int]]) -> None:
        """The same, all positions at once. Raises IllegalMove."""
        waiting = [board for board in self.under_way if board.position.mover != board.side]
        if waiting:
            chosen = moves([board.position for board in waiting])
            for board, action in zip(waiting, chosen, strict=True):
                board.position = board.position.after(action)
        self._take_ended()

    def _take_ended(self) -> None:
        for board in self.under_way:
            if board.position.over:
                last = 1 - board.position.mover  # who moved last, whose reward it is
                reward = board.position.reward if last == board.side else -board.position.reward
                self.scores.append((1 + reward) / 2)
        self.under_way = [board for board in self.under_way if not board.position.over]


def _opening(game: Game, moves: int, rng: np.random.Generator) -> Position:
    position = game.start(rng)
    for _ in range(moves):
        later = position.after(int(rng.choice(np.flatnonzero(position.legal()))))
        if later.over:
            break
        position = later
    return position
