"""Stack messages into batches, and take batches apart again.

    messages (3,) (3,) (3,) …  ──► batch ──►  (size 3) …  ──► unbatch ──►  (3,) (3,) (3,) …

A learner wants arrays of many examples, most other nodes speak of one. Together the two change nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

from flow import In, Message, Out, Promises, Range, Saved, node
from flow.kept import Kept
from nodes.stream import stacking

M = TypeVar("M", bound=Message)
N = TypeVar("N", bound=Message)


def _stacked(settings: Mapping[str, Any], known: Mapping[str, type[Message]]) -> Mapping[str, type[Message]]:
    return {"N": _batch_type(known["M"], settings["size"], settings["last"])} if "M" in known else {}


def _batch_type(message: type[Message], size: int, last: str) -> type[Message]:
    return stacking.stacked_type(message, size if last == "drop" else None)


@node(binds=_stacked, promises=Promises(given="nodes.given.streams:rows_of_one_size"))
async def batch(
    items: In[M],
    batches: Out[N],
    saved: Saved,
    *,
    size: Annotated[int, Range(1)],
    last: Literal["keep", "drop"] = "keep",
) -> None:
    """Stack each `size` messages into one, along a new first dimension.

    Whole numbers, floats and truth values become arrays; texts cannot be stacked.

    Args:
      size: messages in a batch.
      last: whether fewer messages that are left at the end are sent as a smaller batch, or dropped.
    """
    kept = saved.keep("kept", Kept(items.message_type))

    async def send() -> None:
        into: Any = _batch_type(type(kept[0]), size, last)
        await batches.send(stacking.stack(kept.messages, into))
        kept.drop(len(kept))

    if len(kept) == size:  # it was saved between the last message of a batch and its sending
        await send()
    async for item in items:
        kept.append(item)
        if len(kept) == size:
            await send()
    if len(kept) and last == "keep":
        await send()


def _apart(settings: Mapping[str, Any], known: Mapping[str, type[Message]]) -> Mapping[str, type[Message]]:
    return {"N": stacking.apart_type(known["M"])} if "M" in known else {}


@dataclass
class Progress:
    """How many rows of the batch in hand are sent."""

    sent: int = 0


@node(binds=_apart, promises=Promises(given="nodes.given.streams:rows_of_any_size"))
async def unbatch(batches: In[M], items: Out[N], saved: Saved) -> None:
    """Send each row of a batch as a message of its own, in order.

    Arrays lose their first dimension; those of whole numbers, floats and truth values of one dimension (int64,
    float64, bool) become numbers, as `batch` made them of numbers. A number of the batch goes to each row.
    """
    kept = saved.keep("kept", Kept(batches.message_type))
    progress = saved.keep("progress", Progress())

    async def send() -> None:
        into: Any = stacking.apart_type(type(kept[0]))
        while progress.sent < stacking.rows(kept[0]):
            await items.send(stacking.row(kept[0], progress.sent, into))
            progress.sent += 1
        kept.drop(1)
        progress.sent = 0

    if len(kept):
        await send()
    async for each in batches:
        kept.append(each)
        await send()
