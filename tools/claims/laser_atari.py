"""LASER learns Atari on this machine: learning curves over seeds, and when they pass what was promised.

    python -m tools.claims.laser_atari                      runs Pong with seeds 1, 2, 3: some 40 minutes on two cores
    python -m tools.claims.laser_atari --game breakout --reach 20
    python -m tools.claims.laser_atari --runs RUN RUN RUN -o docs/pong.png     reads runs that were made before

Fails unless in every run the mean of 100 episodes is above the random policy's by three standard errors within
`--leave-minutes`, and reaches `--reach` within `--minutes`.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from flow.progress import CurvePoint
from flow.run_directory import RunDirectory, find_run
from flow.view.tensorboard import read_curves
from nodes.algo.atari_scores import SCORES
from tools.claims.picture import picture
from tools.claims.seeds import run_seeds

LAST = 100
SERIES = "episode_return"


@dataclass
class Reached:
    """When a run came where, and how it ended. minutes are None where it never did."""

    name: str
    left_random: tuple[float, float] | None
    reached: tuple[float, float] | None
    final: float
    frames: float
    minutes: float


def main() -> int:
    """Run or read the runs, print the table, draw the curves."""
    parser = argparse.ArgumentParser(prog="python -m tools.claims.laser_atari", description=__doc__.split("\n")[0])
    parser.add_argument("--game", default="pong")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--frames", type=int, default=3_000_000, help="of each run [%(default)d]")
    parser.add_argument("--reach", type=float, default=18.0, help="mean return of 100 episodes [%(default)g]")
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--leave-minutes", type=float, default=10.0)
    parser.add_argument("--runs", nargs="+", help="runs that were made before, instead of new ones")
    parser.add_argument("-o", "--output", type=Path, help="write the curves to this PNG")
    options = parser.parse_args()
    variant = ["--set", f"game={options.game}", "--set", f"frames={options.frames}"]
    directories = (
        [find_run(name) for name in options.runs] if options.runs else run_seeds("laser_atari", options.seeds, *variant)
    )
    random = SCORES[options.game].random
    rows = [reached(directory, random, options.reach) for directory in directories]
    print_table(rows, options.game, random, options.reach)
    if options.output is not None:
        draw(directories, options.output, options.game)
    good = [
        row.left_random is not None
        and row.left_random[0] <= options.leave_minutes
        and row.reached is not None
        and row.reached[0] <= options.minutes
        for row in rows
    ]
    print(f"{sum(good)} of {len(good)} runs hold")
    return 0 if all(good) else 1


def points(directory: RunDirectory) -> list[CurvePoint]:
    """The run's returns, a point each two seconds in which episodes ended."""
    return read_curves(directory.metrics)[0].get(SERIES, [])


def reached(directory: RunDirectory, random: float, level: float) -> Reached:
    """When the mean of the last 100 episodes left the random policy, and when it came to `level`."""
    began = directory.about()["started"]
    window: deque[CurvePoint] = deque()
    left: tuple[float, float] | None = None
    there: tuple[float, float] | None = None
    mean, point = math.nan, None
    for point in points(directory):
        window.append(point)
        while sum(one.count for one in window) - window[0].count >= LAST:
            window.popleft()
        count = sum(one.count for one in window)
        mean = sum(one.mean * one.count for one in window) / count
        spread = math.sqrt(sum((one.spread**2 + (one.mean - mean) ** 2) * one.count for one in window) / count)
        when = ((point.time - began) / 60, point.x)
        if count >= LAST and left is None and mean - random > 3 * spread / math.sqrt(count):
            left = when
        if count >= LAST and there is None and mean >= level:
            there = when
    frames, minutes = (point.x, (point.time - began) / 60) if point else (0.0, 0.0)
    return Reached(directory.name, left, there, mean, frames, minutes)


def print_table(rows: list[Reached], game: str, random: float, level: float) -> None:
    """When each run came where, in minutes and million frames."""
    print(f"{game}: mean return of the last {LAST} episodes; random policy {random:g}\n")
    print(f"{'run':<38}{'left random':>18}{f'reached {level:g}':>18}{'at the end':>12}{'of':>18}")
    for row in rows:
        whole = when((row.minutes, row.frames))
        print(f"{row.name:<38}{when(row.left_random):>18}{when(row.reached):>18}{row.final:>12.1f}{whole:>18}")
    finals = [row.final for row in rows]
    middle = sum(finals) / len(finals)
    spread = math.sqrt(sum((final - middle) ** 2 for final in finals) / max(len(finals) - 1, 1))
    print(f"\nat the end {middle:.2f} ± {spread:.2f} over {len(rows)} runs")


def when(moment: tuple[float, float] | None) -> str:
    """Minutes and million frames."""
    return "never" if moment is None else f"{moment[0]:.1f} min {moment[1] / 1e6:.2f} M"


def draw(directories: list[RunDirectory], path: Path, game: str) -> None:
    """One line a run over frames."""
    from flow.view.curve import smoothed

    with picture(path, f"LASER on {game}, two CPU cores", "million frames", "episode return") as axes:
        for number, directory in enumerate(directories):
            shown = points(directory)
            means, spreads = smoothed(shown)
            frames = [point.x / 1e6 for point in shown]
            low = [mean - spread for mean, spread in zip(means, spreads, strict=True)]
            high = [mean + spread for mean, spread in zip(means, spreads, strict=True)]
            minutes = (shown[-1].time - directory.about()["started"]) / 60
            axes.fill_between(frames, low, high, alpha=0.12, linewidth=0, color=f"C{number}")
            label = f"seed {directory.about()['seed']}, {minutes:.0f} minutes"
            axes.plot(frames, means, color=f"C{number}", linewidth=1.8, label=label)


if __name__ == "__main__":
    sys.exit(main())
