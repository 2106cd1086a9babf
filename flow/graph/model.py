"""A graph as the rest of flow sees it: resolved, complete, and free of mistakes.

Params are filled in, the profile is merged, every setting has its value. Nothing here knows TOML.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from flow.node_type import NodeType, Port

Mode = Literal["share", "copy"]

# Room for a sender to run ahead without letting what it sends grow old; an edge that needs other says so.
DEFAULT_CREDIT = 8
DEFAULT_CREDIT_BYTES = 64 * 1024**2

MODEL_WORKER = "model"
MAIN_WORKER = "main"
HOME = "home"
"""The host where `flow run` is started."""

# What parts the name of a node from that of its copy in a sweep: "learner@trust=0.3".
COPY = "@"


def without_copy(name: str) -> str:
    """A node's name as its file writes it: "learner" of "learner@trust=0.3"."""
    return name.partition(COPY)[0]


@dataclass(frozen=True)
class End:
    """A port of a node."""

    node: str
    port: str

    def __str__(self) -> str:
        return f"{self.node}.{self.port}"


@dataclass(frozen=True)
class GraphNode:
    """A named use of a node type. settings: complete, as the node gets them.

    name: "learner"; "agent.learner" within a graph included as agent; "learner@trust=0.3" one copy of a sweep.
    """

    name: str
    type: NodeType[Any]
    replicas: int = 1
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Edge:
    """A sending port tied to a receiving one.

    mode: with several receivers, whether each message goes to one of them or to all; the replicas of a receiver
    count as several. credit, credit_bytes: the most that may be under way from one replica to another.
    feedback: it may close a cycle, because its credit was chosen for that. compress: with what messages between two
    hosts are compressed, "" if they are not.
    """

    sender: End
    receiver: End
    mode: Mode = "share"
    credit: int = DEFAULT_CREDIT
    credit_bytes: int = DEFAULT_CREDIT_BYTES
    feedback: bool = False
    compress: str = ""

    def __str__(self) -> str:
        return f"{self.sender} -> {self.receiver}"


@dataclass(frozen=True)
class Report:
    """What a run shows: metrics in their order, and the series that is its learning curve."""

    show: tuple[str, ...] = ()
    curve: str | None = None


@dataclass(frozen=True)
class GraphHost:
    """A machine of the run, as the graph names it.

    address: where the others reach it. ports: the first and the last that it may listen at, None for any. workers: that
    live there; those that no host names live at home.
    """

    name: str
    address: str
    ports: tuple[int, int] | None = None
    workers: tuple[str, ...] = ()

    @property
    def listen(self) -> str:
        """As a graph writes it: "10.0.0.2:7100-7119"."""
        if self.ports is None:
            return self.address
        first, last = self.ports
        return f"{self.address}:{first}" if first == last else f"{self.address}:{first}-{last}"


@dataclass(frozen=True)
class Graph:
    """A whole graph.

    path: the file it was read from; two graphs that differ only in it are equal. workers: the nodes that share a
    process, as the file names them: "actor", or "actor[1]" for one replica; the others are placed by `place`. hosts:
    the machines that it runs on; none for the one that it is started on. memory: bytes that a worker may take, where
    that is limited.
    ports: those that the file leaves open for graphs that include it; such a graph cannot run by itself.
    """

    path: Path = field(compare=False)
    title: str = ""
    paper: str = ""
    params: dict[str, Any] = field(default_factory=dict)
    profile: str | None = None
    nodes: dict[str, GraphNode] = field(default_factory=dict)
    edges: tuple[Edge, ...] = ()
    workers: dict[str, tuple[str, ...]] = field(default_factory=dict)
    hosts: dict[str, GraphHost] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    until: dict[str, float] = field(default_factory=dict)
    report: Report = field(default_factory=Report)
    ports: dict[str, tuple[End, ...]] = field(default_factory=dict)

    def port(self, end: End) -> Port:
        """The port that an end of an edge names."""
        return self.nodes[end.node].type.ports[end.port]

    def kind(self, edge: Edge) -> str:
        """The kind of the sending port: "Out", "Call" or "Publish"."""
        return self.port(edge.sender).kind

    def pairs(self, edge: Edge) -> int:
        """How many pairs of replicas an edge ties."""
        return self.nodes[edge.sender.node].replicas * self.nodes[edge.receiver.node].replicas


_HOSTED = re.compile(r"([^\[\]]+)(?:\[(\d+)\])?")


def hosted_replicas(entry: str, replicas: dict[str, int]) -> list[tuple[str, int]]:
    """What an entry of a worker stands for: "actor" all replicas of actor, "actor[1]" that one.

    Raises:
      ValueError: it is neither of these.
      KeyError: there is no such node.
      IndexError: there is no such replica.
    """
    match = _HOSTED.fullmatch(entry)
    if match is None:
        raise ValueError(entry)
    name, number = match[1], match[2]
    if number is None:
        return [(name, replica) for replica in range(replicas[name])]
    if int(number) >= replicas[name]:
        raise IndexError(entry)
    return [(name, int(number))]


def place(graph: Graph) -> dict[str, list[tuple[str, int]]]:
    """For each worker the (node, replica) that it hosts.

    A node that `[workers]` does not name goes to "model" where its type needs torch, else to "main": a model beside
    the nodes that wait for it would hold up their loop, and two of each process pay for the interpreter twice.
    """
    replicas = {node.name: node.replicas for node in graph.nodes.values()}
    places = {
        worker: [one for entry in entries for one in hosted_replicas(entry, replicas)]
        for worker, entries in graph.workers.items()
    }
    named = {one for hosted in places.values() for one in hosted}
    for one in _all_replicas(graph):
        if one not in named:
            needs_model = "torch" in graph.nodes[one[0]].type.needs
            places.setdefault(MODEL_WORKER if needs_model else MAIN_WORKER, []).append(one)
    return places


def _all_replicas(graph: Graph) -> Iterator[tuple[str, int]]:
    for node in graph.nodes.values():
        for replica in range(node.replicas):
            yield node.name, replica
