"""A run that is killed whole at any moment and resumed: no message is lost, doubled or reordered in what nodes keep."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from random import Random

import pytest

from flow.graph import load_graph
from flow.graph.model import Graph
from flow.testing.simulation.resumed import moments, run_with_kills
from flow.testing.simulation.run import Case

NODES = "tests.flow.testing.simulation.cut_nodes"


def graph_of(folder: Path, nodes: dict[str, str], edges: list[str], workers: dict[str, list[str]]) -> Graph:
    """nodes: type and settings by name, as in "numbers, count = 3"."""
    lines = ['title = "cut"']
    for name, said in nodes.items():
        kind, *settings = said.split(", ")
        lines += [f"[nodes.{name}]", f'run = "{NODES}:{kind}"', *settings]
    lines += ["[edges]", *edges, "[workers]", *(f"{name} = {held}" for name, held in workers.items())]
    path = folder / "cut.toml"
    path.write_text("\n".join(lines) + "\n")
    return load_graph(path)


def wrong(graph: Graph, states) -> list[str]:
    """Edges on which what was taken is not what was sent."""
    found = []
    groups = defaultdict(list)
    for edge in graph.edges:
        groups[str(edge.sender) if edge.mode == "share" else str(edge)].append(edge)
    for edges in groups.values():
        sender = edges[0].sender
        sent = states[f"{sender.node}-0"]["books"]["sent"].get(sender.port, 0)
        rows = [
            states[f"{edge.receiver.node}-0"]["books"]["taken"].get(f"{sender}->{edge.receiver.port}", [])
            for edge in edges
        ]
        if sorted(seq for row in rows for seq in row) != list(range(sent)) or any(row != sorted(row) for row in rows):
            found.append(f"{sender}: {sent} were sent, {rows} taken")
    return found


def hold(graph: Graph, seeds, faults=()) -> None:
    """Run it undisturbed and then with kills, for each seed."""
    resumed = 0
    for seed in seeds:
        whole = run_with_kills(Case(graph), seed, ())
        assert whole.violations == ()
        assert whole.outcome == "done"
        assert wrong(graph, whole.states) == []
        at = moments(Random(seed), whole.events[0])
        told = f"seed {seed}, killed at {at} of {whole.events}"
        run = run_with_kills(Case(graph), seed, at, faults)
        assert run.violations == (), told
        assert run.doubtful == (), told
        assert run.outcome == "done", told
        assert wrong(graph, run.states) == [], told
        totals = {key: state["books"]["sent"] for key, state in run.states.items()}
        assert totals == {key: state["books"]["sent"] for key, state in whole.states.items()}, told
        resumed += sum(each is not None and each.consistent for each in run.resumed_from)
    assert resumed > len(seeds) / 4  # else nothing was shown


def line(folder: Path) -> Graph:
    return graph_of(
        folder,
        {"source": "numbers, count = 20", "between": "hop", "sink": "collect"},
        ['"source.out" = { to = "between.items", credit = 2 }', '"between.out" = { to = "sink.items", credit = 3 }'],
        {"a": ["source", "between"], "b": ["sink"]},
    )


def fan_in(folder: Path) -> Graph:
    """Sources of several lengths into one port, and by two ways."""
    return graph_of(
        folder,
        {"few": "numbers, count = 3", "many": "numbers, count = 25", "way": "hop", "sink": "collect"},
        [
            '"few.out" = { to = "sink.items", credit = 2 }',
            '"many.out" = [{ to = "way.items", credit = 1, mode = "copy" }, { to = "sink.items", mode = "copy" }]',
            '"way.out" = { to = "sink.items", credit = 1 }',
        ],
        {"a": ["few", "way"], "b": ["many"], "c": ["sink"]},
    )


def sides(kind: str, folder: Path) -> Graph:
    return graph_of(
        folder,
        {"one": "numbers, count = 24, pace_s = 0.05", "two": "numbers, count = 9", "joint": kind, "sink": "collect"},
        [
            '"one.out" = { to = "joint.left", credit = 1 }',
            '"two.out" = { to = "joint.right", credit = 4 }',
            '"joint.out" = { to = "sink.items", credit = 1 }',
        ],
        {"a": ["one", "two"], "b": ["joint", "sink"]},
    )


def cycle(folder: Path) -> Graph:
    return graph_of(
        folder,
        {"source": "numbers, count = 10", "loop": "carousel", "way": "hop", "sink": "collect"},
        [
            '"source.out" = { to = "loop.items", credit = 2 }',
            '"loop.forth" = { to = "way.items", credit = 1 }',
            '"way.out" = { to = "loop.back", credit = 4, feedback = true }',
            '"loop.done" = { to = "sink.items", credit = 1 }',
        ],
        {"a": ["source", "loop"], "b": ["way", "sink"]},
    )


GRAPHS = {
    "line": line,
    "fan in": fan_in,
    "in turn": lambda folder: sides("alternate", folder),
    "two tasks": lambda folder: sides("both", folder),
    "cycle": cycle,
}


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_run_killed_anywhere_and_resumed_loses_and_doubles_nothing(tmp_path, graph):
    hold(GRAPHS[graph](tmp_path), range(10))
