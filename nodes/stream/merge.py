"""Join two streams into one that is in order of a field, a time or a number.

    left   1 4 6 ──╮
                   ├──►  1 2 3 4 5 6
    right  2 3 5 ──╯

To join streams in order of arrival needs no node: an input takes any number of producers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np
import trio

from flow import In, Message, Out, Promises, Saved, node
from flow.errors import SettingError
from flow.kept import Kept
from nodes.fields import require_field

M = TypeVar("M", bound=Message)


def _ordered(settings: Mapping[str, Any], known: Mapping[str, type[Message]]) -> Mapping[str, type[Message]]:
    if "M" in known:
        field = require_field(known["M"], settings["by"], "by")
        number = field.kind == "scalar" and field.scalar in (int, float)
        if not number and (field.kind != "array" or field.dims):
            raise SettingError(
                f"by = {settings['by']!r} is {field}, which has no order; name a field that is one number"
            )
    return {}


@node(binds=_ordered, promises=Promises(given="nodes.given.streams:ordered"))
async def merge(left: In[M], right: In[M], merged: Out[M], saved: Saved, *, by: str) -> None:
    """Send the messages of both streams by rising values of a field; of equal ones the left first.

    Each side keeps its own order, also where it does not rise. A message goes when the other side's next is known, so
    a side that is slow holds up the other; one that has ended does not.

    Args:
      by: the field, one number a message: a time or a sequence number.
    """
    lefts = saved.keep("left", Kept(left.message_type))
    rights = saved.keep("right", Kept(right.message_type))
    sides = ((left, lefts), (right, rights))
    ended = [False, False]
    while True:
        for index, (port, kept) in enumerate(sides):
            if not len(kept) and not ended[index]:
                try:
                    kept.append(await port.receive())
                except trio.EndOfChannel:
                    ended[index] = True
        if not len(lefts) and not len(rights):
            return
        first = lefts if not len(rights) or (len(lefts) and _value(lefts[0], by) <= _value(rights[0], by)) else rights
        await merged.send(first[0])
        first.drop(1)


def _value(message: Message, by: str) -> float:
    value = getattr(message, by)
    number: float = value.item() if isinstance(value, np.ndarray) else value
    return number
