"""Play back what nodes.sink.recording wrote, as if its sender sent it again.

recording ──► read ──► messages, in their order
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from flow import Context, Message, Out, Promises, Range, Saved, compute, node
from flow.errors import MissingError, SettingError, StorageError
from flow.generic import derived
from flow.setting import Beside
from storage.recording import RecordingReader

M = TypeVar("M", bound=Message)
READ_AHEAD = 64


def _recorded(settings: Mapping[str, Any], known: Mapping[str, type[Message]]) -> Mapping[str, type[Message]]:
    try:
        with RecordingReader(Path(settings["path"])) as reader:
            return {"M": _type(reader)}
    except (MissingError, StorageError) as error:
        raise SettingError(f"path = {settings['path']!r}: {error}") from error


def _type(reader: RecordingReader) -> type[Message]:
    if not reader.head:
        raise StorageError(f"{reader.path} holds nothing yet, not even the type of its messages; record to it first")
    return derived(reader.name, reader.fields)


@dataclass
class Progress:
    """How many messages were sent, of all passes over the recording."""

    sent: int = 0


@node(binds=_recorded, promises=Promises(given="nodes.given.general:recorded"))
async def read(
    messages: Out[M],
    context: Context,
    saved: Saved,
    *,
    path: Annotated[str, Beside()],
    passes: Annotated[int | None, Range(1)] = 1,
) -> None:
    """Send each message of a recording, in its order; counts them as `read`. A run that is resumed goes on behind them.

    Args:
      path: of the recording, a directory, relative to the graph.
      passes: how often it is gone through; for ever if nothing is given.
    """
    progress = saved.keep("progress", Progress())
    reader = await compute(RecordingReader, Path(path))
    with reader:
        into: Any = _type(reader)
        count = await compute(reader.count)
        while count and (passes is None or progress.sent < passes * count):
            pieces = _pieces(reader, into, progress.sent % count, count)
            while piece := await compute(next, pieces, []):
                for message in piece:
                    await messages.send(message)
                    progress.sent += 1
                    context.metrics.count("read")


def _pieces(reader: RecordingReader, into: type[Message], start: int, stop: int) -> Iterator[list[Message]]:
    """The messages from one number to another, several at a time, so that few calls cross into the thread."""
    piece = []
    for number, message in enumerate(reader.messages(into, start), start):
        if number == stop:  # what was written since this reading began
            break
        piece.append(message)
        if len(piece) == READ_AHEAD:
            yield piece
            piece = []
    if piece:
        yield piece
