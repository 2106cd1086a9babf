"""The run that the nemesis torments, seen from outside: its processes, its start and resumption, its files."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from flow.graph.load import load_graph
from flow.launch import launch
from flow.run_directory import RunDirectory
from flow.stats import read_page
from flow.supervisor import Options
from tests.runs.running import MARK, marked
from tools.chaos.nodes import ACKNOWLEDGED

ROOT = Path(__file__).parents[2]
STALL_S = 2.0
# So many that it is never a restart too many that ends a run: here that would hide what else is wrong.
OPTIONS = Options(checkpoint_s=1.0, drain_s=5.0, stop_s=3.0, stall_s=STALL_S, restarts=1000, restart_period_s=1.0)
GRAPH = """
title = "chaos"
[nodes.actor]
run = "tools.chaos.nodes:actor"
replicas = 2
[nodes.policy]
run = "tools.chaos.nodes:policy"
[nodes.replay]
run = "tools.chaos.nodes:replay"
[nodes.learner]
run = "tools.chaos.nodes:learner"
[edges]
"actor.policy" = "policy.requests"
"actor.unrolls" = [
    { to = "learner.online", mode = "copy", credit = 2 },
    { to = "replay.inserts", mode = "copy", credit = 4 },
]
"replay.samples" = { to = "learner.replayed", credit = 1 }
"learner.weights" = "policy.weights"
[workers]
main = ["actor", "replay"]
model = ["policy", "learner"]
"""
# Until it can be drained, a run that is interrupted is just over: half an import would say anything.
RUNNER = """
import os, signal, sys
signal.signal(signal.SIGINT, lambda *_: os._exit(130))
from flow.errors import FlowError
from tools.chaos.world import run
try:
    run()
except FlowError as error:
    sys.exit(str(error))
"""


def run() -> None:
    """What the supervisor's process does: run the graph in a directory, or go on there."""
    graph = load_graph(sys.argv[1])
    runs = Path(sys.argv[2])
    found = [path.parent for path in runs.glob("*/run.json")]
    directory = RunDirectory.open(found[0]) if found else RunDirectory.create(runs, "chaos")
    sys.exit(launch(graph, directory, seed=0, resumed=bool(found), options=OPTIONS))


@dataclass
class World:
    """One run below `disk`, a small file system of its own; `place` is where its witnesses lie."""

    place: Path
    disk: Path
    mark: str
    process: subprocess.Popen[bytes] | None = None
    outputs: list[Path] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.graph = self.place / "chaos.toml"
        self.graph.write_text(GRAPH)
        self.acknowledged = self.place / "acknowledged"
        self.environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "FLOW_STATE_HOME": str(self.place / "state"),
            MARK: self.mark,
            ACKNOWLEDGED: str(self.acknowledged),
        }

    def start(self) -> None:
        """Start the run, or resume it."""
        self.outputs.append(self.place / f"output.{len(self.outputs)}")
        with self.outputs[-1].open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-c", RUNNER, str(self.graph), str(self.disk)],
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def supervisor(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def alive(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def run(self) -> RunDirectory | None:
        """Its directory, once there is one."""
        found = list(self.disk.glob("*/run.json"))
        return RunDirectory(found[0].parent) if found else None

    def processes(self) -> dict[int, str]:
        """All that is alive of it, and what that is: supervisor, fork server or a worker's name."""
        kinds = {}
        for pid, command in marked(self.mark).items():
            name = "supervisor" if pid == self.supervisor else "other"
            if "flow.forkserver" in command:
                name = self._worker(pid) or "fork server"
            kinds[pid] = name
        return kinds

    def _worker(self, pid: int) -> str:
        """A worker's output goes to logs/NAME.out; a fork server's does not."""
        with contextlib.suppress(OSError):
            match = re.search(r"/logs/(\w+)\.out$", os.readlink(f"/proc/{pid}/fd/1"))
            return match[1] if match else ""
        return ""

    def workers(self) -> dict[int, str]:
        return {pid: name for pid, name in self.processes().items() if name in ("main", "model")}

    def counter(self, name: str) -> int:
        """Its total over all pages."""
        if self.run is None:
            return 0
        pages = (read_page(path) for path in self.run.state.glob("*.page"))
        return sum(page.counters.get(name, 0) for page in pages if page is not None)

    def memory(self) -> int:
        """Bytes of all its processes, what they share counted each time."""
        total = 0
        for pid in marked(self.mark):
            with contextlib.suppress(OSError):
                total += int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return total

    def flows(self, seconds: float, least: int = 200) -> float | None:
        """Wait until frames, stored and learned grow; seconds it took, None if they did not in time."""
        began = time.monotonic()
        before = {name: self.counter(name) for name in ("frames", "stored", "updates")}
        while time.monotonic() - began < seconds:
            now = {name: self.counter(name) for name in before}
            if all(now[name] >= before[name] + (least if name != "updates" else least // 10) for name in before):
                return time.monotonic() - began
            if not self.alive:
                return None
            time.sleep(0.1)
        return None

    def gone(self, seconds: float = 2.0) -> dict[int, str]:
        """Who is still alive after so long."""
        until = time.monotonic() + seconds
        while (left := marked(self.mark)) and time.monotonic() < until:
            time.sleep(0.02)
        return left

    def end_all(self) -> None:
        """Kill what is left of it, so that nothing outlives the tool."""
        for pid in marked(self.mark):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
