"""Metrics of a run on disk: metrics.jsonl always, TensorBoard event files where tensorboardX is installed.

Each copy of a sweep has event files in a folder of its own, so that TensorBoard lays their curves over each other.

    {"time": …, "x": 120000, "x_name": "frames", "counters": {…}, "rates": {…}, "gauges": {…},
     "series": {"episode_return": [mean, spread, count]}}        of the values since the line before

A line every two seconds, so a day is a few tens of megabytes whatever the nodes do. A resumed run reads its
curves back from there.
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from flow.progress import COPY, CurvePoint, NewValue, Progress

EVERY_S = 2.0
FILE = "metrics.jsonl"


class MetricsWriter:
    """Writes what a monitor saw; give it every Progress, it writes every two seconds and on closing."""

    def __init__(self, folder: Path, every_s: float = EVERY_S) -> None:
        """Write below `folder`, which is `RunDirectory.metrics`."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        self.note = ""
        """One line for the user when tensorboardX is missing."""
        self._every_s = every_s
        self._file = (folder / FILE).open("a", encoding="utf-8", buffering=1)
        self._folder = folder
        self._events: dict[str, Any] = {"": self._open_events(folder)}
        self._new: dict[str, list[NewValue]] = {}
        self._last: Progress | None = None
        self._written = -math.inf

    def write(self, progress: Progress) -> None:
        """Take in a new state of the run."""
        for name, series in progress.series.items():
            self._new.setdefault(name, []).extend(new for new in series.new if math.isfinite(new.value))
        self._last = progress
        if progress.now - self._written >= self._every_s:
            self._try_flush(progress)

    def close(self) -> None:
        """Write what is left."""
        if self._last is not None and self._last.now > self._written:
            self._try_flush(self._last)
        try:
            self._file.close()
        except OSError as error:
            self._say_lost(error)
        for events in self._events.values():
            if events is not None:
                events.close()

    def _open_events(self, folder: Path) -> Any:
        try:
            writer = _summary_writer()
        except ImportError:
            self.note = (
                f"tensorboardX is not installed, so metrics go to {folder / FILE} only; "
                "for TensorBoard: pip install 'flow-research[report]'"
            )
            return None
        events = writer(logdir=str(folder), flush_secs=10)
        # Its thread ends at the first error, and whoever adds a value after that waits for ever.
        event_writer = events.file_writer.event_writer
        forgiving = _Forgiving(event_writer._ev_writer, self._say_lost)
        event_writer._ev_writer = event_writer._worker._record_writer = forgiving
        return events

    def _try_flush(self, progress: Progress) -> None:
        """A full disk loses metrics, never the run."""
        try:
            self._flush(progress)
        except OSError as error:
            self._say_lost(error)

    def _say_lost(self, error: OSError) -> None:
        self.note = f"metrics are incomplete: {error.strerror or error}"

    def _flush(self, progress: Progress) -> None:
        self._written = progress.now
        series = {name: _condensed(values) for name, values in self._new.items() if values}
        # JSON has no infinity, and values near the end of the floats can have such a spread.
        series = {name: one for name, one in series.items() if math.isfinite(one.mean + one.spread)}
        self._new = {}
        line = {
            "time": progress.now,
            "x": progress.x,
            "x_name": progress.x_name,
            "counters": {name: one.total for name, one in progress.counters.items()},
            "rates": {name: round(one.rate, 4) for name, one in progress.counters.items()},
            "gauges": {name: one.value for name, one in progress.gauges.items() if math.isfinite(one.value)},
            "series": {name: [point.mean, point.spread, point.count] for name, point in series.items()},
        }
        self._file.write(json.dumps(line) + "\n")
        if self._events[""] is None:
            return
        scalars = {name: point.mean for name, point in series.items()} | line["gauges"]  # type: ignore[operator]
        scalars |= {f"rate/{name}": one.rate for name, one in progress.counters.items()}
        scalars |= {f"total/{name}": float(one.total) for name, one in progress.counters.items()}
        for full, value in scalars.items():
            name, copy = progress.parted(full)
            if copy not in self._events:
                self._events[copy] = self._open_events(self._folder / copy)
            own = progress.counters.get(f"{progress.x_name}{COPY}{copy}") if copy else None
            x = progress.x if own is None else own.total
            self._events[copy].add_scalar(name, value, global_step=int(x), walltime=progress.now)

    def __enter__(self) -> MetricsWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _summary_writer() -> Any:
    """tensorboardX's writer. It imports torch where that is installed, seconds and 200 MB for what is never used."""
    modules: dict[str, Any] = sys.modules
    hidden = "torch" not in modules
    if hidden:
        modules["torch"] = None  # an import of it fails at once
    try:
        from tensorboardX import SummaryWriter
    finally:
        if hidden:
            del modules["torch"]
    return SummaryWriter


class _Forgiving:
    """tensorboardX's writer of records, for a disk that may be full: what it cannot write is lost, and said."""

    def __init__(self, records: Any, say_lost: Callable[[OSError], None]) -> None:
        self._records = records
        self._say_lost = say_lost

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._records, name)

        def forgiving(*arguments: Any) -> Any:
            try:
                return method(*arguments)
            except OSError as error:
                self._say_lost(error)

        return forgiving


def read_curves(folder: Path) -> tuple[dict[str, list[CurvePoint]], float]:
    """All series that metrics.jsonl holds, and the time of its last line; for `Monitor.restore`.

    A line that was torn by a kill is left out.
    """
    curves: dict[str, list[CurvePoint]] = {}
    until = -math.inf
    try:
        text = (folder / FILE).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return {}, until
    for line in text.split("\n"):
        try:
            fields = json.loads(line)
            time, x = float(fields["time"]), float(fields["x"])
            for name, (mean, spread, count) in fields["series"].items():
                point = CurvePoint(time, x, float(mean), float(spread), int(count))
                curves.setdefault(name, []).append(point)
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        until = max(until, time)
    return curves, until


def _condensed(values: list[NewValue]) -> CurvePoint:
    """Many values as one point."""
    count = len(values)
    mean = sum(new.value for new in values) / count
    squares = sum((new.value - mean) * (new.value - mean) for new in values)
    last = values[-1]
    return CurvePoint(last.time, last.x, mean, math.sqrt(squares / count), count)
