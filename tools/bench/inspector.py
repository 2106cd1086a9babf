"""Measure what looking costs a run: an overview, taps, and a viewer that is stopped with a tap open.

    python -m tools.bench.inspector

One run, a stream of 28 KiB frames between two workers as fast as it goes; in turns of a few seconds nobody looks, `flow
top` looks twice a second, a tap takes ten frames a second, and a viewer with a tap on all frames is stopped by SIGSTOP.
Beside each turn stands the turn without a viewer of the same round. CPU is of both workers, a frame: on a machine that
is busy with other things it says more than frames/s. Gap: the longest time between two frames at the receiver in a
quarter of a second; the 9th of 10 of a turn.
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
from flow.supervisor import Supervisor
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


TURNS = (
    Turn(NOBODY),
    Turn("flow top, twice a second", ("top", "--json", "--every", "0.5")),
    Turn("flow tap, ten frames a second", ("tap", "receiver.frames", "--follow", "--hz", "10", "--json")),
    Turn("a stopped viewer, tapping all frames", ("tap", "receiver.frames", "--follow", "--json"), stopped=True),
)


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

    def tick(self, frames: int, cpu_us: int, gaps: list[float]) -> bool:
        """Go on; whether all turns were taken. cpu_us: of both workers."""
        now = time.monotonic()
        turn = TURNS[self._at % len(TURNS)]
        if self._at >= 0 and now - self._began < WARM_S:
            return False
        if self._at >= 0 and self._counted is None:
            if self.viewer is not None and turn.stopped:
                self.viewer.send_signal(signal.SIGSTOP)
            self._counted, self._gaps = (now, frames, cpu_us, self._viewer_cpu()), []
            return False
        self._gaps += gaps
        if self._at >= 0 and now - self._began < WARM_S + self.seconds:
            return False
        if self._counted is not None:
            then, before, cpu_before, viewer_before = self._counted
            self.figures.add(turn.name, "frames/s", (frames - before) / (now - then))
            self.figures.add(turn.name, "CPU-us", (cpu_us - cpu_before) / max(frames - before, 1))
            if len(self._gaps) >= 2:
                self.figures.add(turn.name, "gap ms", statistics.quantiles(self._gaps, n=10)[-1])
            if self.viewer is not None and not turn.stopped:
                cores = (self._viewer_cpu() - viewer_before) / (now - then)
                self.figures.add(f"  the viewer of: {turn.name}", "cores", cores)
        self.end_viewer()
        self._at += 1
        self._began, self._counted = now, None
        if self._at >= self.rounds * len(TURNS):
            return True
        self._begin_viewer(TURNS[self._at % len(TURNS)])
        return False

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
    options = parser.parse_args()
    nodes = {one.name: one for one in (node("sender", f"{NODES}:sender"), node("receiver", f"{NODES}:receiver"))}
    known: dict[str, NodeOfGraph] = {**nodes}
    places = {"main": [("sender", 0)], "other": [("receiver", 0)]}
    plan = make_plan(known, (edge("sender.frames", "receiver.frames"),), places, seed=0)
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        directory = RunDirectory.create(Path(folder), "bench")
        turns = Turns(directory, options.rounds, options.seconds)
        look = Look(directory)
        seen = 0

        def observe(progress: Progress) -> None:
            nonlocal seen
            views = {view.node: view for view in look.views()}
            view = views.get("receiver")
            if view is None or "frames" not in view.counters:
                return
            gaps = view.series.get("gap_ms")
            fresh = list(gaps.values[-(gaps.count - seen) :]) if gaps is not None and gaps.count > seen else []
            seen = gaps.count if gaps is not None else 0
            cpu_us = sum(each.counters.get("_cpu_us", 0) for each in views.values())
            if turns.tick(view.counters["frames"], cpu_us, fresh):
                supervisor.finish("done")

        with directory.own():
            supervisor = Supervisor(plan, directory, Monitor(directory), {}, {(): ["flow.worker", NODES]}, observe)
            try:
                trio.run(supervisor.run)
            finally:
                turns.end_viewer()
        look.close()
    for turn in TURNS[1:]:
        turns.figures.relate(turn.name, "frames/s", NOBODY, target=0.99)
        turns.figures.relate(turn.name, "CPU-us", NOBODY, target=1.01, at_least=False)
        turns.figures.hold(f"  the viewer of: {turn.name}", "cores", 0.1, at_least=False)
        turns.figures.relate(turn.name, "gap ms", NOBODY)
    print_table(turns.figures, ("flow-research", "trio", "pyzmq"), [f"load at the end: {os.getloadavg()[0]:.1f}"])


if __name__ == "__main__":
    main()
