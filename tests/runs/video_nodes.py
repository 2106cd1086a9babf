"""A video that kills whoever decodes it, as a bug in a codec would, and a node to be hosted beside the decoder."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from flow import Context, In, Out, compute, node
from nodes.recognition import Stored
from nodes.video import codec
from nodes.video.messages import Pieces

_frames = codec.frames


def deadly(path: Path, *how: Any) -> Iterator[codec.Frame]:
    if "killer" in path.name:
        os.kill(os.getpid(), signal.SIGKILL)
    yield from _frames(path, *how)


codec.frames = deadly


@node
async def passed(pieces: In[Pieces], passed: Out[Pieces]) -> None:
    """Being here, it has the decoder's worker import this file."""
    async for piece in pieces:
        await passed.send(piece)


@node
async def noted(stored: In[Stored], context: Context, *, file: str) -> None:
    """A line a video."""
    lines = []
    async for each in stored:
        lines.append(f"{each.name}\n")
        await compute(Path(file).write_text, "".join(lines))
        context.metrics.count("noted")
