"""Message types with one dimension more or less, and the stacking and cutting of messages to match.

    n × (time 3)  ──stacked──►  (items time 3)  ──apart──►  n × (time 3)

Whole numbers, floats and truth values become arrays of int64, float64 and bool, and such again. Texts have no array.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

import numpy as np

from flow import Array, Message
from flow.errors import MessageError, SettingError
from flow.generic import derived
from flow.message import Dim, Field

N = TypeVar("N", bound=Message)
SCALAR_DTYPES: dict[type, str] = {int: "int64", float: "float64", bool: "bool"}
_SCALARS = {dtype: scalar for scalar, dtype in SCALAR_DTYPES.items()}


def stacked_type(message: type[Message], size: int | None) -> type[Message]:
    """The type of several messages as one, with a new first dimension.

    Args:
      size: of that dimension; None if it differs from message to message.

    Raises:
      SettingError: a field cannot be stacked.
    """
    used = {dim.name for field in message.fields for dim in field.dims}
    name = "items"
    while size is None and name in used:
        name += "_"
    leading = Dim(name, 0) if size is None else Dim(None, size)
    return derived(f"{message.__name__}s", tuple(_stacked_field(message, field, leading) for field in message.fields))


def _stacked_field(message: type[Message], field: Field, leading: Dim) -> Field:
    if field.kind != "scalar":
        return replace(field, dims=(leading, *field.dims), library="numpy")
    if field.scalar not in SCALAR_DTYPES:
        raise SettingError(
            f"field {field.name} of {message.__name__} is a text, and texts cannot be stacked into an array; "
            "put a map before it that leaves the field out or sends a number"
        )
    return Field(field.name, "array", field.doc, (SCALAR_DTYPES[field.scalar],), (leading,))


def stack(messages: Sequence[Message], into: type[N]) -> N:
    """The messages as one.

    Raises:
      MessageError: their arrays have different shapes, or a number does not fit 64 bits.
    """
    return into(
        **{field.name: _stacked(field, [getattr(each, field.name) for each in messages]) for field in into.fields}
    )


def _stacked(field: Field, values: list[Any]) -> Any:
    if field.kind == "table":
        names = values[0].keys()
        if any(each.keys() != names for each in values):
            found = sorted({name for each in values for name in each.keys() ^ names})
            raise MessageError(f"field {field.name}: {found[0]!r} is in some messages only; tables of one batch agree")
        return {name: _array(f"{field.name}[{name!r}]", field, [each[name] for each in values]) for name in names}
    return _array(field.name, field, values)


def _array(name: str, field: Field, values: list[Any]) -> Array:
    if not isinstance(values[0], np.ndarray) and np.ndim(values[0]) == 0:
        try:
            return np.array(values, field.dtypes[0] if len(field.dtypes) == 1 else None)
        except OverflowError as error:
            raise MessageError(f"field {name}: a number does not fit {field.dtypes[0]}: {error}") from error
    arrays = [np.asarray(value) for value in values]
    shapes = {array.shape: None for array in arrays}
    dtypes = {array.dtype: None for array in arrays}
    if len(shapes) > 1 or len(dtypes) > 1:
        found = ", ".join(map(str, [*shapes] if len(shapes) > 1 else [*dtypes]))
        raise MessageError(
            f"field {name}: messages of {found} cannot be stacked; give all one shape and dtype, with a map before it"
        )
    return np.stack(arrays)


def apart_type(message: type[Message]) -> type[Message]:
    """The type of one row of a message: each array without its first dimension.

    Raises:
      SettingError: the arrays have no first dimension in common.
    """
    leading(message)
    return derived(f"row of {message.__name__}", tuple(_row_field(field) for field in message.fields))


def leading(message: type[Message]) -> Dim | None:
    """The first dimension that a message's arrays share; None if all take any number of dimensions.

    Raises:
      SettingError: they share none.
    """
    arrays = [field for field in message.fields if field.kind != "scalar"]
    without = [field.name for field in arrays if not field.dims and not field.any_rank]
    found = {field.dims[0]: field.name for field in arrays if field.dims}
    if not arrays or without:
        what = f"field {', '.join(without)} of {message.__name__}" if arrays else message.__name__
        raise SettingError(f"{what} has no first dimension to go along; send arrays that have one")
    if len(found) > 1:
        shown = " and ".join(f"{name} with {dim}" for dim, name in found.items())
        raise SettingError(
            f"the arrays of {message.__name__} do not share their first dimension: {shown}; "
            "put a map before it that sends those that do"
        )
    return next(iter(found), None)


def _row_field(field: Field) -> Field:
    if field.kind == "scalar":
        return field
    scalar = _SCALARS.get(field.dtypes[0]) if len(field.dtypes) == 1 else None
    if field.kind == "array" and len(field.dims) == 1 and not field.any_rank and scalar is not None:
        return Field(field.name, "scalar", field.doc, scalar=scalar)
    return replace(field, dims=field.dims[1:], library="numpy")


def rows(message: Message) -> int:
    """How many rows a message has.

    Raises:
      MessageError: its arrays do not agree.
    """
    lengths = {name: len(array) if np.ndim(array) else -1 for name, array in arrays_of(message)}
    if len(set(lengths.values())) != 1 or -1 in lengths.values():
        raise MessageError(f"the arrays of a {type(message).__name__} have no length in common: {lengths}")
    return next(iter(lengths.values()))


def arrays_of(message: Message) -> list[tuple[str, Any]]:
    """Every array of a message, with its name."""
    found: list[tuple[str, Any]] = []
    for field in type(message).fields:
        value = getattr(message, field.name)
        if field.kind == "table":
            found += [(f"{field.name}[{name!r}]", array) for name, array in value.items()]
        elif field.kind == "array":
            found.append((field.name, value))
    return found


def row(message: Message, index: int, into: type[N]) -> N:
    """One row of a message; arrays are views."""

    def cut(array: Any) -> Any:
        return np.asarray(array)[index, ...]

    kinds = {field.name: field for field in type(message).fields}
    values = {}
    for field in into.fields:
        value = mapped(kinds[field.name], getattr(message, field.name), cut)
        values[field.name] = value.item() if field.kind == "scalar" and isinstance(value, np.ndarray) else value
    return into(**values)


def mapped(field: Field, value: Any, change: Callable[[Any], Any]) -> Any:
    """The value of a field with each of its arrays changed."""
    if field.kind == "table":
        return {name: change(array) for name, array in value.items()}
    return change(value) if field.kind == "array" else value
