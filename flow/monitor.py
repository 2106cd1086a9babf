"""Read all pages of a run and say how it stands; the same from the supervisor and from any other process.

Metrics of one name are one metric, whoever counts: totals and counts add up, gauges are averaged, series are
merged by time. What the copies of a sweep have to say is also kept for each copy, under "episode_return@trust=0.3".
Names that begin with "edge.", "port." or "_" are the runtime's own and are shown only when
asked for by name.
"""

from __future__ import annotations

import math
import os
import time
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path

from flow.downsample import Downsampled
from flow.errors import RunError
from flow.logs import Event, last_events
from flow.progress import (
    COPY,
    CounterProgress,
    Curve,
    CurvePoint,
    GaugeProgress,
    NewValue,
    NodeProgress,
    Progress,
    SeriesProgress,
)
from flow.run_directory import RunDirectory
from flow.stats import PageReader, PageView

RATE_WINDOW_S = 10.0
LAST = 100
"""Values of a series whose mean is shown."""
HUNG_S = 10.0
EVENTS_EVERY_S = 1.0
RUNTIME_NAMES = ("edge.", "port.", "_")
TIME_LIMITS = {"seconds": 1.0, "minutes": 60.0, "hours": 3600.0}
ALIVE = ("starting", "running", "waiting", "paused")


class Monitor:
    """Follows one run. Not for several threads at once."""

    def __init__(
        self,
        run_directory: RunDirectory | Path,
        show: list[str] | None = None,
        curve: str | None = None,
        until: dict[str, float] | None = None,
        *,
        started: float | None = None,
    ) -> None:
        """Follow a run.

        Args:
          run_directory: the run, live or ended.
          show: names of metrics to show, in this order; without it, all that are not the runtime's own.
          curve: the series to draw; without it, episode_return or else the first series.
          until: counters, or seconds, minutes, hours, and the totals at which the run is done. The first
            counter is the x axis.
          started: wall time the run was started; without it, the first poll's.
        """
        path = run_directory.path if isinstance(run_directory, RunDirectory) else Path(run_directory)
        self._pages, self._logs = path / "state", path / "logs"
        self._show, self._curve, self._until = show, curve, dict(until or {})
        self._x_name = next((name for name in self._until if name not in TIME_LIMITS), "seconds")
        self._started = started
        self._told_since = -math.inf if started is None else started
        self._readers: dict[Path, PageReader] = {}
        self._totals: deque[tuple[float, dict[str, int]]] = deque()
        self._first: dict[str, int] = {}
        self._last: dict[str, deque[float]] = {}
        self._curves: dict[str, Downsampled] = {}
        self._beats: dict[str, tuple[int, float]] = {}
        self._before: tuple[float, dict[str, float]] | None = None
        self._ignored_before = -math.inf
        self._events: tuple[float, tuple[Event, ...]] = (-math.inf, ())

    def restore(self, curves: dict[str, list[CurvePoint]], until: float) -> None:
        """Put back the curves of earlier starts of the run; they hold all values from before `until`."""
        for name, points in curves.items():
            last = self._last.setdefault(name, deque(maxlen=LAST))
            for point in points:
                self._curves.setdefault(name, Downsampled()).add_many(point)
                last.extend(_values_like(point))
        self._ignored_before = until

    def poll(self, now: float | None = None, *, last: bool = False) -> Progress:
        """Look at everything once. `now` is wall time; the last look at a run finds all events that were written."""
        now = time.time() if now is None else now
        views, faults = self._read()
        if self._started is None:
            self._started = now
        units = {name: unit for view in views for name, unit in view.units.items()}
        counters = self._counters(views, now, units)
        elapsed = now - self._started
        copies = tuple(sorted({_copy_of(view.node) for view in views} - {""}))
        xs = {copy: _x(counters, self._x_name, copy, elapsed) for copy in ("", *copies)}
        x = xs[""]
        series = self._series(views, now, xs, units)
        gauges = _gauges(views, units, self._is_public)
        nodes = tuple(self._node(view, now) for view in views)
        curve = self._drawn(series, copies)
        left, fraction = self._time_left(counters, now - self._started)
        return Progress(
            now=now,
            elapsed=max(now - self._started, 0.0),
            left=left,
            fraction=fraction,
            x_name=self._x_name,
            x=x,
            shown=self._shown([*counters, *gauges, *series], copies),
            counters=counters,
            gauges=gauges,
            series=series,
            curve=curve,
            copies=copies,
            copy_curves=self._drawn_copies(curve, series, copies),
            nodes=nodes,
            faults=(*faults, *(fault for node in nodes for fault in _faults(node))),
            events=self._recent(now, last),
        )

    def points(self, name: str) -> tuple[CurvePoint, ...]:
        """The whole run of any series."""
        return self._curves[name].points() if name in self._curves else ()

    def close(self) -> None:
        """Unmap all pages."""
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def _is_public(self, name: str) -> bool:
        return not name.startswith(RUNTIME_NAMES) or name in (self._show or ()) or name in self._until

    def _shown(self, names: list[str], copies: Collection[str]) -> tuple[str, ...]:
        """What is shown, each metric followed by what the copies of a sweep have of it."""
        of_copy = {f"{name}{COPY}{copy}" for name in names for copy in copies}
        order = (
            self._show if self._show is not None else [*self._until, *(name for name in names if name not in of_copy)]
        )
        shown = [each for name in order for each in (name, *(f"{name}{COPY}{copy}" for copy in copies))]
        return tuple(name for name in dict.fromkeys(shown) if name in names)

    def _read(self) -> tuple[list[PageView], list[str]]:
        views, faults = [], []
        try:
            names = sorted(name for name in os.listdir(self._pages) if name.endswith(".page") and name[0] != ".")
        except OSError:
            names = []
        for name in names:
            path = self._pages / name
            reader = self._readers.setdefault(path, PageReader(path))
            try:
                view = reader.poll()
            except RunError as error:
                faults.append(str(error))
                continue
            if view is not None:
                views.append(view)
        return sorted(views, key=lambda view: (view.node, view.replica)), faults

    def _counters(self, views: list[PageView], now: float, units: dict[str, str]) -> dict[str, CounterProgress]:
        totals: dict[str, int] = {}
        for view in views:
            for plain, value in view.counters.items():
                for name in _names_of(plain, view.node) if self._is_public(plain) else ():
                    totals[name] = totals.get(name, 0) + value
        previous = self._totals[-1] if self._totals else None
        if previous is None:
            self._first = totals
        self._totals.append((now, totals))
        while len(self._totals) > 2 and self._totals[1][0] <= now - RATE_WINDOW_S:
            self._totals.popleft()
        then, old = self._totals[0]
        # A name that is new was first seen with a count of its own, which is no rate.
        return {
            name: CounterProgress(
                total,
                max(total - old.get(name, total), 0) / (now - then) if now > then else 0.0,
                units.get(name, ""),
                self._until.get(name),
                self._first.get(name, 0),
            )
            for name, total in totals.items()
        }

    def _time_left(self, counters: dict[str, CounterProgress], elapsed: float) -> tuple[float | None, float | None]:
        """Seconds left at the rates that are shown, and the fraction done, of the goal that is reached first."""
        lefts, fractions = [], []
        for name, target in self._until.items():
            if name in TIME_LIMITS:
                done, rate, goal = elapsed, 1.0, target * TIME_LIMITS[name]
            elif name in counters:
                done, rate, goal = float(counters[name].total), counters[name].rate, target
            else:
                continue
            fractions.append(min(max(done / goal, 0.0), 1.0) if goal > 0 else 1.0)
            if rate > 0:
                lefts.append(max(goal - done, 0.0) / rate)
        return min(lefts, default=None), max(fractions, default=None)

    def _series(
        self, views: list[PageView], now: float, xs: dict[str, float], units: dict[str, str]
    ) -> dict[str, SeriesProgress]:
        assert self._started is not None
        then, xs_then = self._before or (min([self._started, *(view.started for view in views)]), {})
        self._before = (now, xs)
        counts: dict[str, int] = {}
        news: dict[str, list[tuple[float, float]]] = {}
        for view in views:
            for plain, one in view.series.items():
                pairs = zip(one.times, one.values, strict=True)
                fresh = [pair for pair in pairs if pair[0] >= self._ignored_before]
                for name in _names_of(plain, view.node) if self._is_public(plain) else ():
                    counts[name] = counts.get(name, 0) + one.count
                    news.setdefault(name, []).extend(fresh)
        found = {}
        for name, fresh in news.items():
            last = self._last.setdefault(name, deque(maxlen=LAST))
            curve = self._curves.setdefault(name, Downsampled())
            copy = name.rpartition(COPY)[2] if name.rpartition(COPY)[2] in xs else ""
            x, x_then = xs[copy], xs_then.get(copy, 0.0)
            slope = (x - x_then) / (now - then) if now > then else 0.0
            new = []
            for when, value in sorted(fresh):
                place = min(max(x_then + slope * (when - then), min(x_then, x)), max(x_then, x))
                new.append(NewValue(when, place, value))
                curve.add(when, place, value)
                if math.isfinite(value):
                    last.append(value)
            mean, spread = _mean_and_spread(last)
            found[name] = SeriesProgress(mean, spread, counts[name], units.get(name, ""), tuple(new))
        return found

    def _drawn(self, series: dict[str, SeriesProgress], copies: Collection[str]) -> Curve | None:
        shown = self._shown(list(series), copies)
        name = self._curve or ("episode_return" if "episode_return" in shown else next(iter(shown), None))
        return Curve(name, self._x_name, self.points(name)) if name else None

    def _drawn_copies(
        self, curve: Curve | None, series: dict[str, SeriesProgress], copies: Collection[str]
    ) -> tuple[Curve, ...]:
        names = [f"{curve.name}{COPY}{copy}" for copy in copies] if curve is not None else []
        return tuple(Curve(name, self._x_name, self.points(name)) for name in names if name in series)

    def _node(self, view: PageView, now: float) -> NodeProgress:
        key, state = f"{view.node}.{view.replica}", view.state
        beat, since = self._beats.get(key, (view.beat, now))
        if beat != view.beat or state != "running":
            beat, since = view.beat, now
        self._beats[key] = (beat, since)
        if state in ALIVE and not view.has_process(_is_alive):
            state = "gone"
        elif beat > 0 and now - since > HUNG_S:
            state = "hung"
        return NodeProgress(view.node, view.replica, state, view.incarnation, view.worker, view.pid, view.text)

    def _recent(self, now: float, last: bool) -> tuple[Event, ...]:
        when, events = self._events
        if last or abs(now - when) >= EVENTS_EVERY_S:
            # A log holds what earlier starts of the run had to say too, which is no news.
            events = tuple(event for event in last_events(self._logs, most=20) if event.time >= self._told_since)
            self._events = (now, events)
        return events


def _values_like(point: CurvePoint) -> list[float]:
    """Values of the count, mean and spread of a point, as far as the mean of the last hundred needs them."""
    if not math.isfinite(point.mean):
        return []
    pairs, odd = divmod(min(point.count, LAST), 2)
    spread = point.spread if math.isfinite(point.spread) else 0.0
    return [point.mean - spread, point.mean + spread] * pairs + [point.mean] * odd


def _copy_of(node: str) -> str:
    """The copy of a sweep that a node is, "" if it is none."""
    return node.partition(COPY)[2]


def _names_of(metric: str, node: str) -> tuple[str, ...]:
    """The names under which a node's metric is kept: for all who have it, and for its copy."""
    copy = _copy_of(node)
    return (metric, f"{metric}{COPY}{copy}") if copy else (metric,)


def _x(counters: dict[str, CounterProgress], name: str, copy: str, elapsed: float) -> float:
    """How far a copy has come, or all of them."""
    own = counters.get(f"{name}{COPY}{copy}") if copy else None
    whole = own or counters.get(name)
    return elapsed if whole is None else float(whole.total)


def _gauges(views: list[PageView], units: dict[str, str], is_public: Callable[[str], bool]) -> dict[str, GaugeProgress]:
    values: dict[str, list[float]] = {}
    for view in views:
        for plain, value in view.gauges.items():
            for name in _names_of(plain, view.node) if is_public(plain) else ():
                values.setdefault(name, []).append(value)
    return {name: GaugeProgress(sum(found) / len(found), units.get(name, "")) for name, found in values.items()}


def _mean_and_spread(values: Collection[float]) -> tuple[float | None, float]:
    if not values:
        return None, 0.0
    mean = sum(values) / len(values)
    return mean, math.sqrt(sum((value - mean) * (value - mean) for value in values) / len(values))


def _faults(node: NodeProgress) -> list[str]:
    said = f": {node.text}" if node.text else ""
    found = [f"{node.name} {node.state}{said}"] if node.state in ("failed", "hung", "gone") else []
    if node.restarts:
        found.append(f"{node.name} restarted {node.restarts} time{'s' if node.restarts > 1 else ''}")
    return found


def _is_alive(pid: int) -> bool:
    """Whether there is such a process; a zombie counts, its supervisor is about to say so."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return pid > 0
