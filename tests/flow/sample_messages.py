"""Messages of every shape that the tests of the runtime send."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from jaxtyping import Bool, Complex64, Float, Float32, Int64, Shaped, UInt8

from flow import Array, Message


class Tick(Message):
    """The smallest: who sent it and which it is."""

    sender: int
    number: int


class Block(Message):
    """A number and bytes."""

    number: int
    data: UInt8[Array, "bytes"]


class Everything(Message):
    """One field of every kind."""

    frames: UInt8[Array, "rows steps+2 3"]
    flags: Bool[Array, "rows"]
    values: Float[Array, "rows _"]
    waves: Complex64[Array, "..."]
    moment: Shaped[Array, ""]
    weights: dict[str, Float32[Array, "..."]]
    count: int
    rate: float
    done: bool
    text: str


class Question(Message, repeatable=True):
    """Rows of numbers; asking twice does no harm."""

    keys: Int64[Array, "rows"]


class OnceOnly(Message):
    """As Question, but not to be asked twice."""

    keys: Int64[Array, "rows"]


class Answer(Message):
    """Twice each key, and who answered."""

    doubles: Int64[Array, "rows"]
    server: int


def same(one: Any, other: Any) -> bool:
    """Whether two messages hold the same values, NaN being itself."""
    return type(one) is type(other) and all(
        _same(getattr(one, field.name), getattr(other, field.name)) for field in dataclasses.fields(one)
    )


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, dict):
        return list(one) == list(other) and all(_same(one[key], other[key]) for key in one)
    if isinstance(one, np.ndarray):
        native = one.astype(one.dtype.newbyteorder("="))
        return one.shape == other.shape and native.dtype == other.dtype and native.tobytes() == other.tobytes()
    return type(one) is type(other) and (one == other or one != one)


def question(*keys: int, kind: type[Any] = Question) -> Any:
    return kind(np.array(keys, np.int64))
