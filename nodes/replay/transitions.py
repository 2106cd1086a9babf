"""Keeps transitions of any environment on disk and sends back windows of them, drawn uniformly.

    inserts ──► LMDB, a stream a lane ──► samples, `ratio` steps for each step inserted
                one thread writes         another draws and decodes

Inserting waits for drawing as drawing does for inserting: how much is learned from a step does not depend on how
fast a machine is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import trio

from flow import Context, In, Message, Out, Range, Saved, compute, node
from flow.errors import SettingError
from flow.generic import derived
from flow.message import Dim, Field
from nodes.replay.pace import Counts, Pace
from storage.replay import Chunk, Column, Replay

T = TypeVar("T", bound=Message)
S = TypeVar("S", bound=Message)

SYNC_S = 1.0
LANES, FIRST = "lane_ids", "first"
# The dimension that stands for the steps of each lane is the second one.
STEPS_AT = 1


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
    return derived(f"Sampled{inserted.__name__}", tuple(_sampled(spec, rows, steps) for spec in fields.values()))


def _sampled(spec: Field, rows: int, steps: int) -> Field:
    if spec.name == LANES:
        return replace(spec, dims=(Dim(None, rows),))
    if spec.kind != "array" or (len(spec.dims) <= STEPS_AT and not spec.any_rank):
        raise SettingError(
            f"field '{spec.name}', {spec}, has no second dimension for the steps of a lane, as every field of "
            "transitions but lane_ids has; leave it out or give it one"
        )
    return replace(spec, dims=(Dim(None, rows), Dim(None, steps), *spec.dims[STEPS_AT + 1 :]), library="numpy")


@node(binds=samples_bound)
async def replay(
    inserts: In[T],
    samples: Out[S],
    context: Context,
    saved: Saved,
    *,
    rows: Annotated[int, Range(1, 65536)] = 64,
    steps: Annotated[int, Range(1, 1000)] = 1,
    ratio: Annotated[float, Range(0.001, 1e6)] = 32.0,
    least: Annotated[int, Range(1)] = 1_000,
    capacity: Annotated[int, Range(1)] = 100_000,
    capacity_gib: Annotated[float, Range(0.001)] = 1.0,
) -> None:
    """Store transitions, oldest out first; send batches of windows that begin at any stored step.

    A window may go over the end of an episode into the next one of its lane: `terminated`, `truncated` and `first`
    tell. Goes on after a restart with what is on disk.

    Args:
      rows: windows in a sample.
      steps: consecutive transitions in a window.
      ratio: windows drawn for each transition inserted; with a batch of 64, 32 is an update for every two steps.
      least: transitions that must be stored before the first sample.
      capacity: transitions that are kept.
      capacity_gib: and in GiB as stored, whichever comes first.
    """
    if least > capacity:
        raise SettingError(f"least={least} is more than capacity={capacity}: no sample would be sent; lower least")
    pace = Pace(ratio, slack=rows, counts=saved.keep("counts", Counts()))
    first = await _first(inserts)
    if first is None:
        return
    path, columns = Path(context.directory) / "replay", columns_of(first)
    with await compute(lambda: opened(path, columns, capacity, capacity_gib), thread="write") as store:
        keeper = Keeper(store, context, pace, rows, steps, least)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(keeper.draw, samples, samples_of(type(first), rows, steps))
            nursery.start_soon(keeper.sync)
            await keeper.insert(first)
            async for transitions in inserts:
                await keeper.insert(transitions)
            nursery.cancel_scope.cancel()
        await compute(store.sync, thread="write")


async def _first(inserts: In[T]) -> T | None:
    async for transitions in inserts:
        return transitions
    return None


def columns_of(transitions: Message) -> list[Column]:
    """What a store of such transitions holds of each step."""
    values = {spec.name: getattr(transitions, spec.name) for spec in transitions.fields if spec.name != LANES}
    return [Column(name, array.dtype.str, array.shape[2:]) for name, array in values.items()]


def opened(path: Path, columns: list[Column], capacity: int, capacity_gib: float) -> Replay:
    """The store of a node: a window has no context, and knows of episodes by `first`."""
    return Replay(
        path,
        columns,
        capacity_steps=capacity,
        capacity_bytes=int(capacity_gib * 2**30),
        first_column=FIRST,
        context_column=None,
    )


def chunks_of(transitions: Message, ends: Mapping[int, int]) -> list[Chunk]:
    """One chunk a lane, behind what is stored of it."""
    names = [spec.name for spec in transitions.fields if spec.name != LANES]
    return [
        Chunk(lane, ends.get(lane, 0), {name: getattr(transitions, name)[row] for name in names})
        for row, lane in enumerate(getattr(transitions, LANES).tolist())
    ]


def draw(store: Replay, rng: np.random.Generator, made: type[Message], rows: int, steps: int) -> Message:
    """A sample: windows that begin at any stored step."""
    anchors, window = store.draw_windows(rng, rows, steps, 0)
    # The store tells of one step more whether it begins an episode.
    window[FIRST] = np.ascontiguousarray(window[FIRST][:, :steps])
    return made(**window, **{LANES: anchors[:, 0].copy()})


@dataclass
class Keeper:
    """The two sides of a store, and what each waits for."""

    store: Replay
    context: Context
    pace: Pace
    rows: int
    steps: int
    least: int
    turned: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    async def insert(self, transitions: Message) -> None:
        """Store a message once drawing has kept up."""
        while not self.pace.may_insert():
            await self.turned.park()
        stored = int(np.prod(getattr(transitions, FIRST).shape))
        await compute(self._append, transitions, thread="write")
        self.pace.counts.inserted += stored
        if self.pace.counts.inserted >= self.least and self.store.count_anchors(self.steps, 0):
            self.pace.begin()
        elif self.store.statistics().evicted_steps:
            raise SettingError(
                f"nothing can be drawn: what is kept of each lane is less than steps={self.steps} and one more, or "
                f"than least={self.least} together; raise capacity or capacity_gib"
            )
        self.turned.unpark_all()
        statistics = self.store.statistics()
        self.context.metrics.gauge("replay_fill", statistics.fill)
        self.context.metrics.gauge("replay_steps", statistics.steps)

    def _append(self, transitions: Message) -> None:
        self.store.append(chunks_of(transitions, self.store.ends))

    async def draw(self, samples: Out[Any], made: type[Message]) -> None:
        """Send samples, as many as what was inserted calls for."""
        rng = np.random.default_rng([self.context.seed, self.context.incarnation])
        while True:
            while not self.pace.may_draw(self.rows):
                await self.turned.park()
            sample = await compute(draw, self.store, rng, made, self.rows, self.steps, thread="read")
            await samples.send(sample)
            self.pace.counts.drawn += self.rows
            self.context.metrics.count("replayed", self.rows)
            self.turned.unpark_all()

    async def sync(self) -> None:
        """Have what was inserted on disk once a second."""
        while True:
            await trio.sleep(SYNC_S)
            await compute(self.store.sync, thread="write")
