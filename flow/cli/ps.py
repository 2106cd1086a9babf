"""`flow ps`: the runs of this machine, live and ended."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass

from flow.errors import RunError
from flow.inspect.touched import touched_text, touches
from flow.run_directory import RunDirectory, find_runs
from flow.stats import read_page
from flow.view.numbers import about, clean, short

EXAMPLE = """example:
  flow ps
  flow ps --live --json
"""
COLOURS = {"running": "green", "failed": "red", "died": "red", "stopped": "yellow"}
SHOWN = 20


@dataclass(frozen=True)
class Row:
    """One run, as `--json` prints it."""

    name: str
    state: str
    """running, done, stopped, failed, or died when nobody wrote how it ended."""
    pid: int | None
    title: str
    age_s: float
    """Since it was last started."""
    progress: dict[str, float]
    """Counters that say when the run is done, as far as they have come."""
    until: dict[str, float]
    cause: str
    path: str
    touched: int
    """How often somebody changed it while it ran."""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "ps",
        help="list the runs on this machine, live and ended",
        description="List the runs on this machine, the one started last first.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--live", action="store_true", help="only runs that are alive")
    parser.add_argument("--all", action="store_true", help=f"also those beyond the newest {SHOWN}")
    parser.add_argument("--json", action="store_true", help="one JSON array, for scripts")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the list."""
    now = time.time()
    runs = find_runs()
    hidden = 0 if arguments.all or arguments.live else max(len(runs) - SHOWN, 0)
    rows = [row for one in runs[: len(runs) - hidden] if (row := describe(one, now)) is not None]
    if arguments.live:
        rows = [row for row in rows if row.state == "running"]
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=1))
        return 0
    if not rows:
        print("no run is alive" if arguments.live else "no run on this machine yet; start one: flow run graphs/…")
        return 0
    _print(rows)
    if hidden:
        print(f"and {hidden} older: flow ps --all")
    return 0


def describe(run_directory: RunDirectory, now: float) -> Row | None:
    """What there is to say of one run; None when its run.json is damaged."""
    try:
        said = run_directory.about()
        started = float(said.get("started") or said.get("created") or now)
        until = {str(name): float(value) for name, value in (said.get("until") or {}).items()}
    except (RunError, ValueError, TypeError, AttributeError):
        return None
    pid = run_directory.owner()
    # A run that was made but never began has no start; nobody can say that it died.
    ended = str(said.get("outcome") or ("died" if "started" in said else "not started"))
    return Row(
        name=run_directory.name,
        state="running" if pid else ended,
        pid=pid,
        title=str(said.get("title", "")),
        age_s=max(now - started, 0.0),
        progress=_progress(run_directory, until),
        until=until,
        cause=str(said.get("cause") or ""),
        path=str(run_directory.path),
        touched=len(touches(run_directory)),
    )


def _progress(run_directory: RunDirectory, until: dict[str, float]) -> dict[str, float]:
    """Totals of the counters that `until` names, read from the pages."""
    totals: dict[str, float] = {}
    for path in run_directory.state.glob("*.page") if until else ():
        try:
            view = read_page(path)
        except RunError:
            continue
        for name in until.keys() & (view.counters.keys() if view else set()):
            totals[name] = totals.get(name, 0.0) + (view.counters[name] if view else 0)
    return totals


def _print(rows: list[Row]) -> None:
    """A table; rich only makes it coloured, so it is loaded only for a terminal."""
    header = ("RUN", "STATE", "TITLE", "STARTED", "PROGRESS")
    cells = [
        (
            row.name,
            f"{row.state} {row.pid}" if row.pid else row.state,
            clean(row.title)[:32],
            f"{about(row.age_s)} ago",
            _came(row),
        )
        for row in rows
    ]
    widths = [max(len(line[at]) for line in [header, *cells]) for at in range(len(header))]
    lines = ["  ".join(f"{cell:<{width}}" for cell, width in zip(line, widths, strict=True)) for line in cells]
    head = "  ".join(f"{cell:<{width}}" for cell, width in zip(header, widths, strict=True))
    if not sys.stdout.isatty():
        print("\n".join(line.rstrip() for line in [head, *lines]))
        return
    from rich.console import Console
    from rich.text import Text

    console = Console()
    console.print(Text(head.rstrip(), "dim"), soft_wrap=True)
    for row, line in zip(rows, lines, strict=True):
        text = Text(line.rstrip())
        text.stylize(COLOURS.get(row.state, "dim"), widths[0] + 2, widths[0] + 2 + widths[1])
        console.print(text, soft_wrap=True)


def _came(row: Row) -> str:
    """`frames 1.26M of 2M (63 %)`, and why it ended."""
    parts = []
    for name, total in row.progress.items():
        goal = row.until[name]
        part = f" ({100 * min(total / goal, 1.0):.0f} %)" if goal > 0 else ""
        parts.append(f"{clean(name)} {short(total)} of {short(goal)}{part}")
    if row.touched:
        parts.append(touched_text(row.touched))
    if row.cause:
        parts.append(clean(row.cause)[:60])
    return ", ".join(parts)
