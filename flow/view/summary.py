"""What a run says last: how it ended, what it reached, and where everything lies."""

from __future__ import annotations

from pathlib import Path

from flow.inspect.touched import touched_text, touches
from flow.logs import events_of
from flow.progress import Progress
from flow.run_directory import RunDirectory
from flow.view.numbers import clean, duration, rate, real, whole

HOLDS = (
    ("learning_curve.png", "the learning curve"),
    ("metrics", "TensorBoard files and metrics.jsonl: tensorboard --logdir {path}/metrics"),
    ("checkpoints", "what --resume goes on from"),
    ("replay", "the replay"),
    ("logs", "every event, one line each"),
    ("graph.toml", "the graph as it ran"),
    ("run.json", "seed, versions, command line, outcome"),
)


def summary(progress: Progress, run: RunDirectory, outcome: str, cause: str = "") -> str:
    """The closing lines.

    Args:
      progress: the last one.
      run: the run directory; only what is in it is listed.
      outcome: "done", "stopped" or "failed".
      cause: the first cause of a failure, or what else ended it; it comes last, where people look first.
    """
    lines = [f"{run.name}: {outcome} after {duration(progress.elapsed)}", ""]
    lines += [f"  {line}" for line in _metrics(progress)]
    restarts = [f"{node.name} {node.restarts}" for node in progress.nodes if node.restarts]
    if restarts:
        lines.append(f"  restarts: {', '.join(restarts)}")
    by_hand = touches(run)
    if by_hand:
        lines.append(f"  {touched_text(len(by_hand))} while it ran, last: {by_hand[-1].node} {by_hand[-1].text}")
    lines += ["", f"  {run.path}"]
    for name, what in HOLDS:
        path = run.path / name
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            lines.append(f"    {name:<20}{what.format(path=run.path)}")
    if outcome != "done" and run.checkpoints.is_dir() and any(run.checkpoints.iterdir()):
        lines += ["", f"  go on with: flow run --resume {run.name}"]
    log = _log_of_failure(run) if outcome == "failed" else None
    if log is not None:
        lines += ["", f"  with its traceback: {log}"]
    if cause:
        lines += ["", f"{'first cause' if outcome == 'failed' else 'ended because'}: {cause.strip()}"]
    return "\n".join(lines)


def _log_of_failure(run: RunDirectory) -> Path | None:
    """The log of the process that has the last error to tell."""
    errors = [
        (event.time, path) for path in run.logs.glob("*.jsonl") for event in events_of(path) if event.level == "error"
    ]
    return max(errors)[1].with_suffix(".log") if errors else None


def _metrics(progress: Progress) -> list[str]:
    """Totals with their mean rates, and final means, in columns."""
    rows = []
    for name in progress.shown:
        if name in progress.counters:
            counter = progress.counters[name]
            total, new = counter.total, counter.total - counter.before
            mean = rate(new / progress.elapsed) if progress.elapsed > 0 and new > 0 else ""
            rows.append((name, whole(total), mean))
        elif name in progress.gauges:
            gauge = progress.gauges[name]
            rows.append((name, real(gauge.value), gauge.unit))
        elif name in progress.series:
            series = progress.series[name]
            if series.mean is not None:
                last = f"± {real(series.spread)}, last {min(series.count, 100)} of {whole(series.count)}"
                rows.append((name, real(series.mean), last))
    widths = [max((len(clean(row[at])) for row in rows), default=0) for at in range(2)]
    return [f"{clean(name):<{widths[0]}}  {value:>{widths[1]}}  {clean(more)}".rstrip() for name, value, more in rows]
