"""Keeps played games on disk and sends back stretches of them to learn from, as many as were played allow.

    games ──► targets, weights ──► LMDB ──► stretches of K moves ──► samples
                                     ▲
    priorities ──────────────────────╯ how often a position is drawn

Learning and playing are coupled here: each position that is played allows so many samples, and when the learner falls
behind no more games are taken. So what is learned does not depend on how fast a machine plays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

import numpy as np
import trio
from numpy.typing import NDArray

from flow import Array, Context, In, Live, Out, Promises, Range, Saved, compute, node
from flow.errors import MessageError, NotStoredError
from nodes.algo.frame_history import rebuilt
from nodes.algo.muzero_targets import Beyond, Record, n_step_values, record, unrolled
from nodes.games.messages import PlayedGame, Samples
from nodes.messages import Priorities
from nodes.replay.kept import KeptPriorities
from nodes.replay.pace import Counts, Pace, check, check_slack
from storage.chunks import Column
from storage.games import Game, GameStore
from storage.priorities import importance

SYNC_S = 1.0
# Added to |ν - z|: what is known exactly is drawn again now and then.
LEAST_PRIORITY = 1e-3
RECORDS_MAX = 10_000
COLUMNS = ("observations", "actions", "rewards", "values", "policies", "versions", "drawn")


def check_settings(settings: Mapping[str, Any]) -> None:
    """Hold the node's settings to each other.

    Raises:
      SettingError: no sample would ever be sent, or playing and learning would wait for each other.
    """
    check(
        least=("least_positions", settings["least_positions"]),
        capacity=("capacity_positions", settings["capacity_positions"]),
    )
    check_slack(settings["samples_a_position"], settings["slack"], settings["batch"])


@node(
    promises=Promises(
        excused={
            "C13": "what is sampled depends on when it is asked for: a node that is started again draws anew",
            "C09": "what is sampled depends on when it is asked for: later there is more to draw from",
            "C14": "it draws as soon as it is started again, and so its state moves on",
        },
        given="nodes.given.learning:games_replay",
        seeded=True,
    ),
    check=check_settings,
)
async def replay(
    inserts: In[PlayedGame],
    priorities: In[Priorities],
    samples: Out[Samples],
    context: Context,
    saved: Saved,
    *,
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
    """Store games, oldest out first; send stretches of them.

    Args:
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
    await keep_games(inserts, priorities, samples, context, saved, settings)


@dataclass(frozen=True)
class GameSettings:
    """What a replay of games is told; see `replay` for each. discount: d of `nodes.algo.muzero_targets`."""

    batch: int
    unroll: int
    discount: float
    td_steps: int
    history: int
    beyond: Beyond
    priority_exponent: Live[float]
    importance_exponent: Live[float]
    samples_a_position: float
    slack: int
    capacity_positions: int
    capacity_gib: float
    least_positions: int


class Beside(Protocol):
    """What else is done with the games that are stored."""

    def note_game(self) -> None:
        """Another was stored."""
        ...

    async def wait_to_insert(self) -> None:
        """Until what the stored games call for is nearly done."""
        ...

    async def run(self, store: GameStore, shelf: Shelf) -> None:
        """Until it is cancelled."""
        ...


async def keep_games(
    inserts: In[PlayedGame],
    priorities: In[Priorities],
    samples: Out[Samples],
    context: Context,
    saved: Saved,
    settings: GameSettings,
    beside: Beside | None = None,
) -> None:
    """Store games and send samples until no more games come; `beside` works on them meanwhile.

    Raises:
      SettingError: no sample could ever be sent.
    """
    least, capacity = settings.least_positions, settings.capacity_positions
    check(least=("least_positions", least), capacity=("capacity_positions", capacity))
    counts = saved.keep("counts", Counts(begun=0))
    kept = saved.keep("priorities", KeptPriorities())
    pace = Pace(counts, settings.samples_a_position, settings.batch, slack=settings.slack, least=least)
    first = await _first(inserts)
    if first is None:
        return
    rng = np.random.default_rng((context.seed, context.incarnation))
    shelf = Shelf(settings.discount, settings.td_steps, settings.unroll, settings.beyond, rng, settings.history)
    with await compute(
        _opened, Path(context.directory) / "games", columns_of(first), settings, thread="write"
    ) as store:
        kept.attach(store)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_sample, store, shelf, pace, settings, samples, context)
            nursery.start_soon(_listen, store, priorities, context)
            nursery.start_soon(_sync, store)
            if beside is not None:
                nursery.start_soon(beside.run, store, shelf)
            await _insert(store, shelf, pace, beside, first, context)
            async for played in inserts:
                await _insert(store, shelf, pace, beside, played, context)
            nursery.cancel_scope.cancel()
        await compute(store.sync, thread="write")


def _opened(path: Path, columns: list[Column], settings: GameSettings) -> GameStore:
    return GameStore(
        path,
        columns,
        capacity_positions=settings.capacity_positions,
        capacity_bytes=int(settings.capacity_gib * 2**30),
        exponent=settings.priority_exponent.value,
    )


async def _insert(
    store: GameStore, shelf: Shelf, pace: Pace, beside: Beside | None, played: PlayedGame, context: Context
) -> None:
    """Store a game, and wait until another may come."""
    shelf.require_whole(played)
    priorities = shelf.priorities_of(played.rewards, played.values, played.drawn)
    await compute(store.add, [(columns_in(played), priorities)], thread="write")
    pace.note_inserted(int(np.count_nonzero(played.drawn)))
    if beside is not None:
        beside.note_game()
    statistics = store.statistics()
    context.metrics.gauge("stored_games", statistics.games)
    context.metrics.gauge("replay_fill", statistics.fill)
    if beside is not None:
        await beside.wait_to_insert()
    await pace.wait_to_insert()


async def _first(inserts: In[PlayedGame]) -> PlayedGame | None:
    async for played in inserts:
        return played
    return None


async def _sample(
    store: GameStore, shelf: Shelf, pace: Pace, settings: GameSettings, samples: Out[Samples], context: Context
) -> None:
    while True:
        await pace.wait_to_sample()
        store.exponent = settings.priority_exponent.value
        beta = settings.importance_exponent.value
        sample = await compute(shelf.sample, store, settings.batch, beta, thread="read")
        await samples.send(sample)
        pace.note_sampled()
        context.metrics.count("sampled_positions", settings.batch)


async def _listen(store: GameStore, priorities: In[Priorities], context: Context) -> None:
    async for said in priorities:
        late = store.set_priorities(said.handles, said.priorities + LEAST_PRIORITY)
        context.metrics.count("late_priorities", late)


async def _sync(store: GameStore) -> None:
    while True:
        await trio.sleep(SYNC_S)
        await compute(store.sync, thread="write")


@dataclass
class Shelf:
    """What is learned of stored games; see `replay` for each."""

    discount: float
    td_steps: int
    unroll: int
    beyond: Beyond
    rng: np.random.Generator
    history: int = 0
    # The targets of games drawn before: working them out takes longer than all else of a draw.
    records: dict[tuple[int, int], Record] = field(default_factory=dict)

    def require_whole(self, played: PlayedGame) -> None:
        """Refuse a stretch of a game from which targets cannot be worked out.

        Raises:
          MessageError: too few moves follow those that samples may begin at.
        """
        if not played.drawn.any():
            raise MessageError("a game came of which no move may be drawn; send games with something to learn")
        if played.over:
            return
        follow = len(played.drawn) - 1 - int(np.flatnonzero(played.drawn)[-1])
        if not self.td_steps:
            raise MessageError(
                "a stretch of a game came that ends before the game does, and td_steps = 0 sums whole games; set "
                "td_steps to the n of the targets"
            )
        if follow < self.td_steps + self.unroll:
            raise MessageError(
                f"a stretch of a game came with {follow} moves after those to be learned; targets take td_steps + "
                f"unroll = {self.td_steps + self.unroll}: set lookahead to that where games are played"
            )

    def priorities_of(self, rewards: Array, values: Array, drawn: Array) -> Array:
        """Of each position of a game, (T,), from what the search said there and what came of it; 0 if not `drawn`."""
        targets = n_step_values(rewards, values, self.discount, self._steps(len(rewards)))
        return np.where(drawn, np.abs(values - targets) + LEAST_PRIORITY, 0)

    def sample(self, store: GameStore, batch: int, importance_exponent: float) -> Samples:
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
        weights = importance(np.array(chances), store.statistics().drawable, importance_exponent)
        return Samples(
            np.concatenate([self.seen(game, np.array([move])) for _, move, game in found]),
            stretch.actions,
            stretch.rewards,
            stretch.values,
            stretch.policies,
            stretch.real,
            weights,
            np.array(places, np.int64),
            np.array([game["versions"][move] for _, move, game in found], np.int64),
        )

    def seen(self, game: Game, moves: NDArray[np.int64]) -> Array:
        """What was observed at some moves (B,) of a game, (B, ...)."""
        if not self.history:
            return game["observations"][moves]
        return rebuilt(game["observations"], game["actions"], moves, self.history, game["policies"].shape[1])

    def _record(self, first_place: int, game: Game) -> Record:
        # A game that was planned anew (`nodes.replay.reanalyze`) has later versions of the weights in it.
        key = (first_place, int(game["versions"][0]))
        known = self.records.get(key)
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
            self.records[key] = known
        return known

    def _steps(self, moves: int) -> int:
        return self.td_steps or moves


def columns_of(played: PlayedGame) -> list[Column]:
    """What a store of such games holds of each position."""
    return [Column(name, array.dtype.str, array.shape[1:]) for name, array in columns_in(played).items()]


def columns_in(played: PlayedGame) -> dict[str, Array]:
    """A game's columns, (T, ...) each."""
    return {name: np.asarray(getattr(played, name)) for name in COLUMNS}
