"""A worker: one process, one trio loop, one or more nodes.

It does what the supervisor says (start a node, drain, checkpoint, stop), says what happened, and keeps its nodes'
stats pages. Which node is started again, and when, is the supervisor's to decide.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from flow import checkpoints, deterministic, generic, snapshot
from flow.assembly import Assembly
from flow.carrier.curve import KeyPair
from flow.carrier.zeromq import Hub
from flow.control import Line, Speaking, Words
from flow.errors import CheckpointError
from flow.footprint import Footprint
from flow.host import Host
from flow.hosts import addresses
from flow.inspect.worker_control import serve_worker
from flow.logs import EventLog
from flow.long_computing import LongComputations
from flow.node_type import NodeType, load
from flow.plan import NodePlan, Plan
from flow.run_directory import RunDirectory
from flow.saved import Packed
from flow.stats import Page

BEAT_S = 0.25
BEATS_A_MARK = 20
# How long the loop may be kept waiting by a thread that computes in Python; the default 5 ms would show in
# every message's latency (measured: 7-11 ms of lag at 5 ms, 0.4 ms at 0.2 ms, the same work done).
SWITCH_INTERVAL_S = 0.0005
# glibc's numbers for two of its limits, and the size up to which it keeps what is freed.
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3
_KEPT_BYTES = 256 * 2**20


def main(words: Words, control: socket.socket) -> None:
    """Run a worker in a freshly forked process."""
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    stack = (Path(words["run_directory"]) / "logs" / f"{words['worker']}.stack").open("w")
    faulthandler.enable(stack)
    faulthandler.register(signal.SIGUSR1, stack, all_threads=True)
    torch = sys.modules.get("torch")
    if torch is not None:
        # On few cores more threads than nodes only wait for each other: 2 ms became 150 ms where it was measured.
        torch.set_num_threads(1)
    if words["deterministic"]:
        deterministic.prepare_torch()
    keep_freed_memory()
    gc.freeze()  # what the fork server made is shared memory until someone writes to it
    trio.run(Worker(words, control, beside=serve_worker).run)


def keep_freed_memory() -> None:
    """Make glibc keep freed blocks instead of giving each back to the kernel.

    Messages of megabytes are made and freed all the time; memory that comes fresh from the kernel costs a page fault
    every 4 KiB, which on a virtual machine is more than copying the page.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):  # other C libraries have none, and other habits
        for option in (_M_MMAP_THRESHOLD, _M_TRIM_THRESHOLD):
            libc.mallopt(option, _KEPT_BYTES)


@dataclass
class Worker:
    """The loop's side of a worker. beside: what else runs in its loop."""

    words: Words
    control: socket.socket
    hosts: dict[str, Host] = field(default_factory=dict)
    draining: bool = False
    beside: Callable[[Worker], Awaitable[None]] | None = None

    def __post_init__(self) -> None:
        self.name: str = self.words["worker"]
        self.epoch: int = self.words["epoch"]
        self.pid = os.getpid()
        self.plan = Plan.from_dict(self.words["plan"])
        self.mine = self.plan.worker(self.name)
        self.directory = RunDirectory(Path(self.words["run_directory"]))
        self.log = self.make_log()
        self.turn = trio.Lock()  # of the computations of a deterministic run

    # What touches the world outside this loop, apart: a simulated worker has other means, and all the rest alike.

    def make_log(self) -> EventLog:
        return EventLog(self.directory.logs, self.name)

    def make_line(self) -> Speaking:
        return Line(self.control)

    def make_hub(self) -> Hub:
        keys = KeyPair.make() if self.mine.listen else None
        return Hub(self.name, self.epoch, self._warn, through_memory=True, keys=keys)

    def make_assembly(
        self, hub: Hub, types: dict[str, NodeType[Any]], settings: dict[str, dict[str, Any]], pages: dict[str, Page]
    ) -> Assembly:
        return Assembly(self.plan, self.name, hub, types, settings, pages)

    def make_host(self, node: NodePlan, node_type: NodeType[Any], assembly: Assembly, page: Page, place: Path) -> Host:
        host = Host(node, node_type, assembly, page, self.log, place)
        if self.words["deterministic"]:
            generators = host.generators = deterministic.Generators(node.seed)
            host.make_threads = lambda key, occupancy: deterministic.InTurn(key, occupancy, self.turn, generators)
        return host

    async def write_state(self, packed: Packed, directory: Path, key: str) -> list[str]:
        """Write a node's state; returns the file names."""
        return await trio.to_thread.run_sync(packed.write, directory, key)

    async def run(self) -> None:
        self.line = self.make_line()
        hub = self.make_hub()
        inbox = self.directory.sockets / f"{self.name}.{self.epoch}"
        for epoch in range(self.epoch):  # of those before this one, which are dead
            for end in ("", ".m"):
                inbox.with_name(f"{self.name}.{epoch}{end}").unlink(missing_ok=True)
        hub.bind(inbox)
        self.hub = hub
        try:
            self._build(hub)
            await self.line.say(say="ready", inbox=str(inbox), address=addresses.listen(hub, self.mine))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(hub.run)
                nursery.start_soon(self._beat)
                if self.beside is not None:
                    nursery.start_soon(self.beside, self)
                await self._obey(nursery)
                with trio.move_on_after(2):
                    await hub.flush()
                nursery.cancel_scope.cancel()
        finally:
            hub.close()

    def _build(self, hub: Hub) -> None:
        types = {node.name: load(node.type) for worker in self.plan.workers for node in worker.nodes}
        settings = {node.name: node.settings for worker in self.plan.workers for node in worker.nodes}
        tied = [((link.sender[0], link.sender[2]), (link.receiver[0], link.receiver[2])) for link in self.plan.links]
        types = generic.solve(types, settings, dict.fromkeys(tied)).types
        pages = {
            node.key: Page.open(
                self.directory.page_file(node.name, node.replica),
                node=node.name,
                replica=node.replica,
                worker=self.name,
                incarnation=0,
            )
            for node in self.mine.nodes
        }
        assembly = self.make_assembly(hub, types, settings, pages)
        assembly.aligned = self.words["deterministic"]
        assembly.build()
        self.assembly = assembly
        for node in self.mine.nodes:
            place = self.directory.path / "nodes" / node.key
            place.mkdir(parents=True, exist_ok=True)
            self.hosts[node.key] = self.make_host(node, types[node.name], assembly, pages[node.key], place)
        # Whoever sends here may have sent barriers to the worker that was here before.
        snapshot.give_up(self.hosts, self.words["attempt"])

    async def _obey(self, nursery: trio.Nursery) -> None:
        """Do what the supervisor says, until it says stop or is gone."""
        while (words := await self.line.hear()) is not None:
            match words["do"]:
                case "start":
                    # At once, so that a drain that comes next finds it running.
                    self.hosts[words["node"]].begin()
                    nursery.start_soon(self._start, words)
                case "over":
                    # It ended in the worker before this one; receivers that were started again have to hear it.
                    self.hosts[words["node"]].abandon("ended")
                case "peer":
                    self.hub.peer_restarted(words["worker"], addresses.where(words), words["epoch"])
                case "drain":
                    await self._drain()
                case "checkpoint":
                    nursery.start_soon(snapshot.answer, self, words)
                case "give up":
                    snapshot.give_up(self.hosts, words["attempt"])
                case "stop":
                    for host in self.hosts.values():
                        host.scope.cancel()
                    return

    async def _drain(self) -> None:
        """End the sources; the others end when their inputs have. Who failed is not started again."""
        self.draining = True
        for host in self.hosts.values():
            host.resume()  # what is paused would never end
            if host.running and host.is_source:
                host.scope.cancel()
            elif not host.running and not host.ended:
                host.abandon()
                await self.line.say(say="ended", node=host.plan.key)

    async def _start(self, words: Words) -> None:
        host = self.hosts[words["node"]]
        host.page.set_incarnation(words["incarnation"])
        failure: str | None
        fatal = False
        try:
            restored = None
            if words["restore"] is not None:
                restored, problems = checkpoints.read_state(Path(words["restore"]), host.plan.key)
                for problem in problems:
                    self.log.error(host.plan.key, problem)
                if words["resumed"]:
                    snapshot.put_back(host, Path(words["restore"]))
            host.rewound = words["resumed"]
            failure = await host.run(words["incarnation"], restored)
            fatal = host.failed_for_good
        except CheckpointError as error:
            failure, fatal = str(error), True
            host.running, host.failed = False, True
        if failure is None:
            await self.line.say(say="ended", node=host.plan.key)
        else:
            self.log.error(host.plan.key, failure)
            cause = host.cause or failure
            await self.line.say(say="failed", node=host.plan.key, cause=cause, trace=failure, fatal=fatal)
            if self.draining:
                host.abandon()

    def _warn(self, text: str) -> None:
        self.log.warning(self.name, text)

    async def _beat(self) -> None:
        footprint, beats = Footprint(host.page for host in self.hosts.values()), 0
        long = LongComputations(self.hosts.values(), self.words["shown_s"], self.log)
        while True:
            self.assembly.settle()
            footprint.tell()
            long.look()
            beats += 1
            for host in self.hosts.values():
                host.page.beat()
                if beats % BEATS_A_MARK == 0:
                    host.page.mark()
            await trio.sleep(BEAT_S)
