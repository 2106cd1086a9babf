"""Runs a plan: starts workers, watches them, starts again what dies, checkpoints, drains, stops.

                 ┌── fork server ──► worker ──► nodes
    supervisor ──┤
                 └── fork server ──► worker ──► nodes

It runs no node and imports nothing that nodes need. Decisions that need no clock or process are elsewhere:
`restarts.py` (how often), `checkpoints.py` (what is whole), `plan.py` (who hosts what).

Draining ends the sources; every other node ends by itself when its inputs have. What is sent to a node that has ended
is dropped, and counted.
"""

from __future__ import annotations

import contextlib
import signal
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import trio

from flow import deterministic
from flow.checkpointing import Checkpointing
from flow.checkpoints import Checkpoint
from flow.control import Words
from flow.errors import RunError
from flow.graph.bound import readable
from flow.hosts import addresses
from flow.inspect import again
from flow.ledger import Ledger
from flow.liveness import Hangs, Liveness, hanging_line
from flow.logs import EventLog
from flow.monitor import TIME_LIMITS, Monitor
from flow.plan import Plan
from flow.processes import ForkServers, MakesProcesses, Process, last_line
from flow.progress import Progress
from flow.restarts import Restarts
from flow.run_directory import RunDirectory

POLL_S = 0.25
LEDGER_S = 60.0


@dataclass(frozen=True)
class Options:
    """How a run is looked after. Times in seconds. deterministic: see `flow/deterministic.py`.

    lost_s, await_s: how long another host may be silent, and take to join.
    """

    checkpoint_s: float = 60.0
    drain_s: float = 15.0
    stop_s: float = 3.0
    stall_s: float = 30.0
    restarts: int = 3
    restart_period_s: float = 60.0
    lost_s: float = 10.0
    await_s: float = 300.0
    deterministic: bool = False


@dataclass(frozen=True)
class Outcome:
    """How a run ended: "done", "stopped" or "failed", for what first cause, and how it stood."""

    how: str
    cause: str
    progress: Progress


@dataclass
class Supervisor:
    """One run, from its first worker to its last.

    modules: what each fork server imports, by the packages its workers need. observe: shown the progress a few times
    a second. makes_processes: what its workers run in, if not fork servers' forks. beside: what else runs in its loop.
    resumed: it ran before, and goes on from `resume_from`, or from its beginning.
    """

    plan: Plan
    directory: RunDirectory
    monitor: Monitor
    until: dict[str, float]
    modules: dict[tuple[str, ...], list[str]]
    observe: Callable[[Progress], None]
    options: Options = field(default_factory=Options)
    resume_from: Checkpoint | None = None
    makes_processes: MakesProcesses | None = None
    beside: Callable[[Supervisor], Awaitable[None]] | None = None
    resumed: bool = False

    def __post_init__(self) -> None:
        self.log = EventLog(self.directory.logs, "supervisor")
        self.node_types = {node.name: node.type for worker in self.plan.workers for node in worker.nodes}
        self.processes: dict[str, Process] = {}
        self.epochs = {worker.name: -1 for worker in self.plan.workers}
        self.incarnations = {node.key: -1 for worker in self.plan.workers for node in worker.nodes}
        self.ended: set[str] = set()
        self.absent: set[str] = set()  # workers that could not be started
        restarts = 0 if self.options.deterministic else self.options.restarts
        self.restarts = Restarts(restarts, self.options.restart_period_s)
        environment = deterministic.ENVIRONMENT if self.options.deterministic else {}
        self.servers = self.makes_processes or ForkServers(self.modules, self.restarts, self.log, environment)
        self.checkpoint = self.resume_from
        self.how, self.cause = "", ""
        self.draining = self.stopping = self._was_interrupted = False
        self.interrupted = trio.Event()  # set by the first Ctrl-C
        self.finishing = trio.Event()  # something decided that the run ends
        self.changed = trio.lowlevel.ParkingLot()  # a node ended or a worker went
        self.progress = self.monitor.poll()
        self.liveness = Liveness(self.directory.state)
        self.ledger = Ledger(self.directory.state, late=any(worker.host for worker in self.plan.workers))
        self.checkpointing = Checkpointing(self)
        self.hangs = Hangs(self.options.stall_s)
        self._causes: dict[str, deque[tuple[float, str]]] = defaultdict(deque)

    async def run(self) -> Outcome:
        """Run to the end, whatever it is."""
        async with trio.open_nursery() as nursery:
            self.nursery = nursery
            nursery.start_soon(self._watch)
            nursery.start_soon(self._stop_when_interrupted)
            nursery.start_soon(self.checkpointing.now_and_then, self.options.checkpoint_s)
            if self.beside is not None:
                nursery.start_soon(self.beside, self)
            self.servers.start(nursery)
            for worker in self.plan.workers:
                nursery.start_soon(self._start_worker, worker.name)
            await self.finishing.wait()
            await self._end()
            nursery.cancel_scope.cancel()
        self.progress = self.monitor.poll(last=True)
        self.log.info("", f"run {self.how}" + (f": {self.cause}" if self.cause else ""))
        return Outcome(self.how, self.cause, self.progress)

    def finish(self, how: str, cause: str = "") -> None:
        """Decide that the run ends. The first decision counts: it is the first cause."""
        if not self.finishing.is_set():
            self.how, self.cause = how, cause
            self.finishing.set()

    def kill(self) -> None:
        """End every process of the run now. Safe in a signal handler."""
        self.servers.kill()

    def interrupt(self) -> None:
        """Drain, save and end. Safe in a signal handler at any time, also before the loop runs and after."""
        self._was_interrupted = True
        with contextlib.suppress(RuntimeError):  # there is no loop now
            trio.lowlevel.current_trio_token().run_sync_soon(self.interrupted.set)

    async def _stop_when_interrupted(self) -> None:
        if self._was_interrupted:
            self.interrupted.set()
        await self.interrupted.wait()
        self.log.info("", "interrupted: draining, a second Ctrl-C stops at once")
        self.finish("stopped")

    # Workers

    async def _start_worker(self, worker: str) -> None:
        plan = self.plan.worker(worker)
        self.epochs[worker] += 1
        words = {"run_directory": str(self.directory.path), "plan": self.plan.to_dict(), "shown_s": self.hangs.shown_s}
        words |= {"attempt": self.checkpointing.attempt, "deterministic": self.options.deterministic}
        try:
            process = await self.servers.fork(plan, self.epochs[worker], words)
        except RunError as error:
            self.finish("failed", str(error))
            self.absent.add(worker)
            return self._worker_left(worker)
        process.host = plan.host
        self.processes[worker] = process
        self.log.info(worker, f"started, pid {process.pid}", epoch=process.epoch)
        while (said := await process.line.hear()) is not None:
            await self._heard(process, said)
        with trio.move_on_after(1):
            await process.over.wait()  # the status comes by the fork server's line
        process.line.close()
        if self.processes.get(worker) is process:
            del self.processes[worker]
        self.checkpointing.answered(worker, None)
        self.changed.unpark_all()
        if self.stopping or self.how == "failed":
            self._worker_left(worker)
        else:
            await self._worker_died(worker, process)

    def _worker_left(self, worker: str) -> None:
        """A worker that died is not started again; while the run ends it is said."""
        unfinished = [node.key for node in self.plan.worker(worker).nodes if node.key not in self.ended]
        if unfinished and not self.stopping and worker not in self.absent:
            self.log.warning(worker, f"died while the run ended, with {', '.join(unfinished)} unfinished")
        self.ended.update(unfinished)
        self.changed.unpark_all()

    async def _worker_died(self, worker: str, process: Process) -> None:
        cause = f"worker {worker} {process.how_it_ended()}"
        last = last_line(self.directory.logs / f"{worker}.out")
        if last and process.status is not None and process.status > 0:
            cause += f": {last}"
        delay = self.restarts.delay(worker, trio.current_time())
        if delay is None:
            self.finish("failed", self._first_cause(worker, cause))
            self._worker_left(worker)
            return
        self._remember(worker, cause)
        nodes = [node.key for node in self.plan.worker(worker).nodes if node.key not in self.ended]
        self.log.warning(worker, f"{cause}; starting it again in {delay:.1f} s with {', '.join(nodes)}")
        await trio.sleep(delay)
        await self._start_worker(worker)

    def _remember(self, name: str, cause: str) -> None:
        self._causes[name].append((trio.current_time(), cause))
        again.tell(self.log, self.directory, self.plan, name)

    def _first_cause(self, name: str, cause: str) -> str:
        """What is restarted too often is reported by the first of its deaths, and how often it died."""
        recent = trio.current_time() - self.options.restart_period_s
        first = next((why for when, why in self._causes[name] if when > recent), cause)
        if self.options.deterministic:
            return f"{cause}; a deterministic run starts nothing again alone: flow run --resume goes on with all of it"
        times = self.options.restarts + 1
        return f"{name} died {times} times within {self.options.restart_period_s:g} s, at first of this: {first}"

    async def _heard(self, process: Process, words: Words) -> None:
        match words["say"]:
            case "ready":
                process.inbox, process.address = words["inbox"], words["address"]
                for to, told in addresses.introductions(process, list(self.processes.values())):
                    await self.tell(to, **told)
                for node in self.plan.worker(process.worker).nodes:
                    if node.key in self.ended:
                        await self.tell(process, do="over", node=node.key)
                    else:
                        await self._start_node(process, node.key)
                process.started = True
                if self.draining:
                    await self.tell(process, do="drain")
            case "ended":
                self.ended.add(words["node"])
                self.log.info(words["node"], "ended")
                self.changed.unpark_all()
                if len(self.ended) == len(self.incarnations):
                    self.finish("done")
            case "failed":
                self.nursery.start_soon(self._node_failed, process, words)
            case "checkpointed":
                self.checkpointing.answered(process.worker, words)
                self.changed.unpark_all()

    async def _start_node(self, process: Process, key: str) -> None:
        self.incarnations[key] += 1
        restore = str(self.checkpoint.directory) if self.checkpoint is not None else None
        # What was under way is there for the first of a resumed run alone: who starts again has had it.
        resumed = self.resumed and not self.incarnations[key]
        words = {"node": key, "incarnation": self.incarnations[key], "restore": restore, "resumed": resumed}
        await self.tell(process, do="start", **words)

    async def _node_failed(self, process: Process, words: Words) -> None:
        key, cause = words["node"], f"node {words['node']}: {words['cause']}"
        self._remember(key, cause)
        if self.finishing.is_set():
            self.ended.add(key)
            self.changed.unpark_all()
            return
        delay = None if words["fatal"] else self.restarts.delay(key, trio.current_time())
        if delay is None:
            self.finish("failed", cause if words["fatal"] else self._first_cause(key, cause))
            return
        self.log.warning(key, f"failed: {words['cause']}; starting it again in {delay:.1f} s")
        await trio.sleep(delay)
        if not self.finishing.is_set():
            await self._start_node(process, key)

    async def tell(self, process: Process, **words: object) -> None:
        """Say something to a worker, if it is there."""
        try:
            await process.line.say(**words)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            return  # it died; whoever hears its line deals with that

    # Watching

    async def _watch(self) -> None:
        """Follow the pages: show how it goes, end when it is done, find who hangs, hold the ledger."""
        next_ledger = trio.current_time() + LEDGER_S
        while True:
            self.progress = self.monitor.poll()
            self.observe(self.progress)
            reached = self._reached()
            if reached:
                self.finish("done", reached)
            self._kill_hung()
            self._kill_too_large()
            if trio.current_time() >= next_ledger:
                next_ledger += LEDGER_S
                for problem in self.ledger.problems():
                    self.log.error("", problem)
            await trio.sleep(POLL_S)

    def _kill_too_large(self) -> None:
        """A worker that takes more memory than it may is killed before the system chooses whom; death does the rest."""
        for worker, process in list(self.processes.items()):
            plan = self.plan.worker(worker)
            taken = max(self.liveness.memory(node.key, process.pid) for node in plan.nodes)
            if plan.memory and taken > plan.memory and not process.too_large:
                process.too_large = True
                cause = f"worker {worker} took {readable(taken)} of memory, its limit is {readable(plan.memory)}"
                self.log.error(worker, f"{cause}; killed")
                self._remember(worker, cause)
                process.kill()

    def _reached(self) -> str:
        for name, target in self.until.items():
            if name in TIME_LIMITS:
                done = self.progress.elapsed / TIME_LIMITS[name]
            elif name in self.progress.counters:
                done = self.progress.counters[name].total
            else:
                continue
            if done >= target:
                return f"{name} reached {target:g}"
        return ""

    def _kill_hung(self) -> None:
        """A worker whose loop does not turn is told of, and after `stall_s` killed; death does the rest."""
        now = trio.current_time()
        stalled = self.liveness.seconds_since_beat(now)
        for worker, process in list(self.processes.items()):
            keys = {node.key for node in self.plan.worker(worker).nodes} - self.ended
            worst = max((stalled.get(key, 0.0) for key in keys), default=0.0) if process.inbox else 0.0
            due = self.hangs.due(worker, worst, now)
            if due == "ask":
                process.kill(signal.SIGUSR1)  # faulthandler writes the stack, even while C code holds the GIL
            elif due:
                where = hanging_line(self.directory.logs / f"{worker}.stack")
                self.log.error(worker, f"hung for {worst:.0f} s: {where}" + ("; killed" if due == "kill" else ""))
            if due == "kill":
                self._remember(worker, f"worker {worker} hung: {where}")
                process.kill()

    async def take_checkpoint(self, seconds: float = 10.0) -> Checkpoint | None:
        """Take every node's state into a new checkpoint; None, and a warning, when one cannot be had."""
        return await self.checkpointing.take(seconds)

    # The end

    async def _end(self) -> None:
        if self.how == "stopped" and self.options.deterministic:
            await self.checkpointing.take(self.options.drain_s)  # draining would end streams that are to go on
        elif self.how != "failed":
            await self._drain()
            await self.checkpointing.take(5.0, barriers=False)
        self.stopping = True
        for process in list(self.processes.values()):
            await self.tell(process, do="stop")
        with trio.move_on_after(self.options.stop_s):
            while self.processes:
                await self.changed.park()
        self.servers.close()

    async def _drain(self) -> None:
        self.draining = True
        for process in list(self.processes.values()):
            if process.started:  # who is not is told when its nodes have been
                await self.tell(process, do="drain")
        with trio.move_on_after(self.options.drain_s) as scope:
            while len(self.ended) < len(self.incarnations):
                if self.absent:  # what waits for its nodes waits in vain
                    scope.deadline = min(scope.deadline, trio.current_time() + self.options.stop_s)
                await self.changed.park()
        if scope.cancelled_caught:
            left = sorted(self.incarnations.keys() - self.ended)
            self.log.warning("", f"not drained in time, stopped: {', '.join(left)}")
