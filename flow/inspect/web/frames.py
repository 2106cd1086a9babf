"""What a page is told of a run as it goes: the picture when it changes, figures twice a second, curves every second.

All pages share one look: how many there are costs the run and this process nothing more.
"""

from __future__ import annotations

import json
import math
import threading
import time
from dataclasses import dataclass, is_dataclass
from typing import Any

from flow.inspect.curves import follow
from flow.inspect.overview import Look
from flow.inspect.web.picture import Shape, picture, shape_of
from flow.progress import Progress
from flow.run_directory import RunDirectory

LOOK_S = 0.5
CURVES_S = 2.0
EVENTS = 60
CURVES_MOST = 24
POINTS_MOST = 160


@dataclass
class Frame:
    """A number that grows when it changed, and its JSON."""

    number: int = 0
    text: str = ""
    made: float = -math.inf

    def put(self, value: Any) -> None:
        """Take another value, if it is another."""
        text = json.dumps(value, separators=(",", ":"), default=str)
        self.made = time.monotonic()
        if text != self.text:
            self.number, self.text = self.number + 1, text


class Frames:
    """The newest of each kind; for several threads."""

    def __init__(self, run: RunDirectory, *, control: bool) -> None:
        self.run = run
        self._control = control
        self._look = Look(run)
        self._monitor, self._names, self._chosen = follow(run)
        self._shape: Shape | None = None
        self._frames = {name: Frame() for name in ("picture", "figures", "curves")}
        self._lock = threading.Lock()

    def newer(self, seen: dict[str, int]) -> list[tuple[str, int, str]]:
        """Name, number and JSON of the frames whose number is not the one that was seen."""
        with self._lock:
            now = time.monotonic()
            if now - self._frames["figures"].made > LOOK_S * 0.9:
                self._renew_figures()
            if now - self._frames["curves"].made > CURVES_S * 0.9:
                self._frames["curves"].put(self._curves(self._monitor.poll()))
            return [
                (name, frame.number, frame.text)
                for name, frame in self._frames.items()
                if frame.number != seen.get(name)
            ]

    def _renew_figures(self) -> None:
        overview = self._look.now(events=EVENTS)
        shape = shape_of(overview)
        if shape != self._shape:
            self._shape = shape
            self._frames["picture"].put(picture(self.run, overview))
        told = _rounded(overview)
        for edge, figures in zip(told["edges"], overview.edges, strict=True):
            edge["fill"] = _short(figures.fill)
        self._frames["figures"].put({**told, "control": self._control, "now": round(time.time(), 1)})

    def _curves(self, progress: Progress) -> dict[str, Any]:
        shown = [name for name in progress.shown if name in progress.series]
        names = list(dict.fromkeys([*([progress.curve.name] if progress.curve else []), *shown, *self._names]))
        curves = []
        for name in names[:CURVES_MOST]:
            points = self._monitor.points(name)
            if not points:
                continue
            step = -(-len(points) // POINTS_MOST)
            points = (*points[:-1:step], points[-1])
            series = progress.series.get(name)
            curves.append(
                {
                    "name": name,
                    "unit": series.unit if series else "",
                    "mean": _short(series.mean if series and series.mean is not None else points[-1].mean),
                    "x": [_short(point.x) for point in points],
                    "y": [_short(point.mean) for point in points],
                    "spread": [_short(point.spread) for point in points],
                }
            )
        counters = [
            {"name": name, "total": one.total, "rate": _short(one.rate), "unit": one.unit, "target": one.target}
            for name in progress.shown
            if (one := progress.counters.get(name)) is not None
        ]
        gauges = [
            {"name": name, "value": _short(gauge.value), "unit": gauge.unit}
            for name in progress.shown
            if (gauge := progress.gauges.get(name)) is not None
        ]
        over = {"fraction": progress.fraction, "left": progress.left}
        return {"x_name": progress.x_name, **over, "counters": counters, "gauges": gauges, "curves": curves}

    def close(self) -> None:
        """Unmap the pages."""
        self._look.close()
        self._monitor.close()


def _short(value: float) -> float | None:
    """Five digits: more cannot be seen. None, which JSON has, for what it has not: infinities and no number."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def _rounded(value: Any) -> Any:
    """The same with every float short, and records as dictionaries."""
    if is_dataclass(value):
        value = vars(value)
    if isinstance(value, dict):
        return {key: each if key == "time" else _rounded(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_rounded(each) for each in value]
    return _short(value) if isinstance(value, float) else value
