"""Keeps trajectories on disk and sends back samples of them.

    inserts ──► LMDB: frames once, in chunks of an unroll ──► samples
                one thread writes          another draws and decodes

Samples are sent as credit allows, so a learner always finds the next one ready, and never an old queue of them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
import trio

from flow import Array, Context, In, Out, Promises, Range, compute, node
from flow.errors import SettingError
from nodes.messages import Trajectories
from nodes.replay.episodes import EpisodeReader
from storage.replay import Chunk, Column, Replay

CONTEXT = 3
SYNC_S = 1.0
STEP_COLUMNS = ("actions", "rewards", "terminated", "logits", "versions")


@node(
    promises=Promises(
        excused={
            "C11": "it refuses steps that are stored already, which this rule sends again",
            "C12": "it refuses steps that are stored already, which this rule sends again",
            "C13": "what is sampled depends on when it is asked for: a node that is started again draws anew",
            "C09": "what is sampled depends on when it is asked for: later there is more to draw from",
        },
        given="nodes.given.atari:replay",
        seeded=True,
    )
)
async def replay(
    inserts: In[Trajectories],
    samples: Out[Trajectories],
    context: Context,
    *,
    unrolls: Annotated[int, Range(1, 4096)] = 16,
    steps: Annotated[int, Range(1, 1000)] = 20,
    draw: Literal["windows", "episodes"] = "windows",
    capacity_steps: Annotated[int, Range(1)] = 1_000_000,
    capacity_gib: Annotated[float, Range(0.001)] = 4.0,
    least_steps: Annotated[int, Range(1)] = 5_000,
) -> None:
    """Store what comes, oldest out first; send batches drawn uniformly from it.

    Args:
      unrolls: unrolls in a sample.
      steps: actions in an unroll.
      draw: "windows": each unroll begins at any stored step, all equally likely. "episodes": each row plays stored
        episodes from their first step, drawn uniformly one after the other, as a network with memory needs them.
      capacity_steps: environment steps that are kept.
      capacity_gib: and in GiB as stored, whichever comes first.
      least_steps: steps that must be stored before the first sample.
    """
    if least_steps > capacity_steps:
        raise SettingError(
            f"least_steps={least_steps} is more than capacity_steps={capacity_steps}: no sample would be sent"
        )
    first = await _first(inserts)
    if first is None:
        return
    columns = columns_of(first)
    path = Path(context.directory) / "replay"
    capacity_bytes = int(capacity_gib * 2**30)
    with await compute(
        lambda: Replay(path, columns, capacity_steps=capacity_steps, capacity_bytes=capacity_bytes), thread="write"
    ) as store:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_sample, store, samples, context, unrolls, steps, draw, least_steps)
            nursery.start_soon(_sync, store)
            await compute(store.append, chunks_of(first), thread="write")
            async for trajectories in inserts:
                await compute(store.append, chunks_of(trajectories), thread="write")
                _report(store, context)
            nursery.cancel_scope.cancel()
        await compute(store.sync, thread="write")


async def _first(inserts: In[Trajectories]) -> Trajectories | None:
    async for trajectories in inserts:
        return trajectories
    return None


def columns_of(trajectories: Trajectories) -> list[Column]:
    """What a store of such trajectories holds of each step."""
    frame = trajectories.frames.shape[2:]
    return [
        Column("frames", "uint8", frame),
        Column("first", "bool"),
        Column("actions", "uint8"),
        Column("rewards", "<f4"),
        Column("terminated", "bool"),
        Column("logits", "<f4", trajectories.logits.shape[2:]),
        Column("versions", "<i8"),
    ]


def chunks_of(trajectories: Trajectories) -> list[Chunk]:
    """One chunk a lane, each step in it once: the last observation begins the lane's next chunk."""
    steps = trajectories.actions.shape[1]
    chunks = []
    for lane in range(len(trajectories.actions)):
        columns = {
            "frames": trajectories.frames[lane, CONTEXT : CONTEXT + steps],
            "first": trajectories.first[lane, :steps],
            "actions": trajectories.actions[lane],
            "rewards": trajectories.rewards[lane],
            "terminated": trajectories.terminated[lane],
            "logits": trajectories.logits[lane],
            "versions": np.full(steps, trajectories.versions[lane]),
        }
        chunks.append(Chunk(int(trajectories.streams[lane]), int(trajectories.starts[lane]), columns))
    return chunks


async def _sample(
    store: Replay,
    samples: Out[Trajectories],
    context: Context,
    unrolls: int,
    steps: int,
    draw: str,
    least_steps: int,
) -> None:
    rng = np.random.default_rng(context.seed + context.incarnation)
    await _wait_for_steps(store, steps, least_steps)
    reader = EpisodeReader(store, rng, unrolls, steps) if draw == "episodes" else None
    while True:
        if reader is not None:
            sample = await compute(reader.next, thread="read")
        else:
            sample = await compute(draw_windows, store, rng, unrolls, steps, thread="read")
        await samples.send(sample)
        context.metrics.count("replayed_steps", unrolls * steps)


async def _wait_for_steps(store: Replay, steps: int, least_steps: int) -> None:
    """Until there is enough to draw from; the writer is another thread, so this looks now and then."""
    while not _has_enough(store, least_steps) or store.count_anchors(steps, CONTEXT) == 0:  # noqa: ASYNC110
        await trio.sleep(0.05)


def _has_enough(store: Replay, least_steps: int) -> bool:
    """Whether so much is stored, or as much as the store can hold."""
    statistics = store.statistics()
    return statistics.steps >= least_steps or statistics.evicted_steps > 0


def draw_windows(store: Replay, rng: np.random.Generator, unrolls: int, steps: int) -> Trajectories:
    """Unrolls that begin at any stored step."""
    anchors, window = store.draw_windows(rng, unrolls, steps, CONTEXT)
    return as_trajectories(window, anchors[:, 0], anchors[:, 1])


def as_trajectories(window: dict[str, Array], streams: Array, starts: Array) -> Trajectories:
    """A batch of windows as the message that actors send. What came before observation 0 is not stored."""
    unrolls = len(streams)
    values: dict[str, Any] = {name: window[name] for name in ("frames", "first", *STEP_COLUMNS)}
    versions = values.pop("versions")[:, 0]
    return Trajectories(
        **values,
        last_rewards=np.zeros(unrolls, np.float32),
        last_actions=np.zeros(unrolls, np.int64),
        cores=np.zeros((unrolls, 0), np.float32),
        versions=np.ascontiguousarray(versions),
        streams=streams,
        starts=starts,
    )


async def _sync(store: Replay) -> None:
    while True:
        await trio.sleep(SYNC_S)
        await compute(store.sync, thread="write")


def _report(store: Replay, context: Context) -> None:
    statistics = store.statistics()
    context.metrics.gauge("replay_fill", statistics.fill)
    context.metrics.gauge("replay_steps", statistics.steps)
    context.metrics.gauge("replay_bytes_a_step", statistics.bytes_per_step)
