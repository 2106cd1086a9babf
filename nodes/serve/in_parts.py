"""Answers to a batch whose rows do not all fit a device at once: cut, computed part by part, and joined again."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from flow import Message

if TYPE_CHECKING:
    from nodes.nets.rows_that_fit import RowsThatFit

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)


def rows_cut(message: Q, low: int, high: int) -> Q:
    """A message's rows low..high-1; its scalars as they are."""
    cut = {spec.name: getattr(message, spec.name)[low:high] for spec in message.fields if spec.kind == "array"}
    return type(message)(**{**vars(message), **cut})


def rows_joined(parts: Sequence[A]) -> A:
    """One message of the rows of several; its scalars are those of the first."""
    if len(parts) == 1:
        return parts[0]
    arrays = [spec.name for spec in parts[0].fields if spec.kind == "array"]
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in arrays}
    return type(parts[0])(**{**vars(parts[0]), **joined})


def answered(fits: RowsThatFit, answer: Callable[[Q, int], A], asked: Q, rows: int) -> A:
    """The answer to a batch, in parts where it does not fit.

    Args:
      answer: computes the answer to all rows of a message, of which so many are no padding.
      rows: of the batch that are no padding.
    """
    total = len(getattr(asked, asked.fields[0].name))
    parts = fits.run(total, lambda low, high: answer(rows_cut(asked, low, high), min(max(rows - low, 0), high - low)))
    return rows_joined(parts)
