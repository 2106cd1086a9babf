"""Plays matches between a planner and an opponent of fixed strength.

weights, every so many updates ──► a match: all games at once, sides in turn ──► score, Elo over the opponent
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
import trio

from flow import Call, Context, Latest, Promises, Range, compute, node
from flow.errors import MessageError
from nodes.games.interface import GAMES, Game, Position, game_named, legal_of, observations_of
from nodes.games.messages import Plans, Positions
from nodes.games.opponents import Opponent, elo_of, opponent_named
from nodes.messages import Weights


@node(promises=Promises(given="nodes.given.learning:arena"))
async def arena(
    planner: Call[Positions, Plans],
    weights: Latest[Weights],
    context: Context,
    *,
    game: Annotated[str, GAMES],
    opponent: Literal["random", "mcts"] = "random",
    opponent_simulations: Annotated[int, Range(1)] = 100,
    games: Annotated[int, Range(2, 1000)] = 40,
    opening_moves: Annotated[int, Range(0, 100)] = 2,
    every: Annotated[int, Range(1)] = 1000,
) -> None:
    """Let the planner play, without noise, and count: a win 1, a draw a half.

    Each opening of random moves is played from both sides, so that a match holds different games.

    Args:
      game: which.
      opponent: random legal moves, or OpenSpiel's tree search with random playouts.
      opponent_simulations: playouts a move of the latter.
      games: in a match; an odd one is left out.
      opening_moves: random moves that a game begins with, unless they would end it.
      every: updates of the weights from one match to the next.
    """
    rules = game_named(game)
    other = await compute(opponent_named, opponent, rules, opponent_simulations, context.seed)
    rng = np.random.default_rng((context.seed, context.incarnation))
    due = 0
    while True:
        try:
            await weights.wait(due - 1)
        except trio.EndOfChannel:
            return
        due = weights.version + every
        match = Match(rules, games // 2, opening_moves, rng)
        while match.under_way:
            await compute(match.answer, other)
            if match.under_way:
                match.move(await planner(match.question()))
        score = float(np.mean(match.scores))
        context.metrics.count("matches")
        context.metrics.record("match_score", score)
        context.metrics.gauge("score", score)
        context.metrics.gauge("elo", elo_of(score, len(match.scores)))
        context.log(f"updates {weights.version}: scored {score:.3f} against {opponent} in {len(match.scores)} games")


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
        for board in self.under_way:
            if board.position.mover != board.side:
                board.position = board.position.after(opponent.move(board.position))
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
