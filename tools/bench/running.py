"""Start a run from Python, without a graph file, and say what its workers cost."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from flow.errors import RunError
from flow.monitor import Monitor
from flow.node_type import NodeType, load
from flow.plan import Plan, make_plan
from flow.processes import modules
from flow.progress import Progress
from flow.run_directory import RunDirectory
from flow.supervisor import Options, Outcome, Supervisor

TICKS = os.sysconf("SC_CLK_TCK")
BENCH_NODES = "tools.bench.nodes_for_bench"


@dataclass
class Node:
    """A node of a run."""

    name: str
    type: NodeType[Any]
    settings: dict[str, Any]
    replicas: int = 1


@dataclass
class End:
    """A node's port."""

    node: str
    port: str


@dataclass
class Edge:
    """An edge of a run."""

    sender: End
    receiver: End
    mode: str = "share"
    credit: int = 4
    credit_bytes: int = 1 << 26
    feedback: bool = False
    compress: str = ""


def node(name: str, run: str, **settings: Any) -> Node:
    """A node by its name in the graph and where its function is."""
    return Node(name, load(run if ":" in run else f"{BENCH_NODES}:{run}"), settings)


def edge(sender: str, receiver: str, **rest: Any) -> Edge:
    """An edge by "node.port" of both ends."""
    return Edge(End(*sender.split(".")), End(*receiver.split(".")), **rest)


@dataclass
class Sample:
    """What a run had done by a moment. cpu: seconds of each worker so far."""

    at: float
    counters: dict[str, float]
    cpu: dict[str, float]


@dataclass
class Ran:
    """A run that is over."""

    outcome: Outcome
    samples: list[Sample]
    started: float
    memory: dict[str, dict[str, float]] = field(default_factory=dict)

    def between(self, counter: str, after: float) -> tuple[float, float, float]:
        """What the counter grew by, in how many seconds, for how much CPU, from `after` s after it first moved."""
        moved = [sample for sample in self.samples if sample.counters.get(counter, 0) > 0]
        steady = [sample for sample in moved if sample.at >= moved[0].at + after]
        # While the run ends its workers go, and their CPU time with them.
        steady = [sample for sample in steady if sample.cpu.keys() == steady[0].cpu.keys() and all(sample.cpu.values())]
        if len(steady) < 2:
            raise RunError(f"{counter} did not grow for {after:g} s; give the bench more seconds")
        first, last = steady[0], steady[-1]
        cpu = sum(last.cpu.values()) - sum(first.cpu.values())
        return last.counters[counter] - first.counters[counter], last.at - first.at, cpu

    def first_moved(self, counter: str) -> float:
        """Seconds from the start to the first sample in which the counter is above 0."""
        return next(sample.at for sample in self.samples if sample.counters.get(counter, 0) > 0) - self.started


def _plan(nodes: Sequence[Node], edges: Sequence[Edge], places: dict[str, list[str]], tcp: bool) -> Plan:
    hosted = {worker: [(name, 0) for name in names] for worker, names in places.items()}
    away = {"hosts": {w: w for w in places}, "listen": dict.fromkeys(places, "tcp://127.0.0.1:*")} if tcp else {}
    return make_plan({n.name: n for n in nodes}, tuple(edges), hosted, seed=0, **away)


def go(
    nodes: Sequence[Node],
    edges: Sequence[Edge],
    places: dict[str, list[str]],
    until: dict[str, float] | None = None,
    *,
    steady: tuple[str, float] | None = None,
    memory: bool = False,
    tcp: bool = False,
    beside: Callable[[Supervisor], Awaitable[None]] | None = None,
) -> Ran:
    """Run to the end, in a run directory that is thrown away.

    Args:
      places: for each worker its nodes.
      until: counters or times at which to stop; none for a graph that ends by itself.
      steady: a counter, and how many seconds after it first moved to stop.
      memory: also look at what the workers hold.
      tcp: whether workers speak as those of two hosts do.
      beside: runs in the supervisor's loop.

    Raises:
      RunError: the run failed.
    """
    plan = _plan(nodes, edges, places, tcp)
    samples: list[Sample] = []
    held: dict[str, dict[str, float]] = {}

    def observe(progress: Progress) -> None:
        counters = {name: float(value.total) for name, value in progress.counters.items()}
        pids = {name: process.pid for name, process in supervisor.processes.items()}
        samples.append(Sample(time.perf_counter(), counters, {name: cpu_seconds(pid) for name, pid in pids.items()}))
        if steady is not None:
            moved = [sample.at for sample in samples if sample.counters.get(steady[0], 0) > 0]
            if moved and samples[-1].at - moved[0] > steady[1]:
                supervisor.finish("done")
        if memory:
            held.update({name: found for name, pid in pids.items() if (found := memory_mb(pid))})

    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        directory = RunDirectory.create(Path(folder), "bench")
        supervisor = Supervisor(
            plan, directory, Monitor(directory), until or {}, modules(plan.workers), observe, Options()
        )
        supervisor.beside, started = beside, time.perf_counter()
        outcome = trio.run(supervisor.run)
        if outcome.how != "done":
            logs = "\n".join(path.read_text()[-2000:] for path in sorted(directory.logs.glob("*.log")))
            raise RunError(f"the bench's run {outcome.how}: {outcome.cause}\n{logs}")
    return Ran(outcome, samples, started, held)


def cpu_seconds(pid: int) -> float:
    """CPU time of a process and its threads; 0 when it is gone."""
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return 0.0
    return (int(words[11]) + int(words[12])) / TICKS


def memory_mb(pid: int) -> dict[str, float]:
    """Rss and Pss of a process in MB; empty when it is gone."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return {}
    found = {line.split()[0][:-1]: int(line.split()[1]) / 1000 for line in lines if line.startswith(("Rss", "Pss:"))}
    return {name: found[name] for name in ("Rss", "Pss") if name in found}


@contextmanager
def reports() -> Iterator[Path]:
    """A directory where the bench's nodes leave what they measured."""
    with tempfile.TemporaryDirectory(prefix="bench-reports-") as folder:
        yield Path(folder)


def report(path: Path) -> dict[str, Any]:
    """What one of them left."""
    found: dict[str, Any] = json.loads(path.read_text())
    return found
