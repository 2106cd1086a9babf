"""Plays each version of a network against the one before, and adds up what each gained: Elo without a fixed opponent.

weights, every so many updates ──► a match: the newest, by the planner, against those of the match before ──► Elo gained

The network of before is kept and searched here, as the planner searches: without noise, the most visited move. What is
gained from match to match adds up, and so does its error: after many matches only a fixed opponent tells
(`nodes.evaluate.arena`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import numpy as np
import trio

from flow import Call, Context, Latest, Promises, Range, compute, node
from nodes.algo.elo import Elo, elo_of
from nodes.algo.puct import Rules
from nodes.evaluate.arena import Match
from nodes.games.agent import Agent
from nodes.games.interface import GAMES, Game, Position, game_named, legal_of, observations_of
from nodes.games.messages import Plans, Positions
from nodes.messages import Weights


@node(needs=("torch",), promises=Promises(given="nodes.given.learning:ladder"))
async def ladder(
    planner: Call[Positions, Plans],
    weights: Latest[Weights],
    context: Context,
    *,
    game: Annotated[str, GAMES],
    network: Literal["mlp", "board"] = "mlp",
    width: Annotated[int, Range(2, 4096)] = 64,
    blocks: Annotated[int, Range(0, 64)] = 2,
    bins: Annotated[int, Range(0, 1000)] = 0,
    simulations: Annotated[int, Range(1, 100_000)],
    discount: Annotated[float, Range(0, 1)] = 1.0,
    games: Annotated[int, Range(2, 1000)] = 40,
    opening_moves: Annotated[int, Range(0, 100)] = 2,
    every: Annotated[int, Range(1)] = 1000,
) -> None:
    """Let the newest weights play those of the match before, and say in Elo what was gained.

    `ladder_gain` is what the last match says, `ladder_elo` the sum since the first weights, `ladder_low` and
    `ladder_high` the ends of its 95 % interval.

    Args:
      game: which.
      network: which architecture; the weights that arrive must be of the same.
      width: units of a layer, or planes.
      blocks: residual blocks; "mlp" has none.
      bins: n of heads over -n … n; 0: one number.
      simulations: of each search of the network of before; the planner's, so that both search alike.
      discount: γ of those searches.
      games: in a match; an odd one is left out. Each opening is played from both sides.
      opening_moves: random moves that a game begins with, unless they would end it.
      every: updates of the weights from one match to the next.
    """
    rules = game_named(game)
    before = await compute(_Before, rules, network, width, blocks, bins, Rules(-discount), simulations)
    rng = np.random.default_rng((context.seed, context.incarnation))
    climb, due = Climb(rules, before, games // 2, opening_moves, rng), 0
    context.metrics.gauge("ladder_elo", 0.0)  # the first weights are what all else is measured from
    while True:
        try:
            newest = await weights.wait(due - 1)
        except trio.EndOfChannel:
            return
        version = weights.version
        due = version + every
        if before.loaded:
            await climb.play(planner, version, context)
        await compute(before.load, newest)


@dataclass
class Climb:
    """One match after another; see `ladder` for each. stands: of the newest over the first."""

    game: Game
    before: _Before
    openings: int
    opening_moves: int
    rng: np.random.Generator
    stands: Elo = field(default_factory=lambda: Elo(0.0, 0.0))

    async def play(self, planner: Call[Positions, Plans], version: int, context: Context) -> None:
        """Play one, and say what was gained."""
        match = Match(self.game, self.openings, self.opening_moves, self.rng)
        while match.under_way:
            await compute(match.answered_by, self.before.moves)
            if match.under_way:
                match.move(await planner(match.question()))
        gained = elo_of(sum(match.scores), len(match.scores))
        self.stands += gained
        context.metrics.count("ladder_matches")
        found = {"gain": gained.difference, "elo": self.stands.difference, "low": self.stands.low}
        for name, value in {**found, "high": self.stands.high}.items():
            context.metrics.gauge(f"ladder_{name}", value)
        context.log(f"updates {version}: {gained} against those of the match before, {self.stands} since the first")


class _Before:
    """The network of the match before, and its moves."""

    def __init__(
        self, game: Game, network: str, width: int, blocks: int, bins: int, rules: Rules, simulations: int
    ) -> None:
        from nodes.nets.muzero import build  # this worker has torch imported already; others never do

        self._network: Any = build(
            network, game.observation_shape, game.actions, width=width, blocks=blocks, bins=bins,
            action_planes=game.action_planes(),
        )  # fmt: skip
        self._agent = Agent(self._network, rules, simulations)
        self.loaded = False

    def load(self, weights: Weights) -> None:
        from nodes.nets.weights import load_weights

        load_weights(self._network, weights.tensors)
        self.loaded = True

    def moves(self, positions: list[Position]) -> list[int]:
        found = self._agent.search(observations_of(positions), legal_of(positions))
        moves: list[int] = found.visits.argmax(1).tolist()
        return moves
