"""A replay of games whose old games are planned anew with the newest network: MuZero Reanalyze (arXiv:1911.08265, H).

    games ──► LMDB ──► samples            as in `nodes.replay.games`
               │ ▲
      a game   ▼ │ its values, policies and versions, in place of those it was played with
              planner

What was played stays: moves, rewards, observations. What the search said of each position is said again by the search
of today, so that the same environment steps teach for longer. It is the search that plays, with noise at its roots:
without, a policy that is searched again and again hardens on what it happens to prefer, and learned slower than one
that was never planned anew (on Nim; EfficientZero's public code keeps the noise too). Value targets change where they
are bootstrapped (td_steps above 0); where they are outcomes they stay, and policies are what is refreshed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import numpy as np
import trio

from flow import Array, Call, Context, In, Live, Out, Promises, Range, Saved, compute, node
from flow.errors import MessageError, NotStoredError
from nodes.algo.root import policy_target
from nodes.games.interface import TASKS, Task, task_named
from nodes.games.interface import Game as Board
from nodes.games.messages import Plans, PlayedGame, Positions, Samples
from nodes.messages import Priorities
from nodes.replay.games import GameSettings, Shelf, check_settings, keep_games
from storage.games import Game, GameStore
from storage.priorities import Mix

ANY = Mix(uniform=1.0)
AT_ONCE = 64
"""Positions in a question: observations with their history are large."""
BEHIND_GAMES = 8
"""For so many games what is planned anew may be owed: some of it makes a question that is worth a search."""


@node(
    promises=Promises(
        excused={
            "C13": "what is sampled depends on when it is asked for: a node that is started again draws anew",
            "C09": "what is sampled depends on when it is asked for: later there is more to draw from",
            "C14": "it draws as soon as it is started again, and so its state moves on",
        },
        given="nodes.given.learning:reanalysed_games",
        seeded=True,
    ),
    check=check_settings,
)
async def replay(
    inserts: In[PlayedGame],
    priorities: In[Priorities],
    planner: Call[Positions, Plans],
    samples: Out[Samples],
    context: Context,
    saved: Saved,
    *,
    game: Annotated[str, TASKS],
    refreshes_a_game: Annotated[float, Range(0, 1000)] = 1.0,
    batch: Annotated[int, Range(1, 65536)] = 128,
    unroll: Annotated[int, Range(1, 100)] = 5,
    discount: Annotated[float, Range(0, 1)] = 1.0,
    two_players: bool = True,
    td_steps: Annotated[int, Range(0)] = 0,
    history: Annotated[int, Range(0, 1000)] = 0,
    beyond: Literal["zero", "outcome"] = "zero",
    priority_exponent: Live[Annotated[float, Range(0, 4)]] = Live(0.0),
    importance_exponent: Live[Annotated[float, Range(0, 4)]] = Live(1.0),
    samples_a_position: Annotated[float, Range(0.001)] = 1.0,
    slack: Annotated[int, Range(1)] = 1000,
    capacity_positions: Annotated[int, Range(1)] = 1_000_000,
    capacity_gib: Annotated[float, Range(0.001)] = 4.0,
    least_positions: Annotated[int, Range(1)] = 1000,
) -> None:
    """Store games, oldest out first; send stretches of them; plan stored games anew.

    Args:
      game: whose rules say which moves were legal.
      refreshes_a_game: stored games that are planned anew for each that is played, drawn by their positions.
      batch: stretches in a sample.
      unroll: K, moves in a stretch; games may be shorter.
      discount: γ.
      two_players: players alternate, and one's value is the other's loss.
      td_steps: n of the value targets; 0 sums the whole game.
      history: frames in an observation, of games that send one at each move; 0: they send whole observations.
      beyond: the value past a game's end: nothing, or its outcome, which then is no reward.
      priority_exponent: α of P ~ p^α, p = |ν - z|; 0 draws all positions alike.
      importance_exponent: β of the weights (1/N · 1/P)^β that take the draw's bias away.
      samples_a_position: how often a position that is played is sampled, on average.
      slack: positions by which playing may be ahead of that.
      capacity_positions: positions that are kept.
      capacity_gib: and in GiB as stored, whichever comes first.
      least_positions: positions that must be stored before the first sample.
    """
    settings = GameSettings(
        batch,
        unroll,
        -discount if two_players else discount,
        td_steps,
        history,
        beyond,
        priority_exponent,
        importance_exponent,
        samples_a_position,
        slack,
        capacity_positions,
        capacity_gib,
        least_positions,
    )
    refresher = Refresher(task_named(game), refreshes_a_game, planner, context)
    await keep_games(inserts, priorities, samples, context, saved, settings, refresher)


class Refresher:
    """Plans stored games anew, so many for each that comes; see `replay` for each.

    Games wait for it: how much of what is learned is new must not depend on how fast a machine searches.
    """

    def __init__(self, task: Task, refreshes_a_game: float, planner: Call[Positions, Plans], context: Context) -> None:
        self._task, self._share, self._planner, self._context = task, refreshes_a_game, planner, context
        self._due = 0.0
        self._due_max = max(1.0, BEHIND_GAMES * refreshes_a_game)
        self._changed = trio.lowlevel.ParkingLot()
        self._rng = np.random.default_rng((context.seed, context.incarnation, 1))

    def note_game(self) -> None:
        """Another game was stored."""
        self._due += self._share
        self._changed.unpark_all()

    async def wait_to_insert(self) -> None:
        """Until less is owed than a few games call for."""
        while self._due >= self._due_max:
            await self._changed.park()

    async def run(self, store: GameStore, shelf: Shelf) -> None:
        """For ever."""
        while True:
            while self._due < 1:
                await self._changed.park()
            done = await self._refresh(store, shelf)
            self._due -= done  # apart from the line above: more may have come due meanwhile
            self._changed.unpark_all()

    async def _refresh(self, store: GameStore, shelf: Shelf) -> int:
        """Plan some of the games that are due anew, all in one go; how many were drawn for it."""
        drawn, games, positions = 0, dict[int, Game](), 0
        for place in store.draw(self._rng, min(int(self._due), AT_ONCE), ANY).handles.tolist():
            if positions >= AT_ONCE:
                break
            try:
                first, _, stored = await compute(store.game, place, thread="read")
            except NotStoredError:  # evicted since it was drawn
                drawn += 1
                continue
            if first not in games:  # twice in one go would be once: what is owed stays owed
                drawn += 1
                positions += len(stored["actions"])
                games[first] = stored
        found = await self._planned(list(games.values()), shelf)
        for (first, stored), columns in zip(games.items(), found, strict=True):
            if not await compute(store.replace, first, columns, thread="write"):
                continue
            places = first + np.arange(len(stored["actions"]))
            store.set_priorities(places, shelf.priorities_of(stored["rewards"], columns["values"], stored["drawn"]))
            self._context.metrics.count("refreshed_games")
            was = stored["versions"][stored["drawn"]]  # no search advised the moves of an opening
            self._context.metrics.record("refreshed_age", float(columns["versions"].mean()) - float(was.mean()))
        return drawn

    async def _planned(self, games: Sequence[Game], shelf: Shelf) -> list[dict[str, Array]]:
        """Of each game the columns that a search of today replaces."""
        if not games:
            return []
        lengths = [len(game["actions"]) for game in games]
        legal = np.concatenate([legal_along(self._task, game["observations"][0], game["actions"]) for game in games])
        places = [(game, move) for game, length in zip(games, lengths, strict=True) for move in range(length)]
        plans = []
        for at in range(0, len(places), AT_ONCE):
            seen = np.concatenate([shelf.seen(game, np.array([move])) for game, move in places[at : at + AT_ONCE]])
            plans.append(await self._planner(Positions(seen, legal[at : at + AT_ONCE], np.ones(len(seen), bool))))
        return [
            {name: np.asarray(column, game[name].dtype) for name, column in part.items()}
            for game, part in zip(games, cut(refreshed(plans), lengths), strict=True)
        ]


def refreshed(plans: Sequence[Plans]) -> dict[str, Array]:
    """What takes the place of what was said when games were played, (T, ...) of all their positions in order."""
    return {
        "values": np.concatenate([each.values for each in plans]),
        "policies": np.concatenate([policy_target(each.visits) for each in plans]),
        "versions": np.concatenate([np.full(len(each.values), each.version) for each in plans]),
    }


def cut(columns: Mapping[str, Array], lengths: Sequence[int]) -> list[dict[str, Array]]:
    """Columns of several games, game by game."""
    ends = np.cumsum(lengths)
    return [
        {name: column[end - length : end] for name, column in columns.items()}
        for end, length in zip(ends, lengths, strict=True)
    ]


def legal_along(task: Task, observation: Array, actions: Array) -> Array:
    """Which moves were legal before each of a game's moves, (T, A).

    Args:
      observation: the first, which tells from which of the game's starts it was played.

    Raises:
      MessageError: it is no start of this game.
    """
    if not isinstance(task, Board):  # of Atari: every action can always be taken
        return np.ones((len(actions), task.actions), bool)
    for position in task.starts():
        if np.array_equal(position.observation(), observation):
            legal = []
            for action in actions.tolist():
                legal.append(position.legal())
                position = position.after(action)
            return np.stack(legal)
    raise MessageError(f"a stored game begins where no game of {task.name} does; give every node the same game")
