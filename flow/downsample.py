"""A series over a whole run in bounded memory.

    values ──► [ ][ ][ ] … at most 400 buckets ──► when full, neighbours merge and each
                                                         bucket holds twice as many values

Count, mean and spread of a bucket stay exact through any number of merges (Chan, Golub, LeVeque 1979).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from flow.progress import CurvePoint

BUCKETS = 400


@dataclass
class _Bucket:
    count: int
    time: float
    x: float
    mean: float
    squares: float
    """Sum of squared distances from the mean."""

    def take(self, other: _Bucket) -> None:
        """Merge another bucket into this one."""
        total = self.count + other.count
        part = other.count / total
        apart = other.mean - self.mean
        self.squares += other.squares + apart * apart * self.count * part
        self.mean += apart * part
        self.time += (other.time - self.time) * part
        self.x += (other.x - self.x) * part
        self.count = total


class Downsampled:
    """Values in the order they came, as at most `buckets` points."""

    def __init__(self, buckets: int = BUCKETS) -> None:
        self._most = buckets
        self._width = 1
        self._buckets: list[_Bucket] = []

    def add(self, time: float, x: float, value: float) -> None:
        """Add one value; one that is not finite is left out, as no curve can show it."""
        self.add_many(CurvePoint(time, x, value, 0.0, 1))

    def add_many(self, point: CurvePoint) -> None:
        """Add values of which only count, mean and spread are known."""
        if not math.isfinite(point.mean) or not math.isfinite(point.spread) or point.count < 1:
            return
        squares = point.spread * point.spread * point.count
        bucket = _Bucket(point.count, point.time, point.x, point.mean, squares)
        if self._buckets and self._buckets[-1].count + bucket.count <= self._width:
            self._buckets[-1].take(bucket)
            return
        self._buckets.append(bucket)
        if len(self._buckets) > self._most:
            self._halve()

    def points(self) -> tuple[CurvePoint, ...]:
        """The points, oldest first."""
        return tuple(
            CurvePoint(one.time, one.x, one.mean, math.sqrt(max(one.squares, 0.0) / one.count), one.count)
            for one in self._buckets
        )

    def _halve(self) -> None:
        self._width *= 2
        for left, right in zip(self._buckets[::2], self._buckets[1::2], strict=False):
            left.take(right)
        self._buckets = self._buckets[::2]
