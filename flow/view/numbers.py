"""Numbers and times as people read them, the same in every view."""

from __future__ import annotations

import math


def whole(value: float) -> str:
    """1260000 -> `1,260,000`."""
    return f"{value:,.0f}" if math.isfinite(value) and abs(value) < 1e15 else f"{value:.3g}"


def real(value: float) -> str:
    """Three digits, no more than it takes: `-20.3`, `0.0003`, `5,912`."""
    if not math.isfinite(value):
        return f"{value}"
    size = abs(value)
    if size >= 1000:
        return whole(value)
    if size != 0 and size < 0.001:
        return f"{value:.2g}"
    digits = 3 if size < 1 else 2 if size < 10 else 1
    return f"{value:.{digits}f}".rstrip("0").rstrip(".") if size < 1 else f"{value:.{digits}f}"


def short(value: float) -> str:
    """For an axis: `1.26M`, `120k`, `-20.3`."""
    if not math.isfinite(value):
        return f"{value}"
    for size, letter in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}" if abs(value) < 1e15 else f"{value:.2g}"
    return f"{value:.3g}"


def rate(value: float) -> str:
    """A rate a second: `5,912/s`, `4.1/s`; below one in ten seconds by the minute."""
    if 0 < value < 0.1:
        return f"{value * 60:.2g}/min"
    return f"{whole(value)}/s" if value >= 100 else f"{value:.1f}/s"


def duration(seconds: float) -> str:
    """`48 s`, `3 min 20 s`, `2 h 05 min`, `4 d 03 h`."""
    if not math.isfinite(seconds) or seconds > 1e10:
        return "for ever"
    left = max(round(seconds), 0)
    if left < 60:
        return f"{left} s"
    if left < 3600:
        return f"{left // 60} min {left % 60:02d} s"
    if left < 86400:
        return f"{left // 3600} h {left % 3600 // 60:02d} min"
    return f"{left // 86400} d {left % 86400 // 3600:02d} h"


def about(seconds: float) -> str:
    """A duration that is a guess: `50 s`, `3 min`, `2.1 h`."""
    if not math.isfinite(seconds) or seconds > 1e10:
        return "a very long time"
    if seconds < 90:
        return f"{max(round(seconds), 0)} s"
    if seconds < 5400:
        return f"{round(seconds / 60)} min"
    return f"{seconds / 3600:.1f} h" if seconds < 172800 else f"{seconds / 86400:.1f} d"


def clean(text: str) -> str:
    """Text of a node made safe for a terminal: one line, no control or escape characters."""
    return "".join(letter if letter.isprintable() else " " for letter in text).strip()
