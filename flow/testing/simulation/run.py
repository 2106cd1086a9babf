"""One simulated run of a graph: all of it in one thread, in virtual time, under one seed.

real                                             simulated
supervisor.py, its decisions and checkpoints     the processes of workers, and what they say to each other
worker.py, host.py, assembly.py, saved.py        the clock; which task goes first
links, mailboxes, ports, credit, wire format     sockets, below the carrier's own waiting for them
carrier/memory.py, carrier/zeromq.py, peer.py    threads: blocking work is done in the loop
storage, on a disk that may fail; pages
"""

from __future__ import annotations

import errno
import os
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

import trio

from flow import disk, ledger
from flow.checkpoints import Checkpoint
from flow.graph.model import Graph, place
from flow.links import CallLink, NewestLink, StreamLink
from flow.logs import EventLog, Level
from flow.message import Message
from flow.monitor import Monitor
from flow.plan import STREAM, Plan, make_plan
from flow.progress import Progress
from flow.run_directory import RunDirectory
from flow.saved import Packed
from flow.supervisor import Options, Outcome, Supervisor
from flow.testing import scheduler
from flow.testing.simulation.faults import Fault, Faults, InjectedFault
from flow.testing.simulation.isolation import Temporary, hash_of, left_open, open_files, seed_globals
from flow.testing.simulation.journal import Journal, Life, Violation
from flow.testing.simulation.network import Network
from flow.testing.simulation.processes import SimulatedProcesses
from flow.testing.simulation.result import Result
from flow.testing.simulation.worker import JournalLog, SimulatedWorker

# What a run is drawn from, so that one finds what depends on long ways and another what depends on short ones.
_LATENCIES_S = (0.0001, 0.001, 0.02)
_CHECKPOINTS_S = (0.1, 0.5, 3.0)
_COMPUTING_S = (0.001, 0.005, 0.02)
SETTLE_S = 30.0
_SETTLING_S = 0.05
# Longer than any fault, restart or held-back credit: who has done nothing for so long never will.
PATIENCE_S = 60.0
_LOOK_S = 5.0
_RESTARTS = 60
# Causes for which a violation stands in the journal already.
_SAID = ("stands still", "a worker failed")


Check = Callable[["Simulation"], str]
"""Looks at a run that is over: what is wrong with it, "" for nothing."""


@dataclass(frozen=True)
class Case:
    """What a run is of. seconds: virtual time after which a graph without an end is drained."""

    graph: Graph
    check: Check | None = None
    seconds: float = 600.0


class SimulatedDirectory(RunDirectory):
    """A run's directory that nobody registers, with a name for sockets that no file has."""

    @property
    def sockets(self) -> Path:
        return self.path / "sockets"


class _Clock(Monitor):
    """A monitor whose time is the run's."""

    def poll(self, now: float | None = None, *, last: bool = False) -> Progress:
        return super().poll(trio.current_time() if now is None else now, last=last)


@dataclass
class Simulation:
    """One run while it goes on."""

    case: Case
    seed: int
    faults: Sequence[Fault]
    directory: RunDirectory
    keep_events: bool = False
    resume_from: Checkpoint | None = None
    resumed: bool = False
    workers: dict[str, SimulatedWorker] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        graph = self.case.graph
        self.plan: Plan = make_plan(dict(graph.nodes), graph.edges, place(graph), seed=self.seed)
        self.coming = Faults(self.faults)
        self.random = Random(f"{self.seed}")
        self.journal = Journal(
            self.plan, self.coming, keep_events=self.keep_events, keep_messages=self.case.check is not None
        )
        self.checkpoint_s = self.random.choice(_CHECKPOINTS_S)
        self._computing_s = self.random.choice(_COMPUTING_S)
        self.network = Network(self.random, self.journal, self.random.choice(_LATENCIES_S))
        self.processes = SimulatedProcesses(self)

    async def run(self) -> Outcome:
        """Run to the end, whatever it is."""
        for folder in ("state", "logs", "checkpoints", "nodes"):
            (self.directory.path / folder).mkdir(exist_ok=True)
        graph = self.case.graph
        monitor = _Clock(self.directory, list(graph.report.show) or None, None, graph.until, started=0.0)
        options = Options(checkpoint_s=self.checkpoint_s, restarts=_RESTARTS)
        self.supervisor = SimulatedSupervisor(
            self.plan,
            self.directory,
            monitor,
            graph.until,
            {},
            lambda progress: None,
            options,
            self.resume_from,
            makes_processes=self.processes,
            resumed=self.resumed,
            simulation=self,
        )
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self.network.run)
            nursery.start_soon(self._patience)
            outcome = await self.supervisor.run()
            self.journal.note("over", outcome.how)
            self.journal.closed = True
            nursery.cancel_scope.cancel()
        monitor.close()
        return outcome

    async def _patience(self) -> None:
        """A run must go on: who waits for ever is found, and a graph without an end is ended."""
        seen, since = -1, 0.0
        while True:
            await trio.sleep(_LOOK_S)
            now = trio.current_time()
            if self.journal.progress != seen:
                seen, since = self.journal.progress, now
            if now - max(since, self.coming.last_at) > PATIENCE_S and not self.supervisor.finishing.is_set():
                self.journal.violation("stands still", f"nothing moved for {now - since:g} s: {self.who_waits()}")
                self.supervisor.finish("failed", "stands still")
            elif now > self.case.seconds and not self.supervisor.finishing.is_set():
                if self.case.graph.until:
                    goals = ", ".join(f"{name} = {goal:g}" for name, goal in self.case.graph.until.items())
                    self.journal.violation("never ends", f"[until] {goals} was not reached in {now:g} s")
                self.supervisor.interrupted.set()

    def who_waits(self) -> str:
        """Nodes that have not ended, and what lies on their links."""
        left = sorted(self.supervisor.incarnations.keys() - self.supervisor.ended)
        lying = [
            f"{record.plan.edge} has {len(record.pending)} under way, {record.waiting.total()} of them in the mailbox"
            for record in self.journal.records.values()
            if record.pending
        ]
        return "; ".join([f"{', '.join(left)} did not end", *lying])

    def taken(self, node: str, port: str) -> list[Message]:
        """All messages that a stream's replicas took at a port, in their order; for a graph's own check."""
        ends = {(node, port)}
        return [message for (name, _, where), message in self.journal.kept if (name, where) in ends]

    # What happens, and what goes wrong by it

    def step(self, life: Life, key: str) -> None:
        """A node is before or after a port or a computation.

        Raises:
          InjectedFault: the node dies here.
        """
        if life.over or self.journal.closed:
            return
        self.worker_event(life.worker)
        for fault in self.coming.come("steps", key):
            if fault.kind == "raise":
                self.journal.happens(fault)
                raise InjectedFault(str(fault))
            self.hanging[key] = fault

    @property
    def hanging(self) -> dict[str, Fault]:
        """Faults of nodes that hang at their next step."""
        if not hasattr(self, "_hanging"):
            self._hanging: dict[str, Fault] = {}
        return self._hanging

    def hang(self, life: Life, key: str) -> float:
        """How long a node hangs before it goes on."""
        fault = self.hanging.pop(key, None)
        if fault is None or life.over or self.journal.closed:
            return 0.0
        self.journal.happens(fault)
        return fault.seconds

    def computing(self) -> float:
        """How long a computation takes, in virtual seconds."""
        return self.random.expovariate(1.0) * self._computing_s

    def worker_event(self, worker: str) -> None:
        """Something happened in a worker; it may be its last."""
        if self.journal.closed:
            return
        for fault in self.coming.come("events", worker):
            process = self.processes.find(worker)
            if process is not None and not process.life.over and not self.supervisor.stopping:
                self.journal.happens(fault)
                process.kill()
        for fault in self.coming.come("total"):
            self.journal.happens(fault)
            self.supervisor.interrupted.set()

    def written(self, what: str, path: Path) -> None:
        """Something is about to be written.

        Raises:
          OSError: the disk fails.
        """
        if self.journal.closed:
            return
        for fault in self.coming.come("writes"):
            self.journal.happens(fault)
            number = errno.ENOSPC if fault.kind == "full" else errno.EIO
            raise OSError(number, os.strerror(number), str(path))

    def state(self, life: Life, key: str, packed: Packed) -> None:
        """A node's state is taken."""
        if not life.over:
            self.journal.note("state", key, hash_of(packed.tensors), hash_of(packed.rest))

    def said(self, worker: str, level: Level, node: str, text: str) -> None:
        """An event of the run's log."""
        self.journal.note(level, node or worker, text=text.rstrip().rpartition("\n")[2])
        if level == "error" and node:
            self.node_failed(node, text)
        elif level == "warning" and ("dropped a message" in text or "lost" in text):
            self.journal.violation("malformed", f"worker {worker}: {text}")

    def node_failed(self, node: str, trace: str) -> None:
        """A node raised. That is what an injected fault does, and nothing else should."""
        self.failures.append(node)
        if not self.coming.injected:
            self.journal.violation("node failed", f"{node} failed with nothing injected:\n{trace}")

    # At the end

    def check_settled(self) -> None:
        """All nodes have ended and nothing is on its way any more: every account must be even."""
        journal, supervisor = self.journal, self.supervisor
        left = sorted(supervisor.incarnations.keys() - supervisor.ended)
        if left:
            journal.violation("does not drain", f"sources were ended, but {self.who_waits()}")
            return
        for record in journal.records.values():
            if record.plan.kind != STREAM:
                continue
            for passage in list(record.pending.values()):
                journal.lost(record, passage, "all nodes have ended")
        for worker in self.workers.values():
            if not worker.life.over:
                self._check_links(worker)
        self._check_ledger()

    def _check_links(self, worker: SimulatedWorker) -> None:
        """Credit has come back, no question is open, the newest value is not kept back."""
        gone = {name for name in self.journal.kills if self.workers[name].life.over}
        for links in worker.assembly.sending.values():
            for _, link in links:
                plan: Any = self.journal.records[link.number].plan
                if self.plan.worker_of(*plan.receiver[:2]) in gone:
                    continue  # died while the run ended, and was not started again
                if isinstance(link, StreamLink) and (open_ := link.window.messages_under_way):
                    self.journal.violation("credit leaked", f"{plan.edge}: credit of {open_} messages never came back")
                if isinstance(link, CallLink) and link.pending:
                    self.journal.violation("never answered", f"{plan.edge}: {len(link.pending)} questions are open")
                if isinstance(link, NewestLink) and link.next is not None:
                    self.journal.violation("kept back", f"{plan.edge}: the newest value was never sent")

    def _check_ledger(self) -> None:
        """The pages say what the journal says."""
        counts = ledger.edge_counts(self.directory.state)
        for problem in ledger.problems(counts):
            self.journal.violation("ledger", problem)
        for edge in {record.plan.edge for record in self.journal.records.values() if record.plan.kind == STREAM}:
            records = [record for record in self.journal.records.values() if record.plan.edge == edge]
            seen = tuple(sum(getattr(record, what) for record in records) for what in ("sent", "taken", "dropped"))
            count = counts.get(edge, ledger.EdgeCount())
            if (count.sent, count.received, count.dropped) != seen:
                self.journal.violation(
                    "ledger",
                    f"{edge}: {seen[0]} sent, {seen[1]} received, {seen[2]} dropped, but the pages say "
                    f"{count.sent}, {count.received}, {count.dropped}",
                )


@dataclass(kw_only=True)
class SimulatedSupervisor(Supervisor):
    """The supervisor, which logs to the journal and lets a run settle when it is over."""

    simulation: Simulation

    def __post_init__(self) -> None:
        super().__post_init__()
        self.log.close()
        self.log: EventLog = JournalLog(self.simulation, Life("supervisor", 0))

    async def _drain(self) -> None:
        await super()._drain()
        quiet = 0
        with trio.move_on_after(SETTLE_S):
            # Twice, since credit that is held back for a moment is nowhere to be seen in between.
            while quiet < 2:
                await trio.sleep(_SETTLING_S)
                quiet = 0 if self._moves() else quiet + 1
        self.simulation.check_settled()

    def _moves(self) -> bool:
        """Whether anything is on its way, or a worker that died last is not there again."""
        there = all(name in self.processes and self.processes[name].started for name in self.epochs)
        return self.simulation.network.busy or not there


def simulate_once(
    case: Case, seed: int, faults: Sequence[Fault] = (), *, attempt: int = 0, keep_events: bool = False
) -> Result:
    """One run of a seed. attempt: seeds what no node should draw from, the generators of a whole process."""
    open_before, threads_before = open_files(), threading.active_count()
    with Temporary() as path:
        seed_globals(f"{seed}/{attempt}")
        result = simulated(Simulation(case, seed, faults, SimulatedDirectory(path), keep_events))
    left = left_open(open_before, threads_before)
    return replace(result, violations=(*result.violations, *left))


def simulated(simulation: Simulation) -> Result:
    """Run it to its end, and say what came of it."""
    began = time.perf_counter()
    with disk.watched(simulation.written):
        outcome, seconds = scheduler.run(lambda: _timed(simulation), seed=simulation.seed)
    journal = simulation.journal
    return Result(
        simulation.seed,
        tuple(simulation.faults),
        simulation.coming.injected,
        (*journal.violations, *_verdict(simulation, outcome)),
        journal.digest(),
        journal.messages,
        seconds,
        time.perf_counter() - began,
        f"{outcome.how}: {outcome.cause}" if outcome.cause else outcome.how,
        simulation.coming.counts,
        tuple(journal.events or ()),
    )


async def _timed(simulation: Simulation) -> tuple[Outcome, float]:
    outcome = await simulation.run()
    return outcome, trio.current_time()


def _verdict(simulation: Simulation, outcome: Outcome) -> list[Violation]:
    """Whether the run ended as it should, and what the graph's own check says."""
    found: list[Violation] = []
    timeline = simulation.journal.last_events()
    full = simulation.coming.injected["full"] and "space" in outcome.cause
    if outcome.how == "failed" and not full and outcome.cause not in _SAID:
        found.append(Violation("run failed", outcome.cause, timeline))
    if simulation.case.check is not None and outcome.how != "failed":
        wrong = simulation.case.check(simulation)
        if wrong:
            found.append(Violation("check", wrong, timeline))
    return found
