"""What there is to say of an array in a line."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from flow.message import Array


@dataclass(frozen=True)
class Statistics:
    """Of the values that are finite; None where there are none, or where they have no order."""

    least: float | None
    mean: float | None
    most: float | None
    spread: float | None
    """Standard deviation."""
    nans: int
    infinities: int
    zeros: float
    """Share of values that are 0."""


def statistics(values: Array) -> Statistics:
    """Statistics of an array of any dtype that a message carries; of complex numbers, of their magnitudes."""
    with np.errstate(over="ignore", invalid="ignore"):  # a magnitude may be too large, a NaN a signalling one
        found = np.abs(values) if np.iscomplexobj(values) else values
        real = found.astype(np.float64, copy=False).reshape(-1)
    finite = real[np.isfinite(real)]
    nans = int(np.isnan(real).sum())
    zeros = float((real == 0).mean()) if real.size else 0.0
    if not finite.size:
        return Statistics(None, None, None, None, nans, real.size - nans, zeros)
    with np.errstate(over="ignore", invalid="ignore"):
        mean, spread = float(finite.mean()), float(finite.std())
    return Statistics(
        float(finite.min()),
        mean if np.isfinite(mean) else None,
        float(finite.max()),
        spread if np.isfinite(spread) else None,
        nans,
        int(real.size - finite.size - nans),
        zeros,
    )
