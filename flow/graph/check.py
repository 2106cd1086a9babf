"""Whether a graph whose names are right can run: its ports tied, its edges fitting, its cycles free of deadlock."""

from __future__ import annotations

import functools
import importlib.util
from collections import Counter
from pathlib import Path

from flow import node_files
from flow.errors import GraphError, SettingError
from flow.graph.compose import Reading
from flow.graph.edges import check_modes
from flow.graph.members import Home, Tie, Untied
from flow.graph.model import Edge, End, Graph
from flow.graph.problems import Problems
from flow.graph.registry import install
from flow.message import Field, Message, Sizes, misfits, misfitting, shown
from flow.node_type import OTHER_END
from flow.stats_layout import SLOTS_MAX


def check_graph(graph: Graph, reading: Reading, problems: Problems, *, packages: bool) -> None:
    """Note every problem of a graph.

    Args:
      reading: where each part of it is written; there its problems are told.
      packages: whether what the nodes need must be installed.
    """
    check_modes(reading.ties, {tie.edge.sender: graph.kind(tie.edge) for tie in reading.ties})
    for tie in reading.ties:
        _check_fit(graph, tie, reading)
    _check_writers(graph, reading)
    # Where an edge is wrong, the ports that it was to tie would be told once more.
    mends: set[str] = set()
    for untied in [each for each in reading.untied if "edges" not in each.problems.wrong_tables]:
        mend = _mend_untied(graph, untied)
        if mend.startswith("add ") and mend in mends:
            continue  # the other end of the edge that is missing was told
        mends.add(mend)
        untied.problems.add("edges", untied.text, f"this port, {untied.port}, has no edge; {mend}")
    _check_cycles(graph, reading)
    _check_room(graph, reading)
    _check_settings(graph, reading)
    for node in graph.nodes.values() if packages else ():
        for package in node.type.needs:
            if not _installed(package):
                home = reading.homes[node.name]
                text = f"{node.type.name} needs the package '{package}', which is not installed; {install(package)}"
                home.problems.add(home.table, "run", text)


def require_closed(graph: Graph) -> None:
    """Refuse to run a graph that leaves ports open.

    Raises:
      GraphError: it does; the text names them.
    """
    if graph.ports:
        problems = Problems(str(graph.path))
        problems.add(
            "ports",
            "",
            f"this graph leaves {', '.join(graph.ports)} open, so it is a part of other graphs and cannot run by "
            f'itself; include it in one, [nodes.NAME] with graph = "{graph.path.name}", and tie them there',
        )
        raise GraphError(problems.found)


@functools.cache
def _installed(package: str) -> bool:
    return importlib.util.find_spec(package) is not None


def _sizes(graph: Graph, end: End) -> Sizes:
    node = graph.nodes[end.node]
    return node.type.port_sizes(end.port, node.settings)


def _check_fit(graph: Graph, tie: Tie, reading: Reading) -> None:
    edge, home = tie.edge, tie.home
    begin, end = graph.port(edge.sender), graph.port(edge.receiver)
    if Message in (*begin.messages, *end.messages):
        return  # a type variable that nothing binds: told already, or an edge of an open graph will
    here, there = _sizes(graph, edge.sender), _sizes(graph, edge.receiver)
    sender, receiver = (edge.sender, home.sender), (edge.receiver, home.receiver)
    lines = _misfit_lines(graph, tie, reading, sender, begin.messages[0], here, receiver, end.messages[0], there)
    if begin.kind == "Call":
        lines += _misfit_lines(graph, tie, reading, receiver, end.messages[1], there, sender, begin.messages[1], here)
    if lines:
        home.problems.add_edge(home.sender, home.receiver, "\n".join(["the two ends do not fit", *lines]))


Written = tuple[End, str]
"""A port, and how the file calls it."""


def _misfit_lines(
    graph: Graph,
    tie: Tie,
    reading: Reading,
    sender: Written,
    sent: type[Message],
    sends: Sizes,
    receiver: Written,
    wanted: type[Message],
    receives: Sizes,
) -> list[str]:
    lines = []
    width = max(len(sender[1]), len(receiver[1]))
    for have, want in misfitting(sent, sends, wanted, receives):
        found = f"{have.name}: {shown(have, sends)}" if have else f"no {want.name}, only {_field_names(sent)}"
        lines += [
            f"  {sender[1]:<{width}}  sends     {found}",
            f"  {receiver[1]:<{width}}  receives  {want.name}: {shown(want, receives)}",
            f"  {_mend(graph, tie, reading, sender, have, sends, receiver, want, receives)}",
        ]
    return lines


def _field_names(message: type[Message]) -> str:
    return ", ".join(field.name for field in message.fields) or "nothing"


def _mend(
    graph: Graph,
    tie: Tie,
    reading: Reading,
    sender: Written,
    have: Field | None,
    sends: Sizes,
    receiver: Written,
    want: Field,
    receives: Sizes,
) -> str:
    if have is None:
        return f"put a node between them that adds {want.name}, or tie {receiver[1]} to a port that sends it"
    if have.kind == want.kind and set(have.dtypes) <= set(want.dtypes) and len(have.dims) == len(want.dims):
        here, there = graph.nodes[sender[0].node], graph.nodes[receiver[0].node]
        for a, b in zip(have.dims, want.dims, strict=True):
            sent, wanted = a.resolved(sends), b.resolved(receives)
            if sent is not None and wanted is not None and sent != wanted:
                mends = []
                if a.name in here.type.settings:
                    mends.append(_setting(a.name, wanted - a.size, reading.homes[here.name], tie.home))
                if b.name in there.type.settings:
                    mends.append(_setting(b.name, sent - b.size, reading.homes[there.name], tie.home))
                if mends:
                    return "set " + ", or ".join(mends)
    own = [graph.nodes[end.node].type.name for end, _ in (sender, receiver)]
    files = [name for name in dict.fromkeys(own) if node_files.is_file(name.rpartition(":")[0])]
    change = f", or change what {Path(files[-1]).name} declares" if files else ""
    return f"put a node between them that turns the one into the other{change}"


def _setting(name: str, value: int, node: Home, edge: Home) -> str:
    """How to give a node's setting a value, as told beside an edge."""
    if node.problems.file == edge.problems.file:
        return f"{name} = {value} in [{node.table}]"
    file, table = node.around
    if name in node.params and file == edge.problems.file:
        return f"{node.params[name]} = {value} in [{table}]"
    return f"{name} = {value} in [{node.table}] of {node.problems.file}"


def _check_writers(graph: Graph, reading: Reading) -> None:
    written: dict[End, str] = {}
    for tie in reading.ties:
        edge, home = tie.edge, tie.home
        if graph.kind(edge) != "Publish":
            continue
        if edge.receiver in written:
            text = f"{written[edge.receiver]} is published to it already; a Latest has one writer"
            home.problems.add_edge(home.sender, home.receiver, text)
        written[edge.receiver] = str(edge.sender)


def _mend_untied(graph: Graph, untied: Untied) -> str:
    """The edge to add: with the first port whose messages fit."""
    port = untied.port
    for text, there in untied.level.items():
        other = graph.port(there)
        if other.kind == OTHER_END[port.kind] and there.node != untied.end.node and _fit(graph, untied.end, there):
            sender, receiver = (untied.text, text) if port.sends else (text, untied.text)
            return f'add "{sender}" = "{receiver}"'
    return f"no {OTHER_END[port.kind]} of another node fits it; add a node that has one"


def _fit(graph: Graph, end: End, other: End) -> bool:
    sender, receiver = (end, other) if graph.port(end).sends else (other, end)
    sent, wanted = graph.port(sender).messages, graph.port(receiver).messages
    here, there = _sizes(graph, sender), _sizes(graph, receiver)
    asked = not misfits(sent[0], here, wanted[0], there)
    return asked and (len(sent) == 1 or not misfits(wanted[1], there, sent[1], here))


def _check_cycles(graph: Graph, reading: Reading) -> None:
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
            home = next(tie.home for tie in reading.ties if tie.edge is last)
            ends = " -> ".join(str(end) for edge in cycle for end in (edge.sender, edge.receiver))
            home.problems.add(
                "edges",
                home.sender,
                f"it closes a cycle of streams, which stops for ever once all are full: {ends} -> {cycle[0].sender}; "
                f"if what goes round is bounded, mark one edge of it and give it credit for that much: "
                f'"{home.sender}" = {{ to = "{home.receiver}", feedback = true, credit = … }}',
            )


# What one end of an edge counts at most (flow/tally.py), and what a node counts besides.
COUNTS_A_TIE, OTHER_COUNTS = 6, 124
TIES_MAX = (SLOTS_MAX - OTHER_COUNTS) // COUNTS_A_TIE


def _check_room(graph: Graph, reading: Reading) -> None:
    """A node's page has room for the counts of so many edges; copies of a sweep that share a node may be more."""
    ties = Counter(end.node for edge in graph.edges for end in (edge.sender, edge.receiver))
    for name, count in ties.items():
        if count > TIES_MAX:
            home = reading.homes[name]
            text = f"it has {count} edges to other nodes and their copies, and counts at most {TIES_MAX}"
            home.problems.add(home.table, "", f"{text}; sweep over fewer values, or give copies nodes of their own")


def _check_settings(graph: Graph, reading: Reading) -> None:
    """What a node says of its settings together: where they would make it wait for ever, for instance."""
    for node in graph.nodes.values():
        if node.type.check is not None and node.type.settings.keys() <= node.settings.keys():
            try:
                node.type.check(node.settings)
            except SettingError as error:
                home = reading.homes[node.name]
                home.problems.add(home.table, "", str(error))


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
