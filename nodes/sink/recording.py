"""Write a stream to disk, to be played back later by nodes.data.recording.

    frames ──► write                    to disk, and no further
    frames ──► tee ──► passed on        to disk on the way

What is recorded is what would travel to another process, so it is read back the same bit for bit.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import trio

from flow import Context, In, Message, Out, Promises, Saved, compute, node
from flow.kept import Kept
from flow.setting import Beside
from storage.recording import SUFFIX, RecordingWriter

M = TypeVar("M", bound=Message)


@dataclass
class Written:
    """How many messages the recording holds."""

    count: int = 0


@node(promises=Promises(given="nodes.given.general:in_the_run"))
async def write(items: In[M], context: Context, saved: Saved, *, path: Annotated[str, Beside()] = "") -> None:
    """Write all that comes to a recording; counts it as `recorded`.

    A message that was written outlives a kill. What a resumed run sends again is cut off first, so that it is there
    once; of one that is not in the run directory, only if the run had a checkpoint.

    Args:
      path: of the recording, a directory, relative to the graph; in the node's place in the run directory if it is not
        given. With several replicas each writes one of its own, with its number before the suffix.
    """
    written = saved.keep("written", Written())
    keep = written.count if saved.rewound and (saved.resumed or not path) else None
    writer = await compute(RecordingWriter, _file(context, path), items.message_type, None, keep)
    written.count = max(written.count, writer.count)
    try:
        async for item in items:
            await compute(writer.write, item)
            written.count = writer.count
            context.metrics.count("recorded")
    finally:
        await _finished(writer.close)


@dataclass
class Progress:
    """Whether the message in hand is written already, and how many messages the recording holds."""

    written: bool = False
    count: int = 0


@node(promises=Promises(given="nodes.given.general:in_the_run"))
async def tee(
    items: In[M], passed: Out[M], context: Context, saved: Saved, *, path: Annotated[str, Beside()] = ""
) -> None:
    """Pass on all that comes, and write each message to a recording before; counts it as `recorded`.

    A message that was written outlives a kill. What a resumed run sends again is cut off first, as `write` does.

    Args:
      path: of the recording, a directory, relative to the graph; in the node's place in the run directory if it is not
        given. With several replicas each writes one of its own, with its number before the suffix.
    """
    kept = saved.keep("kept", Kept(items.message_type))
    progress = saved.keep("progress", Progress())
    keep = progress.count if saved.rewound and (saved.resumed or not path) else None
    writer = await compute(RecordingWriter, _file(context, path), items.message_type, None, keep)
    progress.count = max(progress.count, writer.count)

    async def send() -> None:
        if not progress.written:
            await compute(writer.write, kept[0])
            progress.written, progress.count = True, writer.count
            context.metrics.count("recorded")
        await passed.send(kept[0])
        kept.drop(1)
        progress.written = False

    try:
        if len(kept):
            await send()
        async for item in items:
            kept.append(item)
            await send()
    finally:
        await _finished(writer.close)


def _file(context: Context, path: str) -> Path:
    if not path:
        return context.directory / f"recording{SUFFIX}"
    file = Path(path)
    return file if context.replicas == 1 else file.with_name(f"{file.stem}-{context.replica}{file.suffix}")


async def _finished(close: Callable[[], Any]) -> None:
    with trio.CancelScope(shield=True):  # also where the run is stopped
        await compute(close)
