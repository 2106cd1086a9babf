"""Where each step of a batch of windows is, in arrays that hold the steps of several chunks one behind the other.

windows   (B, span)        t-context ........ t ........ t+length
at                            -1   -1   61   62   63 | 7   8          -1: before the stream's first step
                                        └ chunk 3 ┘    └ chunk 5
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from storage.chunks import Column
from storage.replay_index import Whereabouts
from storage.replay_windows import WindowShape


class WindowSteps:
    """How windows lie in chunks: each in one piece or several.

    Args:
      anchors, rows: (B,) t of each window, and the row of the batch that it is for.
      pieces: which chunks hold them.
      begins: (P,) of each piece, where the joined arrays have the first step of its chunk.

    Attributes:
      rows: (B',) the rows of those windows that have pieces.
      at: (B', span).
      lows, sources, lengths: (P,) where in its window a piece begins, where in its chunk, and how many steps it has.
    """

    def __init__(
        self,
        anchors: NDArray[np.int64],
        rows: NDArray[np.int64],
        pieces: Whereabouts,
        begins: NDArray[np.int64],
        shape: WindowShape,
    ) -> None:
        self._shape = shape
        span = shape.context + shape.length + 1
        origins = anchors[pieces.windows] - shape.context
        self.lows = np.maximum(pieces.starts - origins, 0)
        self.sources = np.maximum(origins - pieces.starts, 0)
        self.lengths = np.minimum(origins + span, pieces.stops) - np.maximum(origins, pieces.starts)
        number = np.full(len(anchors), -1)
        number[pieces.windows] = 0
        windows = np.flatnonzero(number == 0)
        number[windows] = np.arange(len(windows))
        self.rows = rows[windows]
        self.at = np.full((len(windows), span), -1)
        within = np.arange(self.lengths.sum()) - np.repeat(np.cumsum(self.lengths) - self.lengths, self.lengths)
        to = number[pieces.windows] * span + self.lows
        self.at.reshape(-1)[np.repeat(to, self.lengths) + within] = (
            np.repeat(begins + self.sources, self.lengths) + within
        )

    def take(self, column: Column, joined: NDArray[Any], out: NDArray[Any]) -> None:
        """Fill a column of the batch; what is before a stream's birth is rubbish until it is blanked."""
        back, steps = self._shape.span(column.name)
        at = self.at[:, self._shape.context - back :][:, :steps]
        if len(self.rows) == len(out):  # all of them, in order
            joined.take(at, axis=0, mode="clip", out=out)
        else:
            out[self.rows] = joined.take(at, axis=0, mode="clip")

    def blank(self, out: NDArray[Any], firsts: NDArray[np.bool_] | None) -> None:
        """Make context zero that is not of the episode of step t.

        That is done here, since the boundary column from t on cannot tell a caller where the episode of t began.

        Args:
          out: the context column of the batch.
          firsts: the boundary column, joined; None where there are no episodes.
        """
        context = self._shape.context
        stored = self.at[:, : context + 1] >= 0
        begins = stored.argmax(1)
        if firsts is not None:
            begun = firsts.take(self.at[:, : context + 1], mode="clip") & stored
            last = context - begun[:, ::-1].argmax(1)
            begins = np.where(begun.any(1), last, begins)
        for window in np.flatnonzero(begins):
            out[self.rows[window], : begins[window]] = np.zeros((), out.dtype)
