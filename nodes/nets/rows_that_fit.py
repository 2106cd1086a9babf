"""Batches of which as many rows are computed at once as the device has memory for.

    64 rows ──► out of memory ──► 32 ──► out of memory ──► 16 + 16 + 16 + 16        and from then on 16 at most

What a device holds is not known before: it depends on the module, on the sizes of what is asked, and on who else uses
the device. So a batch is halved where it turns out not to fit, the same rows are computed again, and the size that fits
is remembered.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

R = TypeVar("R")


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
        """What `part` returns of rows low..high-1, for as many parts as it takes; no rows are one part.

        Args:
          part: computes them; called again for rows that did not fit.

        Raises:
          torch.OutOfMemoryError: one row alone does not fit.
        """
        done: list[R] = []
        low = 0
        while low < rows or not done:
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
            if high - low <= 1:
                error.add_note("a batch of one row does not fit the device's memory; it needs a larger device")
                raise
            return []
