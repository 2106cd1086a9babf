"""A graph as it is drawn: the copies of a sweep as one node, included graphs as frames around their nodes."""

from __future__ import annotations

from dataclasses import replace

from flow.graph.model import Edge, End, Graph, GraphNode, without_copy


def fold(graph: Graph) -> tuple[Graph, dict[str, int]]:
    """The graph with copies taken together, and how many of them each node stands for."""
    counts: dict[str, int] = {}
    nodes: dict[str, GraphNode] = {}
    for node in graph.nodes.values():
        name = without_copy(node.name)
        counts[name] = counts.get(name, 0) + 1
        nodes.setdefault(name, replace(node, name=name))
    edges: dict[tuple[End, End], Edge] = {}
    for edge in graph.edges:
        sender, receiver = (End(without_copy(end.node), end.port) for end in (edge.sender, edge.receiver))
        edges.setdefault((sender, receiver), replace(edge, sender=sender, receiver=receiver))
    return replace(graph, nodes=nodes, edges=tuple(edges.values()), workers={}, ports={}), counts


def frames_of(name: str) -> tuple[str, ...]:
    """The included graphs that a node is in, the outermost first, as it is drawn: "a.b.policy" is in a and b."""
    return tuple(name.split(".")[:-1])


def shared(a: tuple[str, ...], b: tuple[str, ...]) -> tuple[str, ...]:
    """The frames around both."""
    depth = 0
    while depth < min(len(a), len(b)) and a[depth] == b[depth]:
        depth += 1
    return a[:depth]
