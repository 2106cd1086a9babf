"""Nodes around what tools.bench.video measures: sources that cost nothing, and a sink with a stopwatch."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from flow import Context, In, Message, Out, compute, node
from nodes.recognition import Stored
from nodes.video.messages import Frames, Video
from tools.bench.stopwatch import Stopwatch

M = TypeVar("M", bound=Message)
SIDE, PIECE = 240, 16
CARRIED = {field.name for field in Frames.fields} - {"frames", "times"}


def video(path: Path, number: int) -> Video:
    return Video(str(path), path.name, 0, 0, "train", f"{number + 1:032x}", SIDE, "dis", False, 90)


def listed(folder: str) -> list[Path]:
    return sorted(Path(folder).iterdir())


@node
async def files(files: Out[Video], *, folder: str) -> None:
    """Every file of a folder."""
    for number, path in enumerate(await compute(listed, folder)):
        await files.send(video(path, number))


@node
async def pieces(frames: Out[Frames], *, file: str, count: int) -> None:
    """The same frames again and again."""
    images = np.load(file)
    said: dict[str, Any] = {key: value for key, value in vars(video(Path(file), 0)).items() if key in CARRIED}
    for _ in range(count):
        await frames.send(Frames(**said, frames=images, times=np.zeros(len(images)), start=0, total=0, problem=""))


@node
async def clock(items: In[M], context: Context, *, file: str, count: int) -> None:
    """Time `count` messages, after a fifth of them to warm up, and write the time down."""
    watch = Stopwatch({"messages": count})
    async for _ in items:
        watch.saw("messages")
    await compute(Path(file).write_text, json.dumps(watch.results["messages"]))


@node
async def stored(stored: Out[Stored], *, count: int) -> None:
    """Videos that lie in a dataset under their numbers."""
    for number in range(count):
        await stored.send(Stored(f"{number:032x}", f"small{number}.avi", number % 4, 0, "train"))
