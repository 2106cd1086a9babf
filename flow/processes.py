"""The supervisor's processes: fork servers, and the workers they make."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import trio

from flow import forkserver
from flow.control import Line, Speaking, Words
from flow.errors import RunError
from flow.logs import EventLog
from flow.plan import WorkerPlan
from flow.restarts import Restarts

START_S = 120.0  # torch takes 5 s on a busy machine; a network file system may take much longer


@dataclass
class Process:
    """One incarnation of a worker.

    over: set when the process is gone; status: how it went. started: its nodes were told to start. inbox: where workers
    of its host reach it; address: endpoint and key, for those of other hosts. too_large: killed for what it took.
    """

    worker: str
    epoch: int
    pid: int
    line: Speaking
    inbox: str = ""
    address: tuple[str, bytes] | None = None
    host: str = ""
    started: bool = False
    too_large: bool = False
    over: trio.Event = field(default_factory=trio.Event)
    status: int | None = None

    def how_it_ended(self) -> str:
        if self.status is None:
            return "is gone"
        if self.status < 0:
            return f"was killed by {signal.Signals(-self.status).name}"
        return f"exited with status {self.status}"

    def kill(self, number: int = signal.SIGKILL) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)


class ForkServer:
    """A fork server that has imported some modules, and the workers it made."""

    def __init__(self, modules: list[str], environment: Mapping[str, str] | None = None) -> None:
        self.modules = modules
        self.processes: dict[int, Process] = {}
        self.ready = trio.Event()
        self.failure: str | None = None
        self.trace = ""
        self.over = False  # it is gone: how it ended is in `failure`
        self._forking: set[trio.Event] = set()
        self._forked: dict[tuple[str, int], Callable[[int], None]] = {}
        ours, theirs = socket.socketpair()
        # From the main thread and not by trio, which forks in threads that end: the signal that ends the server
        # with its parent would come with the thread's end.
        self._process = subprocess.Popen(
            forkserver.command(theirs.fileno(), modules),
            pass_fds=[theirs.fileno()],
            env={**forkserver.environment(), **(environment or {})},
            start_new_session=True,  # Ctrl-C in the terminal is the supervisor's alone
            stdin=subprocess.DEVNULL,
        )
        theirs.close()
        self._line = Line(ours)

    @property
    def pid(self) -> int:
        return self._process.pid

    async def run(self) -> None:
        """Hear what the server says until it is gone."""
        while (words := await self._line.hear()) is not None:
            match words["say"]:
                case "ready":
                    self.ready.set()
                case "broken":
                    self.failure, self.trace = words["error"], words["trace"]
                    self.ready.set()
                case "forked":
                    self._forked.pop((words["worker"], words["epoch"]))(words["pid"])
                case "exited":
                    process = self.processes.pop(words["pid"], None)
                    if process is not None:
                        process.status = words["status"]
                        process.over.set()
        self.over = True
        if self.failure is None:
            self.failure = f"the fork server for {', '.join(self.modules)} ended"
        self.ready.set()
        for forked in self._forking:
            forked.set()
        for process in self.processes.values():
            process.over.set()

    async def fork(self, worker: str, epoch: int, words: Words) -> Process:
        """Start a worker.

        Raises:
          RunError: the modules cannot be imported, or the server is gone.
        """
        with trio.move_on_after(START_S):
            await self.ready.wait()
        if self.failure is not None or not self.ready.is_set():
            raise RunError(f"worker {worker} cannot start: {self.failure or 'its imports take too long'}")
        ours, theirs = socket.socketpair()
        forked = trio.Event()
        made: list[Process] = []

        def came(pid: int) -> None:
            made.append(Process(worker, epoch, pid, Line(ours)))
            self.processes[pid] = made[0]
            forked.set()

        self._forked[worker, epoch] = came
        self._forking.add(forked)
        try:
            await self._line.say_with_descriptor(theirs.fileno(), **words, worker=worker, epoch=epoch)
            if not self.over:
                await forked.wait()
        except (trio.BrokenResourceError, trio.ClosedResourceError, OSError) as error:
            self.failure = self.failure or f"its fork server is gone ({error})"
        finally:
            self._forking.discard(forked)
            theirs.close()
        if not made:
            ours.close()
            raise RunError(f"worker {worker} cannot start: {self.failure}")
        return made[0]

    @property
    def can_import(self) -> bool:
        """Whether it is gone although its imports succeeded, so that another one may take its place."""
        return self.over and not self.trace

    def kill(self) -> None:
        """End the server and, by the kernel's hand, all its workers."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._line.close()


class MakesProcesses(Protocol):
    """What a supervisor needs of whoever makes its workers' processes."""

    def start(self, nursery: trio.Nursery) -> None:
        """Get ready; what runs meanwhile runs in the nursery."""

    async def fork(self, plan: WorkerPlan, epoch: int, words: Words) -> Process:
        """A new process for a worker. Raises `RunError` when there can be none."""

    def kill(self) -> None:
        """Kill all of them, and wait for nothing."""

    def close(self) -> None:
        """End whatever is left."""


@dataclass
class ForkServers:
    """The fork servers of a run, one for each set of packages that some worker needs; one that dies is replaced.

    modules: what each imports, by the packages. restarts: how often one may be started again. environment: variables
    that they and their workers have beside the usual.
    """

    modules: dict[tuple[str, ...], list[str]]
    restarts: Restarts
    log: EventLog
    environment: Mapping[str, str] = field(default_factory=dict)
    _servers: dict[tuple[str, ...], ForkServer] = field(default_factory=dict)

    def start(self, nursery: trio.Nursery) -> None:
        """Start all of them; their lines are heard in the nursery."""
        self._nursery = nursery
        for needs in self.modules:
            self._server(needs)

    async def fork(self, plan: WorkerPlan, epoch: int, words: Words) -> Process:
        """A new process for a worker.

        Raises:
          RunError: what it needs cannot be imported, or its fork server died too often.
        """
        while True:
            server = self._server(plan.needs)
            try:
                return await server.fork(plan.name, epoch, words)
            except RunError as error:
                name = f"fork server {'+'.join(plan.needs) or 'without packages'}"
                delay = self.restarts.delay(name, trio.current_time()) if server.can_import else None
                if delay is None:
                    if server.trace:
                        self.log.error(plan.name, server.trace)
                    raise
                self.log.warning("", f"{error}; starting a fork server again in {delay:.1f} s")
                await trio.sleep(delay)

    def _server(self, needs: tuple[str, ...]) -> ForkServer:
        """The fork server for these packages; a new one where it is gone."""
        server = self._servers.get(needs)
        if server is None or server.can_import:
            if server is not None:
                self.log.warning("", f"{server.failure}; starting another")
                server.kill()
            server = self._servers[needs] = ForkServer(self.modules[needs], self.environment)
            self._nursery.start_soon(server.run)
        return server

    def kill(self) -> None:
        """Kill them and with them all workers, and wait for nothing. Safe in a signal handler."""
        for server in self._servers.values():
            with contextlib.suppress(ProcessLookupError):
                os.kill(server.pid, signal.SIGKILL)

    def close(self) -> None:
        """End them and whatever workers are left."""
        for server in self._servers.values():
            server.kill()


def modules(workers: Iterable[WorkerPlan]) -> dict[tuple[str, ...], list[str]]:
    """What each fork server imports: what its workers' nodes need, then the nodes."""
    wanted: dict[tuple[str, ...], list[str]] = {}
    for worker in workers:
        names = wanted.setdefault(worker.needs, ["flow.worker", *worker.needs])
        names += [node.type.rpartition(":")[0] for node in worker.nodes]
    return {needs: list(dict.fromkeys(names)) for needs, names in wanted.items()}


def last_line(path: Path) -> str:
    """The last line of a file, "" if there is none: what a process said before it ended."""
    try:
        lines = path.read_text(errors="replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1] if lines else ""
