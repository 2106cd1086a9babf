"""Batches of which as many rows are computed at once as the device has memory for.

    64 rows ──► out of memory ──► 32 ──► out of memory ──► 16 + 16 + 16 + 16        and from then on 16 at most

What a device holds is not known before: it depends on the module, on the sizes of what is asked, and on who else uses
the device. So a batch is halved where it turns out not to fit, the same rows are computed again, and the size that fits
is remembered.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
import torch

from flow.message import Message

R = TypeVar("R")
Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)


class RowsThatFit:
    """Computes batches in parts that fit a device.

    Args:
      release: gives up what may be made anew, called when memory ran out.

    Attributes:
      most: rows that are computed at once; None until a batch did not fit.
    """

    def __init__(self, release: Callable[[], None] = lambda: None) -> None:
        self._release = release
        self.most: int | None = None
        self._told: int | None = None

    def run(self, rows: int, part: Callable[[int, int], R]) -> list[R]:
        """What `part` returns of rows low..high-1, for as many parts as it takes.

        Args:
          part: computes them; called again for rows that did not fit.

        Raises:
          torch.OutOfMemoryError: one row alone does not fit.
        """
        done: list[R] = []
        low = 0
        while low < rows:
            high = min(rows, low + (self.most or rows))
            found = self._tried(part, low, high)
            if found:
                done += found
                low = high
            else:
                # Here the error is gone, and with it the frames that held the batch's tensors.
                self.most = (high - low) // 2
                self._release()
                torch.cuda.empty_cache()  # nothing where CUDA was never used
        return done

    def news(self) -> str | None:
        """What is to be said of the limit, once each time it has fallen."""
        if self.most == self._told:
            return None
        self._told = self.most
        return (
            f"the device has no memory for larger batches: {self.most} rows are computed at once from now on, a larger "
            "batch in parts; a smaller batch_max or another device would do without"
        )

    def _tried(self, part: Callable[[int, int], R], low: int, high: int) -> list[R]:
        try:
            return [part(low, high)]
        except torch.OutOfMemoryError as error:
            if high - low == 1:
                error.add_note("a batch of one row does not fit the device's memory; it needs a larger device")
                raise
            return []


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
