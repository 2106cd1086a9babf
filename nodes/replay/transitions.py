"""Keeps transitions of any environment on disk and sends back windows of them, drawn uniformly.

    inserts ──► LMDB, a stream a lane ──► samples, `ratio` windows for each step inserted

The next transitions are taken when all samples that the last ones called for are sent: how much is learned from a
step does not depend on how fast a machine is, and the same inserts give the same samples. That is the strictest form
of the rate limiter of Reverb, arXiv:2102.04736.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
import trio

from flow import Context, In, Message, Out, Promises, Range, Saved, compute, node
from flow.errors import SettingError
from flow.generic import derived
from flow.message import Dim, Field
from storage.replay import Chunk, Column, Replay

T = TypeVar("T", bound=Message)
S = TypeVar("S", bound=Message)

SYNC_S = 1.0
LANES, FIRST = "lane_ids", "first"
# The dimension that stands for the steps of each lane is the second one.
STEPS_AT = 1


PROMISES = Promises(
    given="nodes.given.learning:transitions_replay",
    seeded=True,
    excused={"C13": "what was inserted after its state was saved stays on disk, and is drawn too"},
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


@node(binds=samples_bound, promises=PROMISES)
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
    counts = saved.keep("counts", Counts())
    dice = saved.keep("dice", np.random.default_rng(context.seed))
    first = await _first(inserts)
    if first is None:
        return
    path, columns = Path(context.directory) / "replay", columns_of(first)
    with await compute(lambda: opened(path, columns, capacity, capacity_gib)) as store:
        drawer = Drawer(store, context, counts, dice, samples_of(type(first), rows, steps), rows, steps, ratio)
        await drawer.send_due(samples)  # what was left to be drawn when the node was stopped
        await drawer.insert(first, least)
        await drawer.send_due(samples)
        async for transitions in inserts:
            await drawer.insert(transitions, least)
            await drawer.send_due(samples)
        await compute(store.sync)


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
class Counts:
    """Steps inserted, and windows drawn; kept in checkpoints. begun: inserted when drawing began, -1 before."""

    inserted: int = 0
    drawn: int = 0
    begun: int = -1

    def due(self, ratio: float) -> float:
        """Windows that are to be drawn now."""
        return ratio * (self.inserted - self.begun) - self.drawn if self.begun >= 0 else 0.0


@dataclass
class Drawer:
    """A store, and what is drawn from it."""

    store: Replay
    context: Context
    counts: Counts
    dice: np.random.Generator
    made: type[Message]
    rows: int
    steps: int
    ratio: float
    synced: float = -math.inf

    async def insert(self, transitions: Message, least: int) -> None:
        """Store a message, and have it on disk once a second.

        Raises:
          SettingError: the store keeps too little to draw from.
        """
        await compute(self._append, transitions)
        self.counts.inserted += int(np.prod(getattr(transitions, FIRST).shape))
        statistics = self.store.statistics()
        if self.counts.begun < 0 and self.counts.inserted >= least:
            if self.store.count_anchors(self.steps, 0):
                self.counts.begun = self.counts.inserted
            elif statistics.evicted_steps:
                raise SettingError(
                    f"nothing can be drawn: no lane's part of what is kept has steps={self.steps} and one more; raise "
                    "capacity or capacity_gib"
                )
        if trio.current_time() - self.synced >= SYNC_S:
            await compute(self.store.sync)
            self.synced = trio.current_time()
        self.context.metrics.gauge("replay_fill", statistics.fill)
        self.context.metrics.gauge("replay_steps", statistics.steps)

    def _append(self, transitions: Message) -> None:
        self.store.append(chunks_of(transitions, self.store.ends))

    async def send_due(self, samples: Out[Any]) -> None:
        """Send the samples that what was inserted calls for."""
        while self.counts.due(self.ratio) >= self.rows:
            await samples.send(await compute(draw, self.store, self.dice, self.made, self.rows, self.steps))
            self.counts.drawn += self.rows
            self.context.metrics.count("replayed", self.rows)
