"""What each worker is told to host: nodes, and the links between them and everyone else's.

A plan is plain values, so that it can be sent to another process: the workers of a run, and for each the nodes it
hosts. The same list of links goes to all, so that both ends of a link agree on its number.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from types import MappingProxyType
from typing import Any, Protocol

from flow.node_type import NodeType

CALL, STREAM, NEWEST = "call", "stream", "newest"
_LINK_KINDS = {"Out": STREAM, "Call": CALL, "Publish": NEWEST}


@dataclass(frozen=True)
class LinkPlan:
    """One replica's port tied to one replica's port.

    group: links of one sending port among which a message is shared; each group gets every message.
    credit, credit_bytes: the window of a stream; for a call, credit is how many requests may be under way. feedback: it
    closes a cycle, so a checkpoint does not wait for its barrier. compress: with what its messages are packed, where it
    ties two hosts.
    """

    number: int
    kind: str
    edge: str
    group: int
    sender: tuple[str, int, str]
    receiver: tuple[str, int, str]
    credit: int
    credit_bytes: int
    feedback: bool = False
    compress: str = ""


@dataclass(frozen=True)
class NodePlan:
    """One replica of a node. number: among all replicas of the graph."""

    name: str
    replica: int
    replicas: int
    type: str
    settings: dict[str, Any]
    seed: int
    number: int = 0

    @property
    def key(self) -> str:
        return f"{self.name}-{self.replica}"


@dataclass(frozen=True)
class WorkerPlan:
    """A process.

    needs: packages that its nodes need imported, so which fork server makes it. host: where it lives; "" in a run of
    one host. listen: the TCP endpoint that it binds, where a link ties it to another host. memory: bytes that it may
    take, 0 where that is not limited.
    """

    name: str
    nodes: tuple[NodePlan, ...]
    needs: tuple[str, ...] = ()
    host: str = ""
    listen: str = ""
    memory: int = 0


@dataclass(frozen=True)
class Plan:
    """A whole run. checked: whether messages are held to their types as they enter and leave nodes."""

    workers: tuple[WorkerPlan, ...]
    links: tuple[LinkPlan, ...]
    checked: bool = True
    placed: dict[str, str] = field(default_factory=dict)

    def worker(self, name: str) -> WorkerPlan:
        return next(worker for worker in self.workers if worker.name == name)

    def worker_of(self, node: str, replica: int) -> str:
        return self.placed[f"{node}-{replica}"]

    def links_of(self, worker: str) -> list[LinkPlan]:
        """The links that begin or end in a worker."""
        return [
            link
            for link in self.links
            if worker in (self.worker_of(*link.sender[:2]), self.worker_of(*link.receiver[:2]))
        ]

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @staticmethod
    def from_dict(raw: dict[str, Any]) -> Plan:
        workers = tuple(
            WorkerPlan(**{**w, "nodes": tuple(NodePlan(**node) for node in w["nodes"]), "needs": tuple(w["needs"])})
            for w in raw["workers"]
        )
        links = tuple(
            LinkPlan(**{**link, "sender": tuple(link["sender"]), "receiver": tuple(link["receiver"])})
            for link in raw["links"]
        )
        return Plan(workers, links, raw["checked"], raw["placed"])


class NodeOfGraph(Protocol):
    """What a plan needs to know of a graph's node."""

    @property
    def name(self) -> str: ...
    @property
    def type(self) -> NodeType[Any]: ...
    @property
    def replicas(self) -> int: ...
    @property
    def settings(self) -> dict[str, Any]: ...


class EndOfGraph(Protocol):
    """A node's port, as an edge names it."""

    @property
    def node(self) -> str: ...
    @property
    def port(self) -> str: ...


class EdgeOfGraph(Protocol):
    """What a plan needs to know of a graph's edge."""

    @property
    def sender(self) -> EndOfGraph: ...
    @property
    def receiver(self) -> EndOfGraph: ...
    @property
    def mode(self) -> str: ...
    @property
    def credit(self) -> int: ...
    @property
    def credit_bytes(self) -> int: ...
    @property
    def feedback(self) -> bool: ...
    @property
    def compress(self) -> str: ...


def make_plan(
    nodes: dict[str, NodeOfGraph],
    edges: tuple[EdgeOfGraph, ...],
    places: dict[str, list[tuple[str, int]]],
    *,
    seed: int,
    checked: bool = True,
    hosts: Mapping[str, str] = MappingProxyType({}),
    listen: Mapping[str, str] = MappingProxyType({}),
    memory: Mapping[str, int] = MappingProxyType({}),
) -> Plan:
    """Plan a run.

    Args:
      places: for each worker the replicas it hosts, as (node, replica).
      hosts: where each worker lives, in a run of several hosts.
      listen: the TCP endpoint of each worker that speaks to another host.
      memory: bytes that each worker may take, where that is limited.
    """
    every = ((node.name, replica) for node in nodes.values() for replica in range(node.replicas))
    numbers = {one: number for number, one in enumerate(every)}
    workers = tuple(
        WorkerPlan(
            worker,
            tuple(_node_plan(nodes[name], replica, seed, numbers[name, replica]) for name, replica in hosted),
            tuple(sorted({package for name, _ in hosted for package in nodes[name].type.needs})),
            hosts.get(worker, ""),
            listen.get(worker, ""),
            memory.get(worker, 0),
        )
        for worker, hosted in places.items()
    )
    placed = {f"{name}-{replica}": worker for worker, hosted in places.items() for name, replica in hosted}
    host_of = {key: hosts.get(worker, "") for key, worker in placed.items()}
    return Plan(workers, tuple(_links(nodes, edges, host_of)), checked, placed)


def _node_plan(node: NodeOfGraph, replica: int, seed: int, number: int) -> NodePlan:
    # crc32 and not hash(): the same in every process
    own_seed = zlib.crc32(f"{seed}/{node.name}/{replica}".encode())
    return NodePlan(node.name, replica, node.replicas, node.type.name, node.settings, own_seed, number)


def _links(nodes: dict[str, NodeOfGraph], edges: tuple[EdgeOfGraph, ...], host_of: dict[str, str]) -> list[LinkPlan]:
    links: list[LinkPlan] = []
    groups = 0
    shared: dict[tuple[str, str], int] = {}  # the group of a port's `share` edges
    for edge in edges:
        sender, receiver = nodes[edge.sender.node], nodes[edge.receiver.node]
        kind = _LINK_KINDS[sender.type.ports[edge.sender.port].kind]
        label = f"{edge.sender.node}.{edge.sender.port}->{edge.receiver.node}.{edge.receiver.port}"
        for to in range(receiver.replicas):
            key = (edge.sender.node, edge.sender.port)
            if edge.mode == "share" and key in shared:
                group = shared[key]
            else:
                group, groups = groups, groups + 1
                if edge.mode == "share":
                    shared[key] = group
            for frm in range(sender.replicas):
                here, there = host_of[f"{sender.name}-{frm}"], host_of[f"{receiver.name}-{to}"]
                links.append(
                    LinkPlan(
                        len(links),
                        kind,
                        label,
                        group,
                        (edge.sender.node, frm, edge.sender.port),
                        (edge.receiver.node, to, edge.receiver.port),
                        edge.credit,
                        edge.credit_bytes,
                        edge.feedback,
                        edge.compress if here != there else "",
                    )
                )
    return links
