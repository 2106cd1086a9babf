"""Put fields of what passes into the run's metrics: terminal, TensorBoard, learning curve.

    losses ──► metrics(series = ["loss"])        a message's `loss` is a point of the series "loss"

Only nodes write metrics, and not every node knows what a user wants to see.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import numpy as np

from flow import Context, In, Message, Promises, node
from flow.errors import MessageError, SettingError
from flow.message import Field
from nodes.fields import require_field

M = TypeVar("M", bound=Message)


def _checked(settings: Mapping[str, Any], known: Mapping[str, type[Message]]) -> Mapping[str, type[Message]]:
    named = {kind: settings[kind] or [] for kind in ("series", "gauges", "counters")}
    if not any(named.values()):
        raise SettingError('nothing is written; name fields, as in series = ["loss"] or counters = ["frames"]')
    for kind, names in named.items() if "M" in known else ():
        for name in names:
            _require_numbers(require_field(known["M"], name, kind), kind)
    return {}


def _require_numbers(field: Field, kind: str) -> None:
    text = field.kind == "scalar" and field.scalar is str
    if text or field.kind == "table" or set(field.dtypes) & {"complex64", "complex128"} == set(field.dtypes) != set():
        raise SettingError(f"{kind} = {field.name!r} is {field}, which is no number and holds none")


@node(binds=_checked, promises=Promises(given="nodes.given.general:written_metrics"))
async def metrics(
    items: In[M],
    context: Context,
    *,
    series: list[str] | None = None,
    gauges: list[str] | None = None,
    counters: list[str] | None = None,
    prefix: str = "",
) -> None:
    """Write fields of each message into the run's metrics, under their names. At least one has to be named.

    Of an array a series gets each element, a gauge the mean, and a counter the sum.

    Args:
      series: fields that are points of a series; the mean of the last 100 is shown.
      gauges: fields of which the newest value counts.
      counters: fields that are added up; `[until]` may name them.
      prefix: put before the names, as in "test_".
    """
    async for item in items:
        for name in series or ():
            for value in _numbers(item, name).tolist():
                context.metrics.record(prefix + name, float(value))
        for name in gauges or ():
            numbers = _numbers(item, name)
            if numbers.size:
                context.metrics.gauge(prefix + name, float(numbers.mean()))
        for name in counters or ():
            context.metrics.count(prefix + name, _numbers(item, name).sum().item())


def _numbers(message: Message, name: str) -> Any:
    """The numbers of a field in a row.

    Raises:
      MessageError: it has none of that name, or holds no real numbers.
    """
    values = np.asarray(getattr(message, name, None)).ravel()
    if values.dtype.kind not in "biuf":
        raise MessageError(f"field {name} of a {type(message).__name__} holds no numbers for a metric")
    return values
