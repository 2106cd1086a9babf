"""Keeps played games on disk and sends back stretches of them to learn from, as many as were played allow.

    games ──► targets, weights ──► LMDB ──► stretches of K moves ──► samples
                                     ▲
    surprises ───────────────────────╯ how often a position is drawn

Learning and playing are coupled here: each position that is played allows so many samples, and when the learner falls
behind no more games are taken. So what is learned does not depend on how fast a machine plays.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
import trio

from flow import Array, Context, In, Out, Promises, Range, Saved, compute, node
from flow.errors import NotStoredError, SettingError
from nodes.algo.muzero_targets import Beyond, Record, n_step_values, record, unrolled
from nodes.games.messages import PlayedGame, Samples, Surprises
from storage.chunks import Column
from storage.games import Game, GameStore

SYNC_S = 1.0
# Added to |ν - z|: what is known exactly is drawn again now and then.
LEAST_PRIORITY = 1e-3
RECORDS_MAX = 10_000
COLUMNS = ("observations", "actions", "rewards", "values", "policies", "versions")


@dataclass
class Counts:
    """What came and what went, in positions; kept in checkpoints."""

    played: int = 0
    sampled: int = 0


@node(
    promises=Promises(
        excused={
            "C13": "what is sampled depends on when it is asked for: a node that is started again draws anew",
            "C09": "what is sampled depends on when it is asked for: later there is more to draw from",
            "C14": "it draws as soon as it is started again, and so its state moves on",
        },
        given="nodes.given.learning:games_replay",
        seeded=True,
    )
)
async def replay(
    inserts: In[PlayedGame],
    surprises: In[Surprises],
    samples: Out[Samples],
    context: Context,
    saved: Saved,
    *,
    batch: Annotated[int, Range(1, 65536)] = 128,
    unroll: Annotated[int, Range(1, 100)] = 5,
    discount: Annotated[float, Range(0, 1)] = 1.0,
    two_players: bool = True,
    td_steps: Annotated[int, Range(0)] = 0,
    beyond: Literal["zero", "outcome"] = "zero",
    priority_exponent: Annotated[float, Range(0, 4)] = 0.0,
    importance_exponent: Annotated[float, Range(0, 4)] = 1.0,
    samples_a_position: Annotated[float, Range(0.001)] = 1.0,
    slack: Annotated[int, Range(1)] = 1000,
    capacity_positions: Annotated[int, Range(1)] = 1_000_000,
    capacity_gib: Annotated[float, Range(0.001)] = 4.0,
    least_positions: Annotated[int, Range(1)] = 1000,
) -> None:
    """Store games, oldest out first; send stretches of them.

    Args:
      batch: stretches in a sample.
      unroll: K, moves in a stretch; games may be shorter.
      discount: γ.
      two_players: players alternate, and one's value is the other's loss.
      td_steps: n of the value targets; 0 sums the whole game.
      beyond: the value past a game's end: nothing, or its outcome, which then is no reward.
      priority_exponent: α of P ~ p^α, p = |ν - z|; 0 draws all positions alike.
      importance_exponent: β of the weights (1/N · 1/P)^β that take the draw's bias away.
      samples_a_position: how often a position that is played is sampled, on average.
      slack: positions by which playing may be ahead of that.
      capacity_positions: positions that are kept.
      capacity_gib: and in GiB as stored, whichever comes first.
      least_positions: positions that must be stored before the first sample.
    """
    if least_positions > capacity_positions:
        raise SettingError(
            f"least_positions={least_positions} is more than capacity_positions={capacity_positions}: "
            "no sample would be sent"
        )
    counts = saved.keep("counts", Counts())
    first = await _first(inserts)
    if first is None:
        return
    shelf = Shelf(
        -discount if two_players else discount,
        td_steps,
        unroll,
        beyond,
        priority_exponent,
        importance_exponent,
        np.random.default_rng((context.seed, context.incarnation)),
    )
    coupled = Coupled(counts, samples_a_position, slack, least_positions, batch)
    path, size = Path(context.directory) / "games", int(capacity_gib * 2**30)
    columns = columns_of(first)
    opened = await compute(
        lambda: GameStore(
            path, columns, capacity_positions=capacity_positions, capacity_bytes=size, exponent=priority_exponent
        ),
        thread="write",
    )
    with opened as store:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_sample, store, shelf, coupled, samples, batch, context)
            nursery.start_soon(_listen, store, shelf, surprises, context)
            nursery.start_soon(_sync, store)
            await _insert(store, shelf, coupled, first, context)
            async for played in inserts:
                await _insert(store, shelf, coupled, played, context)
            nursery.cancel_scope.cancel()
        await compute(store.sync, thread="write")


async def _insert(store: GameStore, shelf: Shelf, coupled: Coupled, played: PlayedGame, context: Context) -> None:
    """Store a game, and wait until another may come."""
    await compute(store.add, [(columns_in(played), shelf.priorities_of(played))], thread="write")
    coupled.note_played(len(played.actions))
    statistics = store.statistics()
    context.metrics.gauge("stored_games", statistics.games)
    context.metrics.gauge("replay_fill", statistics.fill)
    await coupled.wait_to_insert()


async def _first(inserts: In[PlayedGame]) -> PlayedGame | None:
    async for played in inserts:
        return played
    return None


async def _sample(
    store: GameStore, shelf: Shelf, coupled: Coupled, samples: Out[Samples], batch: int, context: Context
) -> None:
    while True:
        await coupled.wait_to_sample()
        sample = await compute(shelf.sample, store, batch, thread="read")
        await samples.send(sample)
        coupled.note_sampled()
        context.metrics.count("sampled_positions", batch)


async def _listen(store: GameStore, shelf: Shelf, surprises: In[Surprises], context: Context) -> None:
    async for surprise in surprises:
        if shelf.priority_exponent:
            late = store.set_priorities(surprise.places, surprise.priorities + LEAST_PRIORITY)
            context.metrics.count("late_priorities", late)


async def _sync(store: GameStore) -> None:
    while True:
        await trio.sleep(SYNC_S)
        await compute(store.sync, thread="write")


class Coupled:
    """Holds two rates together: `sampled` stays below `played · ratio`, and not more than `slack · ratio` below it.

    Raises:
      SettingError: slack is too small for a whole batch, so that both would wait for each other.
    """

    def __init__(self, counts: Counts, ratio: float, slack: int, least: int, batch: int) -> None:
        if slack * ratio < batch:
            raise SettingError(
                f"slack={slack} positions, sampled {ratio:g} times each, are less than batch={batch}: playing and "
                f"learning would wait for each other; set slack = {int(batch / ratio) + 1} or more"
            )
        self._counts, self._ratio, self._slack, self._least, self._batch = counts, ratio, slack, least, batch
        self._changed = trio.lowlevel.ParkingLot()

    async def wait_to_sample(self) -> None:
        """Until enough was played for another batch."""
        while not self._may_sample():
            await self._changed.park()

    async def wait_to_insert(self) -> None:
        """Until enough was sampled for more to be played."""
        while not self._may_insert():
            await self._changed.park()

    def note_sampled(self) -> None:
        """A batch was sent."""
        self._counts.sampled += self._batch
        self._changed.unpark_all()

    def note_played(self, positions: int) -> None:
        """A game was stored."""
        self._counts.played += positions
        self._changed.unpark_all()

    def _may_sample(self) -> bool:
        played = self._counts.played
        return played >= self._least and self._counts.sampled + self._batch <= played * self._ratio

    def _may_insert(self) -> bool:
        played = self._counts.played
        return played < self._least or (played - self._slack) * self._ratio <= self._counts.sampled


@dataclass
class Shelf:
    """What is learned of stored games; see `replay` for each."""

    discount: float
    td_steps: int
    unroll: int
    beyond: Beyond
    priority_exponent: float
    importance_exponent: float
    rng: np.random.Generator
    # The targets of games drawn before: working them out takes longer than all else of a draw.
    records: dict[int, Record] = field(default_factory=dict)

    def priorities_of(self, played: PlayedGame) -> Array:
        """Of each position of a new game, from what the search said there and what came of it."""
        targets = n_step_values(played.rewards, played.values, self.discount, self._steps(len(played.actions)))
        return np.abs(played.values - targets) + LEAST_PRIORITY

    def sample(self, store: GameStore, batch: int) -> Samples:
        """Draw a batch of stretches; what was evicted in between is drawn again."""
        places: list[int] = []
        chances: list[float] = []
        found: list[tuple[int, int, Game]] = []
        while len(places) < batch:
            draw = store.draw(self.rng, batch - len(places))
            for place, chance in zip(draw.handles.tolist(), draw.chances.tolist(), strict=True):
                try:
                    found.append(store.game(place))
                except NotStoredError:
                    continue
                places.append(place)
                chances.append(chance)
        starts = [move for _, move, _ in found]
        stretch = unrolled([self._record(first, game) for first, _, game in found], starts, self.unroll, self.rng)
        # N is how many positions there are to draw; β takes away what drawing some more often does to the mean.
        weights = (1 / (store.statistics().positions * np.array(chances))) ** self.importance_exponent
        return Samples(
            np.stack([game["observations"][move] for _, move, game in found]),
            stretch.actions,
            stretch.rewards,
            stretch.values,
            stretch.policies,
            stretch.real,
            weights.astype(np.float32),
            np.array(places, np.int64),
            np.array([game["versions"][move] for _, move, game in found], np.int64),
        )

    def _record(self, first_place: int, game: Game) -> Record:
        known = self.records.get(first_place)
        if known is None:
            known = record(
                game["actions"],
                game["rewards"],
                game["policies"],
                game["values"],
                discount=self.discount,
                steps=self._steps(len(game["actions"])),
                unroll=self.unroll,
                beyond=self.beyond,
            )
            while len(self.records) >= RECORDS_MAX:
                del self.records[next(iter(self.records))]
            self.records[first_place] = known
        return known

    def _steps(self, moves: int) -> int:
        return self.td_steps or moves


def columns_of(played: PlayedGame) -> list[Column]:
    """What a store of such games holds of each position."""
    return [Column(name, array.dtype.str, array.shape[1:]) for name, array in columns_in(played).items()]


def columns_in(played: PlayedGame) -> dict[str, Array]:
    """A game's columns, (T, ...) each."""
    return {name: np.asarray(getattr(played, name)) for name in COLUMNS}
