"""What nodes over streams are given."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from jaxtyping import Float32, Int64

from flow import Array, Message
from flow.testing import Given
from flow.testing.cases import Count, Sample


class Numbers(Message):
    """What a function of `map` and `filter` takes."""

    numbers: Int64[Array, "rows"]


def sums(item: Numbers) -> Numbers:
    """For `map`."""
    return Numbers(item.numbers[:1] + 1)


def any_there(item: Numbers) -> bool:
    """For `filter`."""
    return len(item.numbers) > 0


def mapped() -> Given:
    return Given({"function": "nodes.given.streams:sums"}, variables=({"M": Numbers},))


def filtered() -> Given:
    return Given({"function": "nodes.given.streams:any_there"}, variables=({"M": Numbers},))


def zipped() -> Given:
    return Given({"right_prefix": "right_"}, variables=({"L": Sample, "R": Sample},))


def ordered() -> Given:
    return Given({"by": "number"}, variables=({"M": Sample},))


def splits() -> Given:
    return Given(
        {"field": "number", "values": st.lists(st.integers(0, 2).map(str), max_size=2)}, variables=({"M": Sample},)
    )


class Row(Message):
    """What can be stacked and joined."""

    values: Float32[Array, "size 2"]
    names: Int64[Array, "size"]


def rows_of_one_size() -> Given:
    """Messages of one shape, to be stacked."""
    return Given(
        streams={"items": st.integers(0, 3).flatmap(lambda size: st.lists(_row(size), max_size=6))},
        variables=({"M": Row},),
    )


def _row(size: int) -> st.SearchStrategy[Any]:
    return st.integers(0, 99).map(lambda n: Row(np.full((size, 2), n, np.float32), np.arange(size) + n))


def rows_of_any_size() -> Given:
    """Messages whose first dimension is what is cut, or taken apart."""
    return Given(variables=({"M": Row}, {"M": Count}))
