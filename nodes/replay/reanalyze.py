"""A replay of games whose old games are planned anew with the newest network: MuZero Reanalyze (arXiv:1911.08265, H).

    games ──► LMDB ──► samples            as in `nodes.replay.games`
               │ ▲
      a game   ▼ │ its values, policies and versions, in place of those it was played with
              planner

What was played stays: moves, rewards, observations. What the search said of each position is said again by the search
of today, so that the same environment steps teach for longer. Value targets change where they are bootstrapped
(td_steps above 0); where they are outcomes they stay, and policies are what is refreshed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import numpy as np
import trio

from flow import Array, Call, Context, In, Live, Out, Promises, Range, Saved, compute, node
from flow.errors import MessageError, NotStoredError
from nodes.algo.root import policy_target
from nodes.games.interface import TASKS, Game, Task, task_named
from nodes.games.messages import Plans, PlayedGame, Positions, Samples
from nodes.messages import Priorities
from nodes.replay.games import GameSettings, Shelf, check_settings, keep_games
from storage.games import GameStore
from storage.priorities import Mix

ANY = Mix(uniform=1.0)
AT_ONCE = 64
"""Positions in a question: observations with their history are large."""


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
    """Plans stored games anew, so many for each that comes; see `replay` for each."""

    def __init__(self, task: Task, refreshes_a_game: float, planner: Call[Positions, Plans], context: Context) -> None:
        self._task, self._share, self._planner, self._context = task, refreshes_a_game, planner, context
        self._due = 0.0
        self._changed = trio.lowlevel.ParkingLot()
        self._rng = np.random.default_rng((context.seed, context.incarnation, 1))

    def note_game(self) -> None:
        """Another game was stored."""
        self._due += self._share
        self._changed.unpark_all()

    async def run(self, store: GameStore, shelf: Shelf) -> None:
        """For ever."""
        while True:
            while self._due < 1:
                await self._changed.park()
            self._due -= 1
            await self._refresh(store, shelf, int(store.draw(self._rng, 1, ANY).handles[0]))

    async def _refresh(self, store: GameStore, shelf: Shelf, place: int) -> None:
        try:
            first, _, stored = await compute(store.game, place, thread="read")
        except NotStoredError:  # evicted since it was drawn
            return
        legal = legal_along(self._task, stored["observations"][0], stored["actions"])
        asked = [np.arange(at, min(at + AT_ONCE, len(legal))) for at in range(0, len(legal), AT_ONCE)]
        plans = [
            await self._planner(Positions(shelf.seen(stored, moves), legal[moves], np.zeros(len(moves), bool)))
            for moves in asked
        ]
        columns = refreshed(stored, plans)
        if await compute(store.replace, first, columns, thread="write"):
            places = first + np.arange(len(legal))
            store.set_priorities(places, shelf.priorities_of(stored["rewards"], columns["values"], stored["drawn"]))
            self._context.metrics.count("refreshed_games")
            was = float(stored["versions"][stored["drawn"]].mean())  # no search advised the moves of an opening
            self._context.metrics.record("refreshed_age", plans[0].version - was)


def refreshed(stored: Mapping[str, Array], plans: Sequence[Plans]) -> dict[str, Any]:
    """The columns of a game that plans of all its positions, in order, replace."""
    policies = np.concatenate([policy_target(each.visits) for each in plans])
    return {
        "values": np.concatenate([each.values for each in plans]).astype(np.float32),
        "policies": np.asarray(policies, stored["policies"].dtype),
        "versions": np.concatenate([np.full(len(each.values), each.version, np.int64) for each in plans]),
    }


def legal_along(task: Task, observation: Array, actions: Array) -> Array:
    """Which moves were legal before each of a game's moves, (T, A).

    Args:
      observation: the first, which tells from which of the game's starts it was played.

    Raises:
      MessageError: it is no start of this game.
    """
    if not isinstance(task, Game):  # of Atari: every action can always be taken
        return np.ones((len(actions), task.actions), bool)
    for position in task.starts():
        if np.array_equal(position.observation(), observation):
            legal = []
            for action in actions.tolist():
                legal.append(position.legal())
                position = position.after(action)
            return np.stack(legal)
    raise MessageError(f"a stored game begins where no game of {task.name} does; give every node the same game")
