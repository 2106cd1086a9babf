"""A graph as far as its picture goes: names, ports, edges, and how long what is written there is.

Made from a graph or, by the live inspector, from the pages of a run, which need no module of a node.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from flow.graph.model import Edge, End, Graph
from flow.node_type import Port


@dataclass(frozen=True)
class SketchNode:
    """A box. caption: the line below its name."""

    ins: tuple[str, ...]
    outs: tuple[str, ...]
    caption: str
    replicas: int = 1


@dataclass(frozen=True)
class Sketch:
    """A graph to be laid out. kinds: "Out", "Call" or "Publish" of each sending port. labels: what stands there."""

    nodes: Mapping[str, SketchNode]
    edges: tuple[Edge, ...]
    kinds: Mapping[End, str]
    labels: Mapping[End, str]

    def kind(self, edge: Edge) -> str:
        """The kind of an edge's sending port."""
        return self.kinds[edge.sender]

    def label(self, edge: Edge) -> str:
        """What is written where an edge begins."""
        return self.labels[edge.sender]


def sketch_of(graph: Graph) -> Sketch:
    """The sketch of a graph: boxes say node types, edges their messages."""
    nodes = {}
    for name, node in graph.nodes.items():
        ports = node.type.ports.values()
        ins, outs = (tuple(port.name for port in ports if port.sends is sends) for sends in (False, True))
        nodes[name] = SketchNode(ins, outs, short_type(node.type.name), node.replicas)
    return Sketch(
        nodes,
        tuple(graph.edges),
        {edge.sender: graph.kind(edge) for edge in graph.edges},
        {edge.sender: label_of(graph.port(edge.sender)) for edge in graph.edges},
    )


def label_of(port: Port) -> str:
    """The messages of an edge as its label says them."""
    return " ⇄ ".join(port.spoken())


def short_type(name: str) -> str:
    """A node type's name without the package that most are in, or the folder that its file is in."""
    return name.rpartition("/")[2].removeprefix("nodes.")
