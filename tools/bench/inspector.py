"""Measure what looking costs a run, and how soon the inspector shows what is so.

    python -m tools.bench.inspector

One run, a stream of 28 KiB frames between two workers as fast as it goes; in turns of a few seconds nobody looks, `flow
top` looks twice a second, a tap takes ten frames a second, viewers with a tap on all frames are stopped by SIGSTOP or
killed by SIGKILL, a trace is taken. Beside each turn stands the turn without a viewer of the same round. CPU is of both
workers, a frame: on a machine that is busy with other things it says more than frames/s. Gap: the longest time between
two frames at the receiver in a quarter of a second; the 9th of 10 of a turn. Late: the same of how late a message comes
that another node sends each 2 ms; what a viewer adds is held to 5 ms.

After it, each by itself (tools/bench/inspector_parts.py): the terminal's first screen and processor time, nodes that
hang, the price of a port that nobody watches, and planted bottlenecks.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import trio

from flow.inspect.overview import Look
from flow.monitor import Monitor
from flow.plan import NodeOfGraph, make_plan
from flow.progress import Progress
from flow.run_directory import RunDirectory
from flow.stats import PageView
from flow.supervisor import Supervisor
from tools.bench import inspector_parts as parts
from tools.bench.running import cpu_seconds, edge, node
from tools.bench.table import Figures, print_table

NODES = "tools.bench.nodes_for_inspector"
NOBODY = "nobody looks"
WARM_S = 1.5


@dataclass
class Turn:
    """A few seconds of the run with one viewer, or none. words: of the viewer's command, behind the run's path."""

    name: str
    words: tuple[str, ...] = ()
    stopped: bool = False
    killed: bool = False


TURNS = (
    Turn(NOBODY),
    Turn("flow top, twice a second", ("top", "--json", "--every", "0.5")),
    Turn("flow tap, ten frames a second", ("tap", "receiver.frames", "--follow", "--hz", "10", "--json")),
    Turn("a stopped viewer, tapping all frames", ("tap", "receiver.frames", "--follow", "--json"), stopped=True),
    Turn("a viewer killed while it taps all frames", ("tap", "receiver.frames", "--follow", "--json"), killed=True),
    Turn("flow trace", ("trace", "--seconds", "600", "-o", os.devnull)),
)
DELAY_MS_MAX = 5.0


@dataclass
class Turns:
    """Takes turns while the run goes; told the time by the supervisor's progress."""

    run: RunDirectory
    rounds: int
    seconds: float
    figures: Figures = field(default_factory=Figures)
    viewer: subprocess.Popen[bytes] | None = None
    _at: int = -1
    _began: float = 0.0
    _counted: tuple[float, int, int, float] | None = None
    _gaps: list[float] = field(default_factory=list)
    _lates: list[float] = field(default_factory=list)
    _late_alone: float = 0.0

    def tick(self, frames: int, cpu_us: int, gaps: list[float], lates: list[float]) -> bool:
        """Go on; whether all turns were taken. cpu_us: of both workers."""
        now = time.monotonic()
        turn = TURNS[self._at % len(TURNS)]
        if self._at >= 0 and now - self._began < WARM_S:
            return False
        if self._at >= 0 and self._counted is None:
            if self.viewer is not None and (turn.stopped or turn.killed):
                self.viewer.send_signal(signal.SIGSTOP if turn.stopped else signal.SIGKILL)
            self._counted, self._gaps, self._lates = (now, frames, cpu_us, self._viewer_cpu()), [], []
            return False
        self._gaps += gaps
        self._lates += lates
        if self._at >= 0 and now - self._began < WARM_S + self.seconds:
            return False
        if self._counted is not None:
            then, before, cpu_before, viewer_before = self._counted
            self.figures.add(turn.name, "frames/s", (frames - before) / (now - then))
            self.figures.add(turn.name, "CPU-us", (cpu_us - cpu_before) / max(frames - before, 1))
            if min(len(self._gaps), len(self._lates)) >= 2:
                self.figures.add(turn.name, "gap ms", statistics.quantiles(self._gaps, n=10)[-1])
                self._note_late(turn, statistics.quantiles(self._lates, n=10)[-1])
            if self.viewer is not None and not (turn.stopped or turn.killed):
                cores = (self._viewer_cpu() - viewer_before) / (now - then)
                self.figures.add(f"  the viewer of: {turn.name}", "cores", cores)
        self.end_viewer()
        self._at += 1
        self._began, self._counted = now, None
        if self._at >= self.rounds * len(TURNS):
            return True
        self._begin_viewer(TURNS[self._at % len(TURNS)])
        return False

    def _note_late(self, turn: Turn, late: float) -> None:
        self.figures.add(turn.name, "late ms", late)
        if turn.name == NOBODY:
            self._late_alone = late
        else:
            self.figures.add(f"  later than alone, by {turn.name}", "ms", late - self._late_alone)

    def _viewer_cpu(self) -> float:
        return cpu_seconds(self.viewer.pid) if self.viewer is not None else 0.0

    def _begin_viewer(self, turn: Turn) -> None:
        if turn.words:
            command, *words = turn.words
            line = [sys.executable, "-m", "flow", command, str(self.run.path), *words]
            self.viewer = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def end_viewer(self) -> None:
        """End the viewer, as a kill does."""
        if self.viewer is not None:
            self.viewer.kill()
            self.viewer.wait()
            self.viewer = None


def main() -> None:
    """Parse the command line, run, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.inspector", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=4, help="rounds, A B C D A B C D (default 4)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn (default 4)")
    parser.add_argument("--graphs", type=int, default=20, help="with a planted bottleneck (default 20)")
    options = parser.parse_args()
    figures = take_turns(options.rounds, options.seconds)
    for _ in range(options.rounds):
        parts.unwatched(figures)
        parts.screen(figures, options.seconds)
        parts.hang(figures, "loop")
        parts.hang(figures, "thread")
    parts.planted(figures, options.graphs, options.seconds)
    for turn in TURNS[1:]:
        figures.relate(turn.name, "frames/s", NOBODY, target=None if turn.words[0] == "trace" else 0.99)
        figures.relate(turn.name, "CPU-us", NOBODY, target=None if turn.words[0] == "trace" else 1.01, at_least=False)
        figures.hold(f"  the viewer of: {turn.name}", "cores", 0.1, at_least=False)
        figures.relate(turn.name, "gap ms", NOBODY)
        if turn.stopped or turn.killed:
            figures.hold(f"  later than alone, by {turn.name}", "ms", DELAY_MS_MAX, at_least=False)
    figures.hold("a message and port, nobody attached", "ns", 150, at_least=False)
    figures.hold("flow inspect: first true screen", "s", 1.5, at_least=False)
    figures.hold("flow inspect: its processor time", "cores", 0.1, at_least=False)
    for what in ("a hanging loop", "an endless computation"):
        figures.hold(f"{what}, shown with its line after its deadline", "s", 2.0, at_least=False)
    print_table(figures, ("flow-research", "trio", "pyzmq"), [f"load at the end: {os.getloadavg()[0]:.1f}"])


def take_turns(rounds: int, seconds: float) -> Figures:
    """Run the streams, and look at them in turns."""
    names = ("sender", "receiver", "stamper", "reader")
    known: dict[str, NodeOfGraph] = {name: node(name, f"{NODES}:{name}") for name in names}
    edges = (edge("sender.frames", "receiver.frames"), edge("stamper.stamps", "reader.stamps"))
    places = {"main": [("sender", 0), ("stamper", 0)], "other": [("receiver", 0), ("reader", 0)]}
    plan = make_plan(known, edges, places, seed=0)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        directory = RunDirectory.create(Path(folder), "bench")
        turns = Turns(directory, rounds, seconds)
        look = Look(directory)
        seen: dict[str, int] = {}

        def fresh(views: dict[str, PageView], of: str, name: str) -> list[float]:
            series = views[of].series.get(name)
            count = series.count if series is not None else 0
            new, seen[name] = count - seen.get(name, 0), count
            return list(series.values[-new:]) if series is not None and new > 0 else []

        def observe(progress: Progress) -> None:
            views = {view.node: view for view in look.views()}
            if not {"receiver", "reader"} <= views.keys() or "frames" not in views["receiver"].counters:
                return
            cpu_us = sum(views[name].counters.get("_cpu_us", 0) for name in ("sender", "receiver"))
            gaps, lates = fresh(views, "receiver", "gap_ms"), fresh(views, "reader", "late_ms")
            if turns.tick(views["receiver"].counters["frames"], cpu_us, gaps, lates):
                supervisor.finish("done")

        with directory.own():
            supervisor = Supervisor(plan, directory, Monitor(directory), {}, {(): ["flow.worker", NODES]}, observe)
            try:
                trio.run(supervisor.run)
            finally:
                turns.end_viewer()
        look.close()
    return turns.figures


if __name__ == "__main__":
    main()
