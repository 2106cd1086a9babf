"""Whether a node said the same in two trials, and where not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from flow.message import Message
from flow.promises import Promises


def as_numpy(value: Any) -> Any:
    """An array of numpy's or torch's as numpy's."""
    return value if isinstance(value, np.ndarray) else value.detach().cpu().numpy()


def fields_of(message: Message) -> dict[str, Any]:
    """Every array and scalar of a message, an array of a table as "field[key]"."""
    found: dict[str, Any] = {}
    for field in message.fields:
        value = getattr(message, field.name)
        if field.kind == "table":
            found |= {f"{field.name}[{key!r}]": as_numpy(array) for key, array in value.items()}
        else:
            found[field.name] = value if field.kind == "scalar" else as_numpy(value)
    return found


def digest(message: Any) -> bytes:
    """The content of a message; equal for equal messages, NaN included."""
    if isinstance(message, tuple):
        return b"".join(digest(part) if isinstance(part, Message) else repr(part).encode() for part in message)
    parts = [type(message).__name__]
    for name, value in fields_of(message).items():
        array = isinstance(value, np.ndarray)
        parts.append(f"{name}{value.dtype.str}{value.shape}" if array else f"{name}{value!r}")
        if array:
            parts.append(value.tobytes().hex())
    return "\n".join(parts).encode()


def message_difference(one: Any, other: Any, tolerance: float = 0.0, skipped: Sequence[str] = ()) -> str:
    """Where two messages differ, "" where they do not. tolerance: of each float's size, and at 0."""
    if isinstance(one, tuple):
        if one[0] != other[0]:
            return f"number {one[0]} and {other[0]}"
        one, other = one[1], other[1]
    a, b = fields_of(one), fields_of(other)
    if type(one).__name__ != type(other).__name__ or a.keys() != b.keys():
        return f"{type(one).__name__} of {', '.join(a)} and {type(other).__name__} of {', '.join(b)}"
    for name in a:
        if name.partition("[")[0] not in skipped and not _equal(a[name], b[name], tolerance):
            return f"field {name} is {_short(a[name])} and {_short(b[name])}"
    return ""


def _equal(one: Any, other: Any, tolerance: float) -> bool:
    if not isinstance(one, np.ndarray):
        if tolerance and isinstance(one, float):
            return bool(np.isclose(one, other, tolerance, tolerance, equal_nan=True))
        return repr(one) == repr(other)
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    if tolerance and one.dtype.kind in "fc":
        return bool(np.allclose(one, other, tolerance, tolerance, equal_nan=True))
    return bool(one.tobytes() == other.tobytes())


def _short(value: Any) -> str:
    if not isinstance(value, np.ndarray):
        return f"{value!r:.60}"
    if value.size <= 8:
        return f"{value.dtype.name} {value.tolist()}"
    return f"{value.dtype.name} {value.shape} beginning {value.reshape(-1)[:4].tolist()}"


def difference(
    one: Mapping[str, Sequence[Any]],
    other: Mapping[str, Sequence[Any]],
    promises: Promises | None = None,
    tolerance: float = 0.0,
) -> str:
    """Where what was said in two trials differs, by port; "" where it does not.

    Args:
      promises: in what order it may be. tolerance: of each float's size, and at 0.
    """
    for port in sorted({*one, *other}):
        a, b = list(one.get(port, ())), list(other.get(port, ()))
        if promises is not None:
            a, b = ordered(a, promises), ordered(b, promises)
        for index, (left, right) in enumerate(zip(a, b, strict=False)):
            if where := message_difference(left, right, tolerance):
                return f"port {port}, message {index}: {where}"
        if len(a) != len(b):
            return f"port {port}: {len(a)} messages and {len(b)}"
    return ""


def ordered(messages: list[Any], promises: Promises) -> list[Any]:
    """Messages in an order of their own where the node promises none."""
    if promises.order == "total" or any(isinstance(message, tuple) for message in messages):
        return messages
    field = promises.order_field
    if field is None or not all(hasattr(message, field) for message in messages):
        return sorted(messages, key=digest)
    return sorted(messages, key=lambda message: key_of(message, field))


def key_of(message: Message, field: str) -> bytes:
    """The value of the field by which a node keeps order."""
    value = getattr(message, field)
    return bytes(value.tobytes()) if isinstance(value, np.ndarray) else repr(value).encode()


def is_prefix(one: Mapping[str, Sequence[Any]], whole: Mapping[str, Sequence[Any]]) -> str:
    """Where what was said is no beginning of a whole; "" where it is."""
    for port, messages in one.items():
        if len(messages) > len(whole.get(port, ())):
            return f"port {port}: {len(messages)} messages, where a whole run sends {len(whole.get(port, ()))}"
        for index, (left, right) in enumerate(zip(messages, whole[port], strict=False)):
            if where := message_difference(left, right):
                return f"port {port}, message {index}: {where}"
    return ""
