"""Runs of one graph over seeds, and what each came to at its end."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from flow.run_directory import RunDirectory, find_runs
from tools.claims.report import spread, table, verdict

GRAPHS = Path(__file__).parents[2] / "graphs"


def run_seeds(graph: str, seeds: Sequence[int], *more: str) -> list[RunDirectory]:
    """Run a graph once a seed; each must end well.

    Args:
      graph: its name in graphs/.
      more: further words for `flow run`.
    """
    runs = []
    for seed in seeds:
        words = ["run", str(GRAPHS / f"{graph}.toml"), "--seed", str(seed), *more]
        with subprocess.Popen([sys.executable, "-m", "flow", *words]) as process:
            pass
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, process.args)
        # The newest that is its own: others may run beside it.
        runs.append(next(run for run in find_runs() if run.about()["pid"] == process.pid))
    return runs


def metrics(run: RunDirectory) -> list[dict[str, Any]]:
    """What was written down of a run, one dict each two seconds."""
    return [json.loads(line) for line in (run.metrics / "metrics.jsonl").read_text().splitlines()]


def last_mean(run: RunDirectory, series: str, last: int) -> float:
    """The mean of the last so many values of a series, or of a few more; NaN if there were fewer."""
    window: deque[tuple[float, int]] = deque()
    for line in metrics(run):
        if series in line["series"]:
            mean, _, count = line["series"][series]
            window.append((mean, count))
            while sum(one for _, one in window) - window[0][1] >= last:
                window.popleft()
    total = sum(count for _, count in window)
    return sum(mean * count for mean, count in window) / total if total >= last else math.nan


def last_gauge(run: RunDirectory, gauge: str) -> float:
    """The last value of a gauge; NaN if there was none."""
    values = [line["gauges"][gauge] for line in metrics(run) if gauge in line["gauges"]]
    return float(values[-1]) if values else math.nan


def judged(runs: Sequence[RunDirectory], what: str, values: Sequence[float], least: float, minutes_max: float) -> int:
    """Print what each run came to; 0 if all came to `least` within so many minutes, else 1."""
    minutes = [(run.about()["ended"] - run.about()["started"]) / 60 for run in runs]
    rows = [
        [str(run.about()["seed"]), f"{value:.4g}", f"{time:.1f}"]
        for run, value, time in zip(runs, values, minutes, strict=True)
    ]
    table(["seed", what, "minutes"], rows)
    print(f"{what} over {len(runs)} seeds: {spread(values)}\n")
    return verdict(
        {
            f"{what} is at least {least:g} at every seed": all(value >= least for value in values),
            f"every run ends within {minutes_max:g} minutes": all(time <= minutes_max for time in minutes),
        }
    )
