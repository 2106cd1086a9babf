"""A message as an inspector gets it: a copy of what passed a port, cut to a size.

The producer copies and no more: what is shown of it, statistics, pictures, is made where it is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from flow.errors import ControlError
from flow.message import DTYPES, Array, Message


@dataclass(frozen=True)
class SampledArray:
    """An array, or its beginning along each dimension. shape: of the whole."""

    values: Array
    shape: tuple[int, ...]

    @property
    def is_cut(self) -> bool:
        return tuple(self.values.shape) != self.shape


@dataclass(frozen=True)
class Sample:
    """A message that passed a port.

    type: the name of its message type. what: "message", "question", "answer", "batch" or "value". number: how many
    passed the port before it since the tap was opened. time: wall time. skipped: how many passed since the sample
    before and were not wanted. dropped: how many were wanted since then and were not sent, because their reader was
    behind.
    """

    type: str
    what: str
    number: int
    time: float
    skipped: int
    dropped: int
    fields: dict[str, SampledArray | int | float | bool | str]


def fields_of(message: Message, most_bytes: int) -> list[list[Any]]:
    """Copies of a message's fields as msgpack takes them.

    Args:
      most_bytes: of all arrays; each is cut to its part of it, along its first dimensions first.
    """
    arrays: list[tuple[str, Any]] = []
    fields: list[list[Any]] = []
    for spec in message.fields:
        value = getattr(message, spec.name)
        if spec.kind == "scalar":
            fields.append([spec.name, value])
        elif spec.kind == "table":
            arrays += [(f"{spec.name}/{key}", each) for key, each in value.items()]
        else:
            arrays.append((spec.name, value))
    for name, value in arrays:
        copied = _cut(value, max(most_bytes // len(arrays), 16))
        fields.append([name, copied.dtype.name, list(value.shape), list(copied.shape), copied.tobytes()])
    return fields


def _cut(value: Any, most: int) -> Array:
    """The beginning of an array, numpy's or torch's."""
    for axis, size in enumerate(value.shape):
        if value.nbytes <= most:
            break
        kept = max(1, int(most // (value.nbytes // size)))
        value = value[(slice(None),) * axis + (slice(0, min(kept, size)),)]
    if not isinstance(value, np.ndarray):  # torch's, of a device perhaps: only what was cut is copied from it
        value = value.detach().cpu()
        value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
    cut: Array = value if value.dtype.isnative else value.astype(value.dtype.newbyteorder("="))
    return cut


def read_sample(words: dict[str, Any]) -> Sample:
    """A sample from a frame.

    Raises:
      ControlError: the frame holds none.
    """
    try:
        fields = read_fields(words["fields"])
        return Sample(
            str(words["type"]),
            str(words["what"]),
            int(words["number"]),
            float(words["time"]),
            int(words["skipped"]),
            int(words["dropped"]),
            fields,
        )
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise ControlError(f"what came from a tap is no sample: {error}") from error


def message_of(fields: dict[str, Any], message_type: type[Message]) -> Message:
    """A message from fields as `fields_of` told them.

    Raises:
      ControlError: one is missing, or is none of the type's.
    """
    values: dict[str, Any] = {}
    left = {name: each.values if isinstance(each, SampledArray) else each for name, each in fields.items()}
    for field in message_type.fields:
        start = f"{field.name}/"
        if field.kind == "table":
            values[field.name] = {name[len(start) :]: left.pop(name) for name in list(left) if name.startswith(start)}
        elif field.name in left:
            values[field.name] = left.pop(field.name)
        else:
            raise ControlError(f"{message_type.__name__} needs {field.name}: {field}")
    if left:
        has = ", ".join(field.name for field in message_type.fields)
        raise ControlError(f"{message_type.__name__} has no field '{next(iter(left))}'; it has {has}")
    return message_type(**values)


def read_fields(told: list[Any]) -> dict[str, SampledArray | int | float | bool | str]:
    """Fields as they came in a frame.

    Raises:
      ControlError: they are none.
    """
    try:
        return {field[0]: field[1] if len(field) == 2 else _array(*field[1:]) for field in told}
    except (KeyError, ValueError, TypeError, IndexError) as error:
        raise ControlError(f"what came is no sample of a message: {error}") from error


def _array(dtype: str, shape: list[int], kept: list[int], content: bytes) -> SampledArray:
    if dtype not in DTYPES:
        raise ValueError(f"dtype {dtype!r} is none that a message carries")
    return SampledArray(np.frombuffer(content, dtype).reshape(kept), tuple(shape))
