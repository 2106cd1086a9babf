"""Keeps transitions of any environment on disk and sends back windows of them, drawn uniformly or by priority.

    inserts ──► LMDB, a stream a lane ──► samples, `ratio` windows for each step inserted
                         ▲
    priorities ──────────╯ how often a window is drawn, by the handle it was sent with

The next transitions are taken when all samples that the last ones called for are sent: how much is learned from a
step does not depend on how fast a machine is, and the same inserts give the same samples; by priority they depend on
when priorities come, too. That is the strictest form of the rate limiter of Reverb, arXiv:2102.04736.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import trio

from flow import Context, In, Live, Message, Names, Out, Promises, Range, Saved, compute, node
from flow.errors import SettingError, StorageError
from flow.generic import derived
from flow.message import Dim, Field
from nodes.messages import Priorities
from nodes.replay.kept import KeptPriorities
from nodes.replay.pace import Counts, Pace, check
from storage.priorities import importance
from storage.replay import Chunk, Column, Mix, Replay, Table

T = TypeVar("T", bound=Message)
S = TypeVar("S", bound=Message)

SYNC_S = 1.0
LANES, FIRST = "lane_ids", "first"
HANDLES, WEIGHTS = "handles", "weights"
# Added to what is said of a priority: what is known exactly is drawn again now and then.
LEAST_PRIORITY = 1e-3
# The dimension that stands for the steps of each lane is the second one.
STEPS_AT = 1


PROMISES = Promises(
    given="nodes.given.learning:transitions_replay",
    seeded=True,
    excused={
        "C13": "what was inserted after its state was saved stays on disk, and is drawn too",
        "C09": "it takes priorities while its samples wait, or a learner that sends one would wait for itself",
    },
)


def samples_bound(settings: Mapping[str, Any], known: Mapping[str, type[Message]]) -> Mapping[str, type[Message]]:
    """For `node(binds=…)`: samples are what is inserted, with `rows` and `steps` as the node's settings say."""
    return {"S": samples_of(known["T"], settings["rows"], settings["steps"])} if "T" in known else {}


def samples_of(inserted: type[Message], rows: int, steps: int) -> type[Message]:
    """The message type of samples of transitions.

    Raises:
      SettingError: the type lacks what the store goes by, or holds what it cannot store.
    """
    fields = {spec.name: spec for spec in inserted.fields}
    for name in (LANES, FIRST):
        if name not in fields:
            raise SettingError(
                f"{inserted.__name__} has no field '{name}', by which transitions are stored; "
                f"it has {', '.join(fields) or 'none'}"
            )
    own = (
        Field(HANDLES, "array", "Of each window, for its priority.", ("int64",), (Dim(None, rows),)),
        Field(
            WEIGHTS,
            "array",
            "How much each window counts: 1 where all are drawn alike, less for what is drawn more often.",
            ("float32",),
            (Dim(None, rows),),
        ),
    )
    for spec in own:
        if spec.name in fields:
            raise SettingError(
                f"{inserted.__name__} has a field '{spec.name}', which samples have of their own; give it another name"
            )
    return derived(f"Sampled{inserted.__name__}", (*(_sampled(spec, rows, steps) for spec in fields.values()), *own))


def _sampled(spec: Field, rows: int, steps: int) -> Field:
    if spec.name == LANES:
        return replace(spec, dims=(Dim(None, rows),))
    if spec.kind != "array" or (len(spec.dims) <= STEPS_AT and not spec.any_rank):
        raise SettingError(
            f"field '{spec.name}', {spec}, has no second dimension for the steps of a lane, as every field of "
            "transitions but lane_ids has; leave it out or give it one"
        )
    return replace(spec, dims=(Dim(None, rows), Dim(None, steps), *spec.dims[STEPS_AT + 1 :]), library="numpy")


@dataclass(frozen=True)
class _MixNames(Names):
    """Laws to draw by."""

    def problem(self, value: str) -> str:
        try:
            Mix.parse(value)
        except StorageError as error:
            return str(error)
        return ""


LAWS = _MixNames(lambda: Mix._fields, "a law to draw by")


def check_settings(settings: Mapping[str, Any]) -> None:
    """Hold the node's settings to each other.

    Raises:
      SettingError: no sample would ever be sent.
    """
    check(least=("least", settings["least"]), capacity=("capacity", settings["capacity"]))
    if settings["steps"] >= settings["capacity"]:
        raise SettingError(
            f"nothing could be drawn: a window of steps={settings['steps']} and one more do not fit "
            f"capacity={settings['capacity']}; raise capacity"
        )


@node(binds=samples_bound, promises=PROMISES, check=check_settings)
async def replay(
    inserts: In[T],
    priorities: In[Priorities],
    samples: Out[S],
    context: Context,
    saved: Saved,
    *,
    rows: Annotated[int, Range(1, 65536)] = 64,
    steps: Annotated[int, Range(1, 1000)] = 1,
    ratio: Annotated[float, Range(0.001, 1e6)] = 32.0,
    how: Annotated[str, LAWS] = "uniform",
    alpha: Live[Annotated[float, Range(0, 4)]] = Live(0.6),
    beta: Live[Annotated[float, Range(0, 4)]] = Live(0.4),
    newest: Annotated[int, Range(1)] = 10_000,
    least: Annotated[int, Range(1)] = 1_000,
    capacity: Annotated[int, Range(1)] = 100_000,
    capacity_gib: Annotated[float, Range(0.001)] = 1.0,
    cache_gib: Annotated[float, Range(0)] = 0.25,
) -> None:
    """Store transitions, oldest out first; send batches of windows that begin at any stored step.

    A window may go over the end of an episode into the next one of its lane: `terminated`, `truncated` and `first`
    tell. Goes on after a restart with what is on disk.

    Args:
      rows: windows in a sample.
      steps: consecutive transitions in a window.
      ratio: windows drawn for each transition inserted; with a batch of 64, 32 is an update for every two steps.
      how: "uniform", "prioritised" by |error|, "recent", or shares of them: "0.75 prioritised + 0.25 recent".
      alpha: α of P ~ p^α; 0 draws all alike. Each change weighs all that is stored anew.
      beta: β of the weights (1/N · 1/P)^β, relative to the largest in the sample; 1 takes the draw's bias away whole.
      newest: transitions that "recent" draws from.
      least: transitions that must be stored before the first sample.
      capacity: transitions that are kept.
      capacity_gib: and in GiB as stored, whichever comes first.
      cache_gib: decoded steps that are kept in memory.
    """
    check_settings({"least": least, "capacity": capacity, "steps": steps})
    counts = saved.keep("counts", Counts())
    kept = saved.keep("priorities", KeptPriorities())
    dice = saved.keep("dice", np.random.default_rng(context.seed))
    first = await _first(inserts)
    if first is None:
        return
    path, columns = Path(context.directory) / "replay", columns_of(first)
    made = samples_of(type(first), rows, steps)
    pace = Pace(counts, ratio, rows, least=least)
    with await compute(lambda: opened(path, columns, capacity, capacity_gib, cache_gib)) as store:
        table = store.table(steps, 0, exponent=alpha.value, newest=newest)
        kept.attach(table)
        law = Law(store, table, Mix.parse(how), alpha, beta, dice, made, rows)
        drawer = Drawer(law, context, pace, counts)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_listen, table, priorities, context)
            await drawer.send_due(samples)  # what was left to be drawn when the node was stopped
            await drawer.insert(first, least)
            await drawer.send_due(samples)
            async for transitions in inserts:
                await drawer.insert(transitions, least)
                await drawer.send_due(samples)
                if drawer.hopeless:
                    break
            nursery.cancel_scope.cancel()
        await compute(store.sync)
    if drawer.hopeless:
        raise SettingError(
            f"nothing can be drawn: no lane's part of what is kept has steps={steps} and one more; raise capacity or "
            "capacity_gib"
        )


async def _listen(table: Table, priorities: In[Priorities], context: Context) -> None:
    async for said in priorities:
        late = table.update(said.handles, said.priorities + LEAST_PRIORITY)
        context.metrics.count("late_priorities", late)


async def _first(inserts: In[T]) -> T | None:
    async for transitions in inserts:
        return transitions
    return None


def columns_of(transitions: Message) -> list[Column]:
    """What a store of such transitions holds of each step."""
    values = {spec.name: getattr(transitions, spec.name) for spec in transitions.fields if spec.name != LANES}
    return [Column(name, array.dtype.str, array.shape[2:]) for name, array in values.items()]


def opened(path: Path, columns: list[Column], capacity: int, capacity_gib: float, cache_gib: float) -> Replay:
    """The store of a node: a window has no context, and knows of episodes by `first`."""
    return Replay(
        path,
        columns,
        capacity_steps=capacity,
        capacity_bytes=int(capacity_gib * 2**30),
        first_column=FIRST,
        context_column=None,
        cache_bytes=int(cache_gib * 2**30),
    )


def chunks_of(transitions: Message, ends: Mapping[int, int]) -> list[Chunk]:
    """One chunk a lane, behind what is stored of it."""
    names = [spec.name for spec in transitions.fields if spec.name != LANES]
    return [
        Chunk(lane, ends.get(lane, 0), {name: getattr(transitions, name)[row] for name in names})
        for row, lane in enumerate(getattr(transitions, LANES).tolist())
    ]


@dataclass
class Law:
    """How samples are drawn; see `replay` for each."""

    store: Replay
    table: Table
    mix: Mix
    alpha: Live[float]
    beta: Live[float]
    dice: np.random.Generator
    made: type[Message]
    rows: int

    def draw(self) -> Message:
        """A sample: windows that begin at any stored step."""
        self.table.exponent = self.alpha.value
        drawn, window = self.store.sample(self.table, self.dice, self.rows, self.mix)
        # The store tells of one step more whether it begins an episode.
        window[FIRST] = np.ascontiguousarray(window[FIRST][:, : self.table.length])
        weights = importance(drawn.chances, drawn.drawable, self.beta.value)
        own = {LANES: drawn.anchors[:, 0].copy(), HANDLES: drawn.handles, WEIGHTS: weights / weights.max()}
        return self.made(**window, **own)


@dataclass
class Drawer:
    """A store, and what is drawn from it."""

    law: Law
    context: Context
    pace: Pace
    counts: Counts
    synced: float = -math.inf
    hopeless: bool = False
    """The store keeps too little to draw from."""

    async def insert(self, transitions: Message, least: int) -> None:
        """Store a message, and have it on disk once a second."""
        store = self.law.store
        await compute(self._append, transitions)
        self.pace.note_inserted(int(np.prod(getattr(transitions, FIRST).shape)))
        statistics = store.statistics()
        if self.counts.begun < 0 and self.counts.inserted >= least:
            if self.law.table.drawable:
                self.pace.begin(self.counts.inserted)
            self.hopeless = self.counts.begun < 0 and statistics.evicted_steps > 0
        if trio.current_time() - self.synced >= SYNC_S:
            await compute(store.sync)
            self.synced = trio.current_time()
        self.context.metrics.gauge("replay_fill", statistics.fill)
        self.context.metrics.gauge("replay_steps", statistics.steps)

    def _append(self, transitions: Message) -> None:
        store = self.law.store
        store.append(chunks_of(transitions, store.ends))

    async def send_due(self, samples: Out[Any]) -> None:
        """Send the samples that what was inserted calls for."""
        while self.pace.may_sample():
            await samples.send(await compute(self.law.draw))
            self.pace.note_sampled()
            self.context.metrics.count("replayed", self.law.rows)
