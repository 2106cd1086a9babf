"""Video files into frames.

    queue ◄─► decoder ──► frames, some at a time      each message also holds the last frame of the one before

However long a video is, a decoder holds `chunk` frames of it. A file that cannot be used whole is left out, with its
name and the reason, and counted as `skipped`; what came of it before says so in its last message.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from flow import Array, Call, Context, Out, Promises, Range, Saved, compute, node
from flow.kept import Kept
from nodes.video import codec
from nodes.video.messages import Frames, Next, Video

BATCH_FRAMES = 16


@dataclass
class Progress:
    """How many files this decoder was given, and how many messages it has sent of the one in its hands."""

    given: int = 0
    sent: int = 0


@node(needs=("av",), promises=Promises(given="nodes.given.video:decoding"))
async def decoder(
    work: Call[Next, Video],
    frames: Out[Frames],
    context: Context,
    saved: Saved,
    *,
    chunk: Annotated[int, Range(1, 1024)] = BATCH_FRAMES,
    seconds_max: Annotated[float, Range(0)] = 1_800.0,
    threads: Annotated[int, Range(1, 64)] = 1,
) -> None:
    """Ask for a file, send its frames, and so on until there are no more; counts `videos`, `frames` and `skipped`.

    Args:
      chunk: frames in a message, beside the last one of the message before.
      seconds_max: a longer video is left out, undecoded where its header says so: it is no clip of an action, and
        would fill the disk.
      threads: that decode one file; more decoders do more good where files are many.
    """
    progress = saved.keep("progress", Progress())
    kept = saved.keep("kept", Kept(Video))
    context.metrics.count("skipped", 0)  # that none was is told too

    async def send(video: Video) -> None:
        with contextlib.closing(pieces(video, chunk, seconds_max, threads)) as found:
            for _ in range(progress.sent):  # these were sent before this start
                await compute(next, found, None)
            while (piece := await compute(next, found, None)) is not None:
                if piece.problem:
                    context.log(f"{video.path} is left out: {piece.problem}", "warning")
                await frames.send(piece)
                progress.sent += 1
                if piece.problem:
                    context.metrics.count("skipped")
                else:
                    context.metrics.count("frames", len(piece.frames) - (piece.start > 0))
                    context.metrics.count("videos", piece.total > 0)

    if len(kept):
        await send(kept[0])
    while True:
        kept.drop(1)
        progress.sent = 0
        asked = Next(*(np.array([n]) for n in (context.replica, context.incarnation, progress.given)))
        video = await work(asked)
        if not video.key:
            return
        progress.given += 1
        kept.append(video)
        await send(video)


def pieces(video: Video, chunk: int, seconds_max: float, threads: int) -> Generator[Frames]:
    """A video's frames, `chunk` new ones at a time; the last piece says how many there are, or what is wrong."""
    said: dict[str, Any] = {
        "key": video.key, "name": video.name, "label": video.label, "task": video.task, "part": video.part,
        "flow": video.flow, "both_ways": video.both_ways, "quality": video.quality,
    }  # fmt: skip
    start = 0
    held: list[codec.Frame] = []
    try:
        for frame in codec.frames(Path(video.path), video.side, threads, seconds_max):
            if held and frame.image.shape != held[0].image.shape:
                raise codec.UnusableError(f"its frames change their size after {start + len(held)} of them")
            if len(held) == chunk + 1:  # one more is there, so this piece is not the last
                yield _piece(said, held, start, 0)
                start += len(held) - 1
                held = held[-1:]
            held.append(frame)
    except codec.UnusableError as error:
        nothing = np.zeros((0, 1, 1, 3), np.uint8)
        yield Frames(**said, frames=nothing, times=np.zeros(0), start=start, total=0, problem=str(error))
        return
    yield _piece(said, held, start, start + len(held))


def _piece(said: dict[str, Any], held: list[codec.Frame], start: int, total: int) -> Frames:
    images: Array = np.stack([frame.image for frame in held])
    times = np.array([frame.time for frame in held])
    return Frames(**said, frames=images, times=times, start=start, total=total, problem="")
