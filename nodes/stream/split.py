"""Part a stream in two by what a field says.

                                   ╭──► matching   rate is 16000
    messages ──► split(field, …) ──┤
                                   ╰──► others     all else; another split parts them further

Ports are written in a graph, so the values that have a way of their own are written there too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from flow import In, Message, Out, Promises, Saved, node
from flow.errors import SettingError
from flow.kept import Kept
from flow.message import Field
from nodes.fields import require_field

M = TypeVar("M", bound=Message)
_TRUTH = {"true": True, "false": False}


def _checked(settings: Mapping[str, Any], known: Mapping[str, type[Message]]) -> Mapping[str, type[Message]]:
    if "M" in known:
        wanted_values(require_field(known["M"], settings["field"], "field"), settings["values"])
    return {}


def wanted_values(field: Field, values: list[str]) -> set[Any]:
    """The values, each as the field holds it.

    Raises:
      SettingError: the field holds no single value, or none such as one of these.
    """
    if field.kind == "scalar":
        kind: type = field.scalar
    elif field.kind == "array" and not field.dims:
        kind = {"b": bool, "f": float}.get(np.dtype(field.dtypes[0]).kind, int)
    else:
        raise SettingError(f"field = {field.name!r} is {field}; split goes by a field of one value, a number or a text")
    try:
        return {_TRUTH[value] if kind is bool else kind(value) for value in values}
    except (ValueError, KeyError) as error:
        raise SettingError(
            f"values = {values}: field {field.name} is {field}, and one of these is none; "
            'write them as texts, as in values = ["16000"] or ["true"]'
        ) from error


@node(binds=_checked, promises=Promises(given="nodes.given.streams:splits"))
async def split(
    items: In[M],
    matching: Out[M],
    others: Out[M],
    saved: Saved,
    *,
    field: str,
    values: list[str],
) -> None:
    """Send messages whose `field` is one of `values` one way, all others the other way; each way keeps their order.

    Args:
      field: a field of one value: a whole number, a text, true or false.
      values: as texts, such as ["16000", "22050"].
    """
    # Taken and not yet sent: with two ways out a message must not be lost between them.
    kept = saved.keep("kept", Kept(items.message_type))

    async def send() -> None:
        spec = require_field(type(kept[0]), field, "field")
        value = getattr(kept[0], field)
        value = value.item() if isinstance(value, np.ndarray) else value
        await (matching if value in wanted_values(spec, values) else others).send(kept[0])
        kept.drop(1)

    if len(kept):
        await send()
    async for item in items:
        kept.append(item)
        await send()
