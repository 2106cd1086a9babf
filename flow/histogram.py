"""Where a whole number falls in a histogram of fixed size, and what its quantiles are. Numbers only.

Four buckets to each doubling: a quantile is off by at most an eighth of its value, and 160 buckets reach from a
microsecond to two weeks.
"""

from __future__ import annotations

from collections.abc import Sequence

BUCKETS = 160
_LAST = BUCKETS - 1


def bucket_of(value: int) -> int:
    """The bucket that counts a value; negative ones count as 0."""
    if value < 4:
        return value if value > 0 else 0
    bits = value.bit_length()
    bucket = (bits - 2) * 4 + ((value >> (bits - 3)) & 3)
    return bucket if bucket < _LAST else _LAST


def bounds(bucket: int) -> tuple[int, int]:
    """The smallest value of a bucket, and the smallest above it."""
    if bucket < 4:
        return bucket, bucket + 1
    shift, quarter = bucket // 4 - 1, bucket % 4
    return (4 + quarter) << shift, (5 + quarter) << shift


def quantile(counts: Sequence[float], fraction: float) -> float | None:
    """The value below which that fraction of all lies, taken to be even within a bucket; None of no values."""
    total = sum(counts)
    if total <= 0:
        return None
    rank, below = fraction * total, 0.0
    for bucket, count in enumerate(counts):
        if count > 0 and below + count >= rank:
            low, high = bounds(bucket)
            # The values of the smallest buckets are whole numbers, not ranges.
            return float(low) if high - low == 1 else low + (high - low) * max(rank - below, 0.0) / count
        below += count
    return float(bounds(max(at for at, count in enumerate(counts) if count > 0))[1])
