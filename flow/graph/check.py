"""Whether a graph whose names are right can run: its ports tied, its edges fitting, its cycles free of deadlock."""

from __future__ import annotations

import functools
import importlib.util

from flow.graph.model import Edge, End, Graph
from flow.graph.problems import Problems
from flow.graph.registry import install
from flow.message import Field, Message, Sizes, misfits, misfitting, shown
from flow.node_type import OTHER_END, Port


def check_graph(graph: Graph, problems: Problems, *, tied: bool, packages: bool) -> None:
    """Note every problem of a graph.

    Args:
      tied: whether a port without an edge is a problem.
      packages: whether what the nodes need must be installed.
    """
    for edge in graph.edges:
        _check_fit(graph, edge, problems)
    _check_writers(graph, problems)
    # Where an edge is wrong, the ports that it was to tie would be told once more.
    if tied and not any(f"{problems.file}, edges" in text for text in problems.found):
        _check_tied(graph, problems)
    _check_cycles(graph, problems)
    for node in graph.nodes.values() if packages else ():
        for package in node.type.needs:
            if not _installed(package):
                problems.add(
                    f"nodes.{node.name}",
                    "run",
                    f"{node.type.name} needs the package '{package}', which is not installed; {install(package)}",
                )


@functools.cache
def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _sizes(graph: Graph, end: End) -> Sizes:
    node = graph.nodes[end.node]
    return node.type.port_sizes(end.port, node.settings)


def _check_fit(graph: Graph, edge: Edge, problems: Problems) -> None:
    begin, end = graph.port(edge.sender), graph.port(edge.receiver)
    here, there = _sizes(graph, edge.sender), _sizes(graph, edge.receiver)
    lines = _misfit_lines(graph, edge.sender, begin.messages[0], here, edge.receiver, end.messages[0], there)
    if begin.kind == "Call":
        lines += _misfit_lines(graph, edge.receiver, end.messages[1], there, edge.sender, begin.messages[1], here)
    if lines:
        problems.add_edge(edge.sender, edge.receiver, "\n".join(["the two ends do not fit", *lines]))


def _misfit_lines(
    graph: Graph, sender: End, sent: type[Message], sends: Sizes, receiver: End, wanted: type[Message], receives: Sizes
) -> list[str]:
    lines = []
    width = max(len(str(sender)), len(str(receiver)))
    for have, want in misfitting(sent, sends, wanted, receives):
        found = f"{have.name}: {shown(have, sends)}" if have else f"no {want.name}, only {_field_names(sent)}"
        lines += [
            f"  {sender!s:<{width}}  sends     {found}",
            f"  {receiver!s:<{width}}  receives  {want.name}: {shown(want, receives)}",
            f"  {_mend(graph, sender, have, sends, receiver, want, receives)}",
        ]
    return lines


def _field_names(message: type[Message]) -> str:
    return ", ".join(field.name for field in message.fields) or "nothing"


def _mend(
    graph: Graph, sender: End, have: Field | None, sends: Sizes, receiver: End, want: Field, receives: Sizes
) -> str:
    if have is None:
        return f"put a node between them that adds {want.name}, or tie {receiver} to a port that sends it"
    if have.kind == want.kind and set(have.dtypes) <= set(want.dtypes) and len(have.dims) == len(want.dims):
        here, there = graph.nodes[sender.node].type.settings, graph.nodes[receiver.node].type.settings
        for a, b in zip(have.dims, want.dims, strict=True):
            sent, wanted = a.resolved(sends), b.resolved(receives)
            if sent is not None and wanted is not None and sent != wanted:
                mends = []
                if a.name in here:
                    mends.append(f"{a.name} = {wanted - a.size} in [nodes.{sender.node}]")
                if b.name in there:
                    mends.append(f"{b.name} = {sent - b.size} in [nodes.{receiver.node}]")
                if mends:
                    return "set " + ", or ".join(mends)
    return "put a node between them that turns the one into the other"


def _check_writers(graph: Graph, problems: Problems) -> None:
    written: dict[End, End] = {}
    for edge in graph.edges:
        if graph.kind(edge) != "Publish":
            continue
        if edge.receiver in written:
            text = f"{written[edge.receiver]} is published to it already; a Latest has one writer"
            problems.add_edge(edge.sender, edge.receiver, text)
        written[edge.receiver] = edge.sender


def _check_tied(graph: Graph, problems: Problems) -> None:
    tied = {end for edge in graph.edges for end in (edge.sender, edge.receiver)}
    for node in graph.nodes.values():
        for port in node.type.ports.values():
            end = End(node.name, port.name)
            if end not in tied:
                problems.add("edges", str(end), f"this port, {port}, has no edge; {_tie(graph, end, port)}")


def _tie(graph: Graph, end: End, port: Port) -> str:
    """The edge to add: with the first port whose messages fit."""
    for node in graph.nodes.values():
        for other in node.type.ports.values():
            there = End(node.name, other.name)
            if other.kind == OTHER_END[port.kind] and node.name != end.node and _fit(graph, end, there):
                sender, receiver = (end, there) if port.sends else (there, end)
                return f'add "{sender}" = "{receiver}"'
    return f"no {OTHER_END[port.kind]} of another node fits it; add a node that has one"


def _fit(graph: Graph, end: End, other: End) -> bool:
    sender, receiver = (end, other) if graph.port(end).sends else (other, end)
    sent, wanted = graph.port(sender).messages, graph.port(receiver).messages
    here, there = _sizes(graph, sender), _sizes(graph, receiver)
    asked = not misfits(sent[0], here, wanted[0], there)
    return asked and (len(sent) == 1 or not misfits(wanted[1], there, sent[1], here))


def _check_cycles(graph: Graph, problems: Problems) -> None:
    """A cycle of streams fills up and stops for ever, unless an edge of it was given the credit to hold it all."""
    streams = [edge for edge in graph.edges if graph.kind(edge) == "Out" and not edge.feedback]
    leaving: dict[str, list[Edge]] = {}
    for edge in streams:
        leaving.setdefault(edge.sender.node, []).append(edge)
    done: set[str] = set()
    for name in graph.nodes:
        cycle = _cycle_from(name, leaving, done)
        if cycle:
            last = cycle[-1]
            ends = " -> ".join(str(end) for edge in cycle for end in (edge.sender, edge.receiver))
            problems.add(
                "edges",
                str(last.sender),
                f"it closes a cycle of streams, which stops for ever once all are full: {ends} -> {cycle[0].sender}; "
                f"if what goes round is bounded, mark one edge of it and give it credit for that much: "
                f'"{last.sender}" = {{ to = "{last.receiver}", feedback = true, credit = … }}',
            )


def _cycle_from(start: str, leaving: dict[str, list[Edge]], done: set[str]) -> list[Edge]:
    """The first cycle met by walking on from a node; [] if there is none. done: nodes known to lie on none."""
    path: list[Edge] = []
    stack = [iter(leaving.get(start, ()))]
    on_path = [start]
    while stack and start not in done:
        edge = next(stack[-1], None)
        if edge is None:
            done.add(on_path.pop())
            stack.pop()
            path = path[:-1]
            continue
        to = edge.receiver.node
        if to in on_path:
            done.update(on_path)  # one cycle of a tangle is told; the next reading tells the next
            return [*path[on_path.index(to) :], edge]
        if to not in done:
            path.append(edge)
            on_path.append(to)
            stack.append(iter(leaving.get(to, ())))
    return []
