"""A run's own metrics from its first start on: what it wrote, and what comes."""

from __future__ import annotations

from flow.errors import RunError
from flow.monitor import Monitor
from flow.run_directory import RunDirectory
from flow.view.tensorboard import read_curves


def follow(run: RunDirectory) -> tuple[Monitor, list[str], str | None]:
    """A monitor that has the curves of earlier starts; their names, and which is the learning curve."""
    try:
        about = run.about()
    except RunError:
        about = {}
    chosen: str | None = about.get("curve")
    until = {str(name): float(value) for name, value in (about.get("until") or {}).items()}
    monitor = Monitor(run, about.get("show") or None, chosen, until, started=about.get("started"))
    curves, written = read_curves(run.metrics)
    monitor.restore(curves, written)
    return monitor, list(curves), chosen
