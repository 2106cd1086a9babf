"""The learning curve as a picture: smoothed mean with its spread, over frames and over minutes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow.errors import MissingError
from flow.progress import COPY, Curve, CurvePoint
from flow.view.numbers import short

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SMOOTH_PART = 0.05
"""Part of the run that a point of the smoothed curve is the mean of."""
TICK_MINUTES = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 240, 480, 960, 1440, 2880)


def draw_curve(curve: Curve, path: Path, title: str = "", copies: Sequence[Curve] = ()) -> bool:
    """Write a PNG of `curve` to `path`; False when it has fewer than two points, and nothing is written.

    Args:
      copies: the same of each copy of a sweep; they are drawn beside each other instead.

    Raises:
      MissingError: matplotlib is not installed.
    """
    points = _finite(curve)
    if len(points) < 2:
        return False
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise MissingError(
            f"matplotlib is not installed, so there is no {path.name}; pip install 'flow-research[report]'"
        ) from error
    figure = Figure(figsize=(7.2, 4.2), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    several = [(one.name.rpartition(COPY)[2], _finite(one)) for one in copies]
    drawn = [(label, those) for label, those in several if len(those) > 1]
    for at, (label, those) in enumerate(drawn or [(f"{curve.name}, smoothed", points)]):
        _line(axes, those, f"C{at}", label, alone=not drawn)
    axes.set_xlabel(f"{curve.x_name} of each" if drawn else curve.x_name)
    axes.set_ylabel(curve.name)
    axes.xaxis.set_major_formatter(lambda value, _: short(value))
    axes.margins(x=0.0)
    axes.grid(alpha=0.25)
    axes.spines[["right"]].set_visible(False)
    axes.legend(loc="best", frameon=False)
    if title:
        axes.set_title(title)
    if not drawn:  # copies are not equally far after the same time
        _minutes(axes, points)
    unfinished = path.with_name(f".{path.name}")
    figure.savefig(unfinished, format="png")
    unfinished.replace(path)
    return True


def _finite(curve: Curve) -> list[CurvePoint]:
    return [point for point in curve.points if math.isfinite(point.mean) and math.isfinite(point.spread)]


def _line(axes: Axes, points: list[CurvePoint], colour: str, label: str, *, alone: bool) -> None:
    """A smoothed mean with its spread; beside others only the spread's colour tells whose it is."""
    xs, means, spreads = [point.x for point in points], *smoothed(points)
    axes.fill_between(
        xs,
        [mean - spread for mean, spread in zip(means, spreads, strict=True)],
        [mean + spread for mean, spread in zip(means, spreads, strict=True)],
        alpha=0.2 if alone else 0.08,
        color=colour,
        linewidth=0,
        label="± one standard deviation" if alone else None,
    )
    if alone:
        axes.plot(xs, [point.mean for point in points], color=colour, alpha=0.3, linewidth=0.8)
    axes.plot(xs, means, color=colour, linewidth=1.8, label=label)


def smoothed(points: list[CurvePoint]) -> tuple[list[float], list[float]]:
    """Mean and standard deviation of all values within a window around each point."""
    reach = max(round(len(points) * SMOOTH_PART / 2), 1)
    means, spreads = [], []
    for at in range(len(points)):
        window = points[max(at - reach, 0) : at + reach + 1]
        count = sum(point.count for point in window)
        mean = sum(point.mean * point.count for point in window) / count
        squares = sum((point.spread**2 + (point.mean - mean) ** 2) * point.count for point in window)
        means.append(mean)
        spreads.append(math.sqrt(squares / count))
    return means, spreads


def _minutes(axes: Axes, points: list[CurvePoint]) -> None:
    """A second axis, on top: how long it took to come that far."""
    begin = points[0].time
    minutes = [(point.time - begin) / 60 for point in points]
    if points[-1].x <= points[0].x or minutes[-1] <= 0.1:
        return
    step = next((step for step in TICK_MINUTES if minutes[-1] / step <= 8), minutes[-1] / 4)
    ticks: list[tuple[float, float]] = []
    for point, minute in zip(points, minutes, strict=True):
        while minute >= step * len(ticks):
            ticks.append((point.x, step * len(ticks)))
    top: Any = axes.twiny()
    top.set_xlim(axes.get_xlim())
    top.set_xticks([x for x, _ in ticks], [f"{minute:g}" for _, minute in ticks])
    top.set_xlabel("minutes")
    top.spines[["right"]].set_visible(False)
