"""A run that is killed whole at any moment and resumed: no message is lost, doubled or reordered in what nodes keep."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from random import Random

import pytest

from flow import checkpoints, saved
from flow.graph import load_graph
from flow.graph.model import Edge, Graph
from flow.testing.simulation.faults import Survey, draw_faults
from flow.testing.simulation.resumed import moments, run_with_kills
from flow.testing.simulation.run import Case, simulate_once

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


def edges_of(graph: Graph, edge: Edge) -> list[Edge]:
    return [each for each in graph.edges if each.sender == edge.sender]


def hold(graph: Graph, seeds, faults=(), least: float = 0.25) -> None:
    """Run it undisturbed and then with kills, for each seed. least: how many kills a seed must be resumed from."""
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
        if not any(edge.mode == "share" and len(edges_of(graph, edge)) > 1 for edge in graph.edges):
            totals = {key: state["books"]["sent"] for key, state in run.states.items()}
            assert totals == {key: state["books"]["sent"] for key, state in whole.states.items()}, told
        resumed += sum(each is not None and each.consistent for each in run.resumed_from)
    assert resumed >= least * len(seeds), "few lives began from a checkpoint, so little was shown"


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


def drawn(folder: Path, seed: int) -> Graph:
    """Any graph: sources, nodes between in layers, perhaps one that takes two streams, sinks; in a few workers."""
    dice = Random(seed)
    nodes: dict[str, str] = {}
    senders: list[str] = []  # with an output that somebody has to take
    receivers: dict[str, list[str]] = defaultdict(list)
    for number in range(dice.randint(1, 3)):
        nodes[f"source{number}"] = f"numbers, count = {dice.randint(0, 15)}"
        senders.append(f"source{number}")
    for number in range(dice.randint(0, 1)):
        for side in ("left", "right"):
            name = f"{side}{number}"
            nodes[name] = f"numbers, count = {dice.randint(1, 15)}, pace_s = 0.0{dice.randint(1, 9)}"
            receivers[name].append(f"turn{number}.{side}")
        nodes[f"turn{number}"] = dice.choice(("alternate", "both"))
        senders.append(f"turn{number}")
    for number in range(dice.randint(0, 4)):
        nodes[f"hop{number}"] = "hop"
        for sender in dice.sample(senders, dice.randint(1, min(2, len(senders)))):
            receivers[sender].append(f"hop{number}.items")
        senders.append(f"hop{number}")
    sinks = [f"sink{number}" for number in range(dice.randint(1, 2))]
    nodes |= dict.fromkeys(sinks, "collect")
    for sender in senders:
        if not receivers[sender] or dice.random() < 0.3:
            receivers[sender].append(f"{dice.choice(sinks)}.items")
    fed = {end.partition(".")[0] for ends in receivers.values() for end in ends}
    for sink in set(sinks) - fed:
        del nodes[sink]
    edges = []
    for sender, ends in receivers.items():
        mode = dice.choice(("share", "copy"))
        each = [f'{{ to = "{end}", mode = "{mode}", credit = {dice.randint(1, 4)} }}' for end in ends]
        edges.append(f'"{sender}.out" = [{", ".join(each)}]')
    workers: dict[str, list[str]] = defaultdict(list)
    for name in nodes:
        workers["abc"[dice.randrange(3)]].append(name)
    return graph_of(folder, nodes, edges, workers)


@pytest.mark.parametrize("graph", GRAPHS)
def test_a_run_killed_anywhere_and_resumed_loses_and_doubles_nothing(tmp_path, graph):
    hold(GRAPHS[graph](tmp_path), range(6))


@pytest.mark.parametrize("seed", range(8))
def test_so_does_any_graph(tmp_path, seed):
    hold(drawn(tmp_path, seed), [seed], least=0)


def parts(directory: Path, graph: Graph):
    """What each node keeps in a checkpoint, with what was under way to it counted as taken; None if one has none."""
    states = {}
    for name in graph.nodes:
        state = saved.read(directory, f"{name}-0")
        if state is None:
            return None
        beside = saved.read(directory, f"{name}-0.beside") or {"under_way": {}}
        for port, log in beside["under_way"].items():
            for each in log:
                row = state["books"]["taken"].setdefault(f"{each['fields']['via']}->{port}", [])
                row.append(each["fields"]["seq"])
        states[f"{name}-0"] = state
    return states


@pytest.mark.parametrize("graph", GRAPHS)
def test_every_checkpoint_is_one_cut_also_those_nobody_resumes_from(tmp_path, monkeypatch, graph):
    held = GRAPHS[graph](tmp_path)
    looked, before = [], checkpoints.complete

    def complete(*arguments, consistent, **more):
        made = before(*arguments, consistent=consistent, **more)
        states = parts(made.directory, held)
        if states is not None:
            looked.append(made.number)
            assert wrong(held, states) == []
        return made

    monkeypatch.setattr(checkpoints, "complete", complete)
    for seed in range(30, 38):
        at = moments(Random(seed), 200)
        assert run_with_kills(Case(held), seed, at).violations == ()
    assert len(looked) > 10


@pytest.mark.soak
@pytest.mark.parametrize("graph", GRAPHS)
def test_over_many_seeds_with_late_messages_failing_disks_and_nodes_that_hang(tmp_path, graph):
    held = GRAPHS[graph](tmp_path)
    for seed in range(100, 130):
        survey = Survey(simulate_once(Case(held), seed).counts)
        hold(held, [seed], draw_faults(Random(seed), survey, ("late", "disk", "hang")), least=0)


@pytest.mark.parametrize("graph", ["fan in", "in turn", "two tasks"])
def test_where_workers_die_alone_beside_attempts_are_given_up_and_nobody_waits_for_ever(tmp_path, graph):
    """What a worker had in hand is lost then, as ever; that nothing stands still is what is shown. A cycle that counts
    what goes round in it would wait for what was lost, with checkpoints or without."""
    held = GRAPHS[graph](tmp_path)
    killed = 0
    for seed in range(4):
        survey = Survey(simulate_once(Case(held), seed).counts)
        faults = draw_faults(Random(seed), survey, ("kill", "raise", "late"))
        result = simulate_once(Case(held), seed, faults)
        assert result.violations == (), seed
        assert result.outcome == "done", seed
        killed += result.injected["kill"] + result.injected["raise"]
    assert killed
