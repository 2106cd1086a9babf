"""What the nodes of the zoo say to each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated

import numpy as np
from jaxtyping import Float32, Int64

from flow import Array, Message, Range


class Wave(Message):
    samples: Annotated[Float32[Array, "time"], Range(-1, 1)]
    rate: Annotated[int, Range(1, 8)]  # Hz


class Item(Message):
    number: Annotated[int, Range(0, 99)]


class Big(Message):
    number: int
    text: str


class Rows(Message, repeatable=True):
    values: Annotated[Float32[Array, "rows 2"], Range(-10, 10)]


class Sums(Message):
    sums: Float32[Array, "rows"]


class Ids(Message):
    ids: Annotated[Int64[Array, "rows"], Range(0, 9)]


@dataclass
class Count:
    """State of a node: a number, and a rest of something."""

    seen: int = 0
    total: int = 0
    rest: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
