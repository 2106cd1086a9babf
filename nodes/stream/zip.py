"""Pair the messages of two streams, in their order.

left   a b c   ──╮
                 ├──►  a1 b2 c3      the fields of both in one message
right  1 2 3 4 ──╯                   4 has no partner
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeVar

import trio

from flow import Context, In, Message, Out, Promises, Saved, node
from flow.errors import MessageError, SettingError
from flow.generic import derived
from flow.kept import Kept
from flow.message import Dim, Field

L = TypeVar("L", bound=Message)
R = TypeVar("R", bound=Message)
N = TypeVar("N", bound=Message)


def _paired(settings: Mapping[str, Any], known: Mapping[str, type[Message]]) -> Mapping[str, type[Message]]:
    if "L" not in known or "R" not in known:
        return {}
    return {"N": pair_type(known["L"], known["R"], settings["left_prefix"], settings["right_prefix"])}


def pair_type(left: type[Message], right: type[Message], left_prefix: str, right_prefix: str) -> type[Message]:
    """The type with the fields of both.

    Raises:
      SettingError: both have a field of one name.
    """
    lefts = [replace(field, name=left_prefix + field.name) for field in left.fields]
    rights = [replace(field, name=right_prefix + field.name) for field in right.fields]
    twice = sorted({field.name for field in lefts} & {field.name for field in rights})
    if twice:
        raise SettingError(
            f"{left.__name__} and {right.__name__} both have a field '{twice[0]}'; tell them apart with a setting, "
            f'as in right_prefix = "right_", which makes it right_{twice[0]}'
        )
    used = {dim.name for field in lefts for dim in field.dims}
    return derived(f"{left.__name__} and {right.__name__}", (*lefts, *(_apart(field, used) for field in rights)))


def _apart(field: Field, used: set[str | None]) -> Field:
    """The field with other names for dimensions that the left side names too: they need not be of one size there."""
    dims = [Dim(f"{dim.name}_right", dim.size) if dim.name in used - {None, "_"} else dim for dim in field.dims]
    return replace(field, dims=tuple(dims))


@node(binds=_paired, promises=Promises(given="nodes.given.streams:zipped"))
async def zip(  # noqa: A001
    left: In[L],
    right: In[R],
    pairs: Out[N],
    context: Context,
    saved: Saved,
    *,
    rest: Literal["drop", "refuse"] = "drop",
    left_prefix: str = "",
    right_prefix: str = "",
) -> None:
    """Send the first of the left with the first of the right, the second with the second, and so on.

    Ends with the shorter stream. What the longer one still has goes nowhere; a message of it that was taken already
    is counted as `unpaired`.

    Args:
      rest: whether messages without a partner are dropped, or end the run with an error.
      left_prefix: put before the names of the left message's fields.
      right_prefix: put before those of the right; needed where both have a field of one name.
    """
    lefts = saved.keep("left", Kept(left.message_type))
    rights = saved.keep("right", Kept(right.message_type))

    async def take(port: In[Any], kept: Kept[Any]) -> bool:
        """Have one message of a side in hand; false when it has ended."""
        try:
            if not len(kept):
                kept.append(await port.receive())
        except trio.EndOfChannel:
            return False
        return True

    # One side after the other: the left is asked again only when its message has a partner.
    while await take(left, lefts) and await take(right, rights):
        into: Any = pair_type(type(lefts[0]), type(rights[0]), left_prefix, right_prefix)
        values = {left_prefix + name: value for name, value in vars(lefts[0]).items()}
        values |= {right_prefix + name: value for name, value in vars(rights[0]).items()}
        await pairs.send(into(**values))
        lefts.drop(1)
        rights.drop(1)
    unpaired = "left" if len(lefts) else "right"
    if rest == "refuse" and (len(lefts) or await take(right, rights)):
        raise MessageError(
            f"{context.name}: the {unpaired} stream has more messages than the other; "
            'set rest = "drop" to leave them out'
        )
    context.metrics.count("unpaired", len(lefts))
