"""Plays board games against itself, by a planner's advice.

               ╭──► planner ──► visits ──╮
    games of a group                   a move each
               ╰──────── positions ◄─────╯        when one ends: the game ──►

All games of a group ask at once. A game that ends is sent whole and another begins in its place. Some may begin with
random moves: what follows them is planned and learned, they themselves are not.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
import trio

from flow import Call, Context, Out, Promises, Range, node
from flow.errors import MessageError
from nodes.algo.root import choose, policy_target
from nodes.games.interface import GAMES, Game, Position, game_named, legal_of, observations_of
from nodes.games.messages import Plans, PlayedGame, Positions

NOT_PLANNED = -1
"""In place of the weights' version, of a move that no search advised."""


@node(
    promises=Promises(
        given="nodes.given.learning:board",
        seeded=True,
        excused={
            "C13": "games under way are not saved: a node that is started again begins new ones",
        },
    )
)
async def selfplay(
    planner: Call[Positions, Plans],
    games: Out[PlayedGame],
    context: Context,
    *,
    game: Annotated[str, GAMES],
    lanes: Annotated[int, Range(1, 4096)] = 32,
    groups: Annotated[int, Range(1, 16)] = 1,
    temperature: Annotated[float, Range(0)] = 1.0,
    warm_moves: Annotated[int, Range(0)] = 30,
    opening_share: Annotated[float, Range(0, 1)] = 0.0,
    opening_moves: Annotated[int, Range(1)] = 1,
) -> None:
    """Play games of both sides by a planner's advice, and send each when it is over.

    Args:
      game: which.
      lanes: games under way in each group.
      groups: groups that ask apart from each other: while one is planned for, the other moves.
      temperature: T of the draw among visited moves, p ~ N^(1/T).
      warm_moves: so many moves of each game are drawn; after them the most visited is made.
      opening_share: of games that begin with moves drawn uniformly from the legal ones, which nothing is learned of;
        positions that good play does not come to are seen all the same (KataGo, arXiv:1902.10565, does the like).
      opening_moves: how many at most; how many is drawn for each of these games, from 1 on.
    """
    rules = game_named(game)
    openings = Openings(opening_share, opening_moves)
    async with trio.open_nursery() as nursery:
        for number in range(groups):
            rng = np.random.default_rng((context.seed, context.incarnation, number))
            group = Lanes(rules, lanes, temperature, warm_moves, rng, openings)
            nursery.start_soon(_play, group, planner, games, context)


async def _play(lanes: Lanes, planner: Call[Positions, Plans], games: Out[PlayedGame], context: Context) -> None:
    while True:
        plans = await planner(lanes.positions())
        for played in lanes.move(plans):
            await games.send(played)
            context.metrics.count("games")
            context.metrics.record("game_moves", len(played.actions))
            context.metrics.record("last_mover_wins", float(played.rewards[-1]))
        context.metrics.count("moves", len(lanes.under_way))


@dataclass(frozen=True)
class Openings:
    """How often and how long games begin with random moves; see `selfplay`."""

    share: float = 0.0
    moves_max: int = 1

    def length(self, rng: np.random.Generator) -> int:
        """Of one game's."""
        # With no share nothing is drawn, so that a seed means the same games as ever.
        return int(rng.integers(1, self.moves_max + 1)) if self.share and rng.random() < self.share else 0


NO_OPENINGS = Openings()


@dataclass
class UnderWay:
    """A game that is being played: where it stands, and its moves so far. random: so many of them are its opening."""

    position: Position
    random: int = 0
    observations: list[np.ndarray] = field(default_factory=list)
    actions: list[int] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    policies: list[np.ndarray] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)

    def make(self, action: int, value: float, policy: np.ndarray, version: int) -> None:
        """Go on by a move, with what was planned before it."""
        self.observations.append(self.position.observation())
        self.actions.append(action)
        self.values.append(value)
        self.policies.append(policy)
        self.versions.append(version)
        self.position = self.position.after(action)
        self.rewards.append(self.position.reward)

    def finished(self) -> PlayedGame:
        return PlayedGame(
            np.stack(self.observations),
            np.array(self.actions, np.int64),
            np.array(self.rewards, np.float32),
            np.array(self.values, np.float32),
            np.stack(self.policies),
            np.array(self.versions, np.int64),
            np.arange(len(self.actions)) >= self.random,
            True,
        )


class Lanes:
    """Games under way, moved in step.

    Args:
      lanes: how many.
      temperature, warm_moves, openings: see `selfplay`.
    """

    def __init__(
        self,
        game: Game,
        lanes: int,
        temperature: float,
        warm_moves: int,
        rng: np.random.Generator,
        openings: Openings = NO_OPENINGS,
    ) -> None:
        self._game, self._rng, self._openings = game, rng, openings
        self._temperature, self._warm_moves = temperature, warm_moves
        self.under_way = [self._begun() for _ in range(lanes)]

    def _begun(self) -> UnderWay:
        """A game at its start, or after an opening; one that would end in its opening is played from before that."""
        one = UnderWay(self._game.start(self._rng))
        for _ in range(self._openings.length(self._rng)):
            action = int(self._rng.choice(np.flatnonzero(one.position.legal())))
            if one.position.after(action).over:
                break
            one.make(action, 0.0, np.zeros(self._game.actions, np.float32), NOT_PLANNED)
            one.random += 1
        return one

    def positions(self) -> Positions:
        """What is to be planned now, a row a game."""
        positions = [one.position for one in self.under_way]
        return Positions(observations_of(positions), legal_of(positions), np.ones(len(positions), bool))

    def move(self, plans: Plans) -> list[PlayedGame]:
        """Make a move in each game; those that ended with it, whose place a new one has taken.

        Raises:
          MessageError: the planner advises a move that is not legal.
        """
        if plans.visits.shape != (len(self.under_way), self._game.actions):
            raise MessageError(
                f"{self._game.name}: visits have shape {plans.visits.shape}, expected "
                f"{(len(self.under_way), self._game.actions)}; give planner and model the same game"
            )
        warm = np.array([len(one.actions) < self._warm_moves for one in self.under_way])
        chosen = choose(plans.visits, np.where(warm, self._temperature, 0.0), self._rng)
        policies = policy_target(plans.visits)
        finished = []
        for lane, one in enumerate(self.under_way):
            action = int(chosen[lane])
            if not one.position.legal()[action]:
                raise MessageError(
                    f"{self._game.name}: the planner advises move {action}, which is not legal here:\n{one.position}"
                )
            one.make(action, float(plans.values[lane]), policies[lane], plans.version)
            if one.position.over:
                finished.append(one.finished())
                self.under_way[lane] = self._begun()
        return finished
