"""Nodes' ports joined as a run joins them, over each carrier in turn: one worker, or a worker a node over ZeroMQ."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import trio

from flow.assembly import Assembly
from flow.carrier.curve import Address, KeyPair
from flow.carrier.peer import SocketWay
from flow.carrier.zeromq import Hub
from flow.node_type import NodeType
from flow.plan import Plan, make_plan
from flow.port_spec import NeverResting
from flow.tally import Tally

CARRIERS = ("memory", "zeromq", "shared", "tcp", "tcp+lz4", "tcp+zstd")
"""What stands behind the + is what messages are compressed with."""


@dataclass(frozen=True)
class Node:
    """A node of a graph, as a plan knows it."""

    name: str
    type: NodeType[Any]
    replicas: int = 1
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class End:
    node: str
    port: str


@dataclass(frozen=True)
class Edge:
    """ "a.out" joined to "b.in"."""

    frm: str
    to: str
    mode: str = ""
    credit: int = 1
    credit_bytes: int = 1 << 40
    feedback: bool = False
    compress: str = ""

    @property
    def sender(self):
        return End(*self.frm.split("."))

    @property
    def receiver(self):
        return End(*self.to.split("."))


class Desk(Assembly):
    """An assembly whose tallies are in memory."""

    def _tally(self, end, name, why="starved"):
        return self.tallies.setdefault((end, name), Tally())


def plan_of(nodes, edges, places=None, codec=""):
    here = [(node.name, replica) for node in nodes for replica in range(node.replicas)]
    places = places or {"w": here}
    edges = tuple(replace(edge, compress=codec) if codec else edge for edge in edges)
    hosts = {worker: worker for worker in places} if codec else {}
    return make_plan({node.name: node for node in nodes}, edges, places, seed=0, hosts=hosts)


@dataclass
class Run:
    """What a test holds: the ports of every node, and each worker's desk and hub."""

    carrier: str
    plan: Plan
    nodes: dict[str, Node]
    directory: Path
    nursery: trio.Nursery
    desks: dict[str, Desk] = field(default_factory=dict)
    hubs: dict[str, Hub] = field(default_factory=dict)
    places: dict[str, Path | Address] = field(default_factory=dict)
    hosts: dict[str, tuple[str, str]] = field(default_factory=dict)
    within: Callable[[str], Any] = contextlib.nullcontext
    scopes: dict[str, trio.CancelScope] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def ports(self, key: str) -> Any:
        """The ports of replica 0 of a node, or of "node-3"."""
        name, _, replica = key.partition("-")
        desk = self.desks[self.plan.worker_of(name, int(replica or 0))]
        for worker in self.plan.workers:
            for node in worker.nodes:
                if (node.name, node.replica) == (name, int(replica or 0)):
                    return _Ports(self._connected(desk, node))
        raise KeyError(key)

    def _connected(self, desk, node):
        ends = desk.mailboxes.keys() | desk.sending.keys()
        ports = self.nodes[node.name].type.ports.items()
        return {
            name: desk._port(node, port, NeverResting())
            for name, port in ports
            if (node.name, node.replica, name) in ends
        }

    def start(self, worker: str, epoch: int = 0) -> None:
        """Start a worker, or start it again under a new epoch."""
        types = {name: node.type for name, node in self.nodes.items()}
        settings = {name: node.settings for name, node in self.nodes.items()}
        host, ip = self.hosts.get(worker, ("", "127.0.0.1"))
        keys = KeyPair.make() if self.carrier.startswith("tcp") else None
        path = self.directory / f"{worker}.{epoch}"
        with self.within(host):
            hub = Hub(worker, epoch, self.warnings.append, through_memory=self.carrier == "shared", keys=keys)
            hub.bind(path)
            self.places[worker] = hub.gate.bind(f"tcp://{ip}:*") if hub.gate is not None else path
        desk = Desk(self.plan, worker, hub, types, settings, {})
        desk.build()
        self.hubs[worker], self.desks[worker] = hub, desk
        self.scopes[worker] = trio.CancelScope()
        self.nursery.start_soon(self._run, worker, hub)
        for other, there in self.hubs.items():
            if other != worker:
                there.peer_restarted(worker, self.places[worker], epoch)
                hub.peer_restarted(other, self.places[other], there.epoch)

    async def _run(self, worker: str, hub: Hub) -> None:
        with self.scopes[worker]:
            await hub.run()
        del self.scopes[worker]

    async def kill(self, worker: str) -> None:
        self.scopes[worker].cancel()
        while worker in self.scopes:
            await trio.lowlevel.checkpoint()
        _drop(self.hubs.pop(worker))


def _drop(hub: Hub) -> None:
    """Close a hub as a kill does: nothing more is sent."""
    for peer in hub.peers.values():
        if isinstance(peer._way, SocketWay):
            peer._way.socket.close(linger=0)
            peer._way = None
    hub.close()


class _Ports:
    def __init__(self, ports):
        self.__dict__.update(ports)
        self.all = ports


@contextlib.asynccontextmanager
async def joined(carrier, nodes, edges, hosts=None, within=contextlib.nullcontext):
    """The nodes' ports, joined by a carrier. hosts: by worker, the host it is made `within`, and its IP address."""
    by_name = {node.name: node for node in nodes}
    places = None
    if carrier != "memory":
        places = {name: [(name, replica) for replica in range(node.replicas)] for name, node in by_name.items()}
    plan = plan_of(nodes, edges, places, carrier.partition("+")[2])
    directory = Path(tempfile.mkdtemp(prefix="flow"))
    try:
        async with trio.open_nursery() as nursery:
            run = Run(carrier, plan, by_name, directory, nursery, hosts=hosts or {}, within=within)
            for worker in plan.workers:
                run.start(worker.name)
            yield run
            nursery.cancel_scope.cancel()
    finally:
        for hub in run.hubs.values():
            _drop(hub)
        shutil.rmtree(directory)
