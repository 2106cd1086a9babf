"""Windows over a stream: of messages, or along the first dimension of their arrays.

    window(length=3, hop=2)    a b c d e …     ──►  abc, cde, …          messages stacked
    cut(length=3, hop=2)       (5,) (1,) (2,)  ──►  (3,) (3,) (3,)       the joined stream cut again

A model reads windows of one length; recordings and episodes come in any length.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from operator import itemgetter
from typing import Annotated, Any, TypeVar

import numpy as np

from flow import In, Message, Out, Promises, Range, Saved, node
from flow.errors import MessageError, SettingError
from flow.generic import derived
from flow.kept import Kept
from flow.message import Dim
from nodes.stream import stacking

M = TypeVar("M", bound=Message)
N = TypeVar("N", bound=Message)


def _require_hop(settings: Mapping[str, Any]) -> None:
    length, hop = settings["length"], settings["hop"] or settings["length"]
    if hop > length:
        raise SettingError(
            f"hop={hop} must be at most length={length}: a longer hop would skip messages between windows"
        )


def _window(settings: Mapping[str, Any], known: Mapping[str, type[Message]]) -> Mapping[str, type[Message]]:
    _require_hop(settings)
    return {"N": stacking.stacked_type(known["M"], settings["length"])} if "M" in known else {}


@node(binds=_window, promises=Promises(given="nodes.given.streams:rows_of_one_size"))
async def window(
    items: In[M],
    windows: Out[N],
    saved: Saved,
    *,
    length: Annotated[int, Range(1)],
    hop: Annotated[int | None, Range(1)] = None,
) -> None:
    """Stack each `length` consecutive messages, one window every `hop` messages; a last, incomplete one is dropped.

    Args:
      length: messages in a window.
      hop: messages from one window's start to the next's; less than `length` overlaps. Windows follow each other
        without overlap if it is not given.
    """
    _require_hop({"length": length, "hop": hop})
    kept = saved.keep("kept", Kept(items.message_type))

    async def send() -> None:
        into: Any = stacking.stacked_type(type(kept[0]), length)
        await windows.send(stacking.stack(kept.messages, into))
        kept.drop(hop or length)

    if len(kept) == length:
        await send()
    async for item in items:
        kept.append(item)
        if len(kept) == length:
            await send()


def _cut(settings: Mapping[str, Any], known: Mapping[str, type[Message]]) -> Mapping[str, type[Message]]:
    _require_hop(settings)
    return {"N": cut_type(known["M"], settings["length"])} if "M" in known else {}


def cut_type(message: type[Message], length: int) -> type[Message]:
    """A message type with `length` in place of the size of its arrays' first dimension.

    Raises:
      SettingError: its arrays share none.
    """
    stacking.leading(message)
    fields = tuple(
        field if field.kind == "scalar" else replace(field, dims=(Dim(None, length), *field.dims[1:]), library="numpy")
        for field in message.fields
    )
    return derived(f"{message.__name__} of {length}", fields)


@dataclass
class Progress:
    """Where the next window starts, in rows of the first message that is kept."""

    start: int = 0


@node(binds=_cut, promises=Promises(given="nodes.given.streams:rows_of_any_size"))
async def cut(
    pieces: In[M],
    windows: Out[N],
    saved: Saved,
    *,
    length: Annotated[int, Range(1)],
    hop: Annotated[int | None, Range(1)] = None,
) -> None:
    """Join arrays along their first dimension and send windows of the whole; a last, incomplete one is dropped.

    Windows start at rows 0, hop, 2·hop, … of the joined stream, so how it was cut in transit changes nothing. Numbers
    and texts beside the arrays, a sampling rate for instance, have to be the same in all of a window.

    Args:
      length: rows in a window.
      hop: rows from one window's start to the next's; less than `length` overlaps. Windows follow each other without
        overlap if it is not given.
    """
    _require_hop({"length": length, "hop": hop})
    kept = saved.keep("kept", Kept(pieces.message_type))
    progress = saved.keep("progress", Progress())

    async def send() -> None:
        into: Any = cut_type(type(kept[0]), length)
        have = sum(map(stacking.rows, kept))
        while progress.start + length <= have:
            await windows.send(joined(kept.messages, progress.start, length, into))
            progress.start += hop or length
            while len(kept) and progress.start >= stacking.rows(kept[0]):
                gone = stacking.rows(kept.pop())
                progress.start, have = progress.start - gone, have - gone

    if len(kept):
        await send()
    async for piece in pieces:
        if stacking.rows(piece):
            kept.append(piece)
            await send()


def joined(pieces: list[Any], start: int, length: int, into: type[N]) -> N:
    """Rows `start` to `start + length` of the pieces, one after the other.

    Raises:
      MessageError: a number or text differs within them, or arrays that do not join.
    """
    parts = []
    skipped = 0
    for piece in pieces:
        begin, end = max(0, start - skipped), min(stacking.rows(piece), start + length - skipped)
        skipped += stacking.rows(piece)
        if begin < end:
            parts.append((piece, slice(begin, end)))
    values: dict[str, Any] = {}
    for field in into.fields:
        found = [stacking.mapped(field, getattr(piece, field.name), itemgetter(rows)) for piece, rows in parts]
        if field.kind == "scalar":
            if any(value != found[0] for value in found):
                raise MessageError(
                    f"field {field.name} changes from {found[0]!r} within a window; split the stream by it"
                )
            values[field.name] = found[0]
        elif field.kind == "table":
            values[field.name] = {name: _concatenated(field.name, [each[name] for each in found]) for name in found[0]}
        else:
            values[field.name] = _concatenated(field.name, found)
    return into(**values)


def _concatenated(name: str, arrays: list[Any]) -> Any:
    if len({(array.dtype, array.shape[1:]) for array in arrays}) > 1:
        found = " and ".join(f"{array.dtype} {array.shape}" for array in arrays[:2])
        raise MessageError(f"field {name}: {found} do not join; messages may differ in their first dimension only")
    return arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
