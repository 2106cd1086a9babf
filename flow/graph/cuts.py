"""What a checkpoint of a graph cannot promise, and why: told by `flow check` and at the start of a run.

All streams of a graph are cut at one moment, so no message between two nodes is lost or doubled when a run is resumed.
That it goes on as if it had never been stopped takes more of a node, which not every one can give.
"""

from __future__ import annotations

from collections import defaultdict

from flow.graph.model import Edge, Graph

CUT = "C13"  # the rule of `flow test` that a node keeps if it goes on as if never killed


def not_as_before(graph: Graph) -> dict[str, str]:
    """Nodes that a resumed run has go on otherwise than one that was never stopped, and why."""
    found: dict[str, str] = {}
    for name, node in graph.nodes.items():
        kinds = {port.kind for port in node.type.ports.values()}
        if CUT in node.type.promises.excused:
            found[name] = node.type.promises.excused[CUT]
        elif "Out" in kinds and not kinds & {"In", "Serve"} and node.type.saved_parameter is None:
            found[name] = "it keeps nothing of how far it is, and sends everything again"
        elif "Serve" in kinds and node.type.saved_parameter is not None:
            found[name] = (
                "calls carry no barriers: its state is that between two batches, be its callers before or after"
            )
    return found


def not_determined(graph: Graph) -> dict[str, str]:
    """Nodes of which two runs of one seed may see different things, or in another order, and why."""
    found = not_as_before(graph)
    into: dict[str, list[Edge]] = defaultdict(list)
    out_of: dict[str, list[Edge]] = defaultdict(list)
    for edge in graph.edges:
        into[str(edge.receiver)].append(edge)
        out_of[str(edge.sender)].append(edge)
    for name, node in graph.nodes.items():
        for port in node.type.ports.values():
            why = _unordered(graph, port.kind, into[f"{name}.{port.name}"], out_of)
            if why:
                found.setdefault(name, why)
    _spread(graph, found)
    return found


def _unordered(graph: Graph, kind: str, edges: list[Edge], out_of: dict[str, list[Edge]]) -> str:
    if kind == "Latest":
        return "which published value it finds is a matter of time"
    if kind == "Serve":
        return "which questions come together is a matter of time"
    senders = sum(graph.nodes[edge.sender.node].replicas for edge in edges)
    if kind == "In" and senders > 1:
        return f"messages of {senders} senders come in the order of their arrival"
    for edge in edges:
        rivals = sum(graph.nodes[each.receiver.node].replicas for each in out_of[str(edge.sender)])
        if kind == "In" and edge.mode == "share" and rivals > 1:
            return f"which of the messages of {edge.sender} come here depends on who has room"
    return ""


def _spread(graph: Graph, found: dict[str, str]) -> None:
    """Add who takes what such a node sends, answers or publishes."""
    new = True
    while new:
        new = False
        for edge in graph.edges:
            ends = (edge.sender.node, edge.receiver.node)
            if graph.kind(edge) == "Call":  # the answers go the other way
                ends = ends[::-1]
            if ends[0] in found and ends[1] not in found:
                found[ends[1]] = f"it depends on {ends[0]}"
                new = True
