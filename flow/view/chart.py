"""A curve in braille: each letter is two dots wide and four high."""

from __future__ import annotations

import math
from itertools import pairwise

from flow.progress import Curve
from flow.view.numbers import clean, short

DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))
"""Bits of U+2800 for the left and the right column, top to bottom."""
LABEL_WIDTH = 8


def chart(curve: Curve, width: int, height: int) -> list[str]:
    """Draw a curve with its axes.

    Args:
      curve: what to draw; points that are not finite are left out.
      width, height: of all that is drawn, in letters; the last two lines are the x axis.

    Returns:
      `height` lines, none wider than `width`; no lines when there is nothing to draw or no room.
    """
    points = [(one.x, one.mean, one.count) for one in curve.points if _drawable(one.x) and _drawable(one.mean)]
    inner, rows = width - LABEL_WIDTH - 2, height - 2
    if not points or inner < 8 or rows < 2:
        return []
    columns = _columns(points, 2 * inner)
    known = [value for value in columns if value is not None]
    low, high = _span(min(known), max(known))
    masks = _dots(columns, low, high, 4 * rows)
    lines = []
    for row in range(rows):
        labels = {0: high, rows - 1: low} | ({(rows - 1) // 2: (low + high) / 2} if rows % 2 and rows > 4 else {})
        label = _label(labels[row], high - low) if row in labels else ""
        drawn = "".join(chr(0x2800 + mask) if mask else " " for mask in masks[row])
        lines.append(f"{label:>{LABEL_WIDTH}} {'┤' if row in labels else '│'}{drawn}".rstrip())
    first, last = short(min(x for x, _, _ in points)), short(max(x for x, _, _ in points))
    name = clean(curve.x_name)[: max(inner - len(first) - len(last) - 2, 0)]
    lines.append(" " * (LABEL_WIDTH + 1) + "└" + "─" * inner)
    middle = name.center(max(inner - len(first) - len(last), 0))
    lines.append((" " * (LABEL_WIDTH + 2) + first + middle + last)[:width])
    return lines


def _drawable(value: float) -> bool:
    return math.isfinite(value) and abs(value) < 1e100


def _label(value: float, span: float) -> str:
    """A value on the y axis; what is nothing beside the span is zero."""
    if abs(value) < span / 1000:
        return "0"
    text = short(value)
    return text if len(text) <= LABEL_WIDTH else f"{value:.0e}"[:LABEL_WIDTH]


def _span(low: float, high: float) -> tuple[float, float]:
    """The y axis; a flat curve lies in its middle."""
    if high - low > 1e-12 * max(abs(low), abs(high), 1e-12):
        return low, high
    pad = max(abs(low) * 0.1, 1e-3)
    return low - pad, high + pad


def _columns(points: list[tuple[float, float, int]], count: int) -> list[float | None]:
    """The mean of the points in each column of dots, straight lines across columns without one."""
    left, right = min(x for x, _, _ in points), max(x for x, _, _ in points)
    sums, weights = [0.0] * count, [0] * count
    for x, mean, weight in points:
        at = min(int((x - left) / (right - left) * count), count - 1) if right > left else 0
        sums[at] += mean * weight
        weights[at] += weight
    columns = [sums[at] / weights[at] if weights[at] else None for at in range(count)]
    known = [(at, value) for at, value in enumerate(columns) if value is not None]
    for (begin, start), (end, stop) in pairwise(known):
        for at in range(begin + 1, end):
            columns[at] = start + (stop - start) * (at - begin) / (end - begin)
    return columns


def _dots(columns: list[float | None], low: float, high: float, height: int) -> list[list[int]]:
    """Dots of the curve, in rows of letters; neighbours are joined so that a steep curve has no gaps."""
    masks = [[0] * ((len(columns) + 1) // 2) for _ in range(height // 4)]
    before: int | None = None
    for at, value in enumerate(columns):
        if value is None:
            continue
        dot = height - 1 - min(max(round((value - low) / (high - low) * (height - 1)), 0), height - 1)
        # Half way from the neighbour, so that a step is one line and not two dots thick.
        start = dot if before is None else before + (1 if dot > before else -1 if dot < before else 0)
        for y in range(min(start, dot), max(start, dot) + 1):
            masks[y // 4][at // 2] |= DOTS[at % 2][y % 4]
        before = dot
    return masks
