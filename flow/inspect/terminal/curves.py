"""A run's own metrics as curves, one at a time: all that was written, and what comes."""

from __future__ import annotations

from flow.inspect.curves import follow
from flow.progress import Curve
from flow.run_directory import RunDirectory
from flow.view.chart import chart
from flow.view.numbers import real


class Curves:
    """The curves of one run. Not for several threads at once."""

    def __init__(self, run: RunDirectory) -> None:
        self._monitor, self._names, self._chosen = follow(run)

    def next(self) -> None:
        """Show the next metric."""
        if self._names:
            at = self._names.index(self._chosen) + 1 if self._chosen in self._names else 0
            self._chosen = self._names[at % len(self._names)]

    def lines(self, width: int, height: int) -> list[str]:
        """The chosen metric, its name and last mean above it."""
        progress = self._monitor.poll()
        self._names += [name for name in progress.series if name not in self._names]
        if self._chosen not in self._names and self._names:
            self._chosen = self._names[0]
        if self._chosen is None:
            return ["no metric yet"]
        points = self._monitor.points(self._chosen)
        if not points:
            return [self._chosen, "no value yet"]
        at = self._names.index(self._chosen) + 1 if self._chosen in self._names else 1
        title = f"{self._chosen}  {real(points[-1].mean)}   ({at} of {len(self._names)})"
        return [title, *chart(Curve(self._chosen, progress.x_name, points), width, height - 1)]

    def close(self) -> None:
        """Unmap the pages."""
        self._monitor.close()
