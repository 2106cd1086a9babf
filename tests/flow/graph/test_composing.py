"""Graphs out of several files mean what one file would say that has all of it written out."""

import copy
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import GraphError
from flow.graph import End, load_graph, memory_bound, place, write_graph
from flow.graph.check import require_closed
from flow.graph.model import without_copy
from tests.flow.graph.composed_files import INNER, OUTER, SWEPT, TYPES, files, loaded, split, swept
from tests.flow.graph.graph_files import graph_files


def called(graph, names):
    """The graph with its nodes called otherwise."""
    end = lambda each: End(names.get(each.node, each.node), each.port)  # noqa: E731
    entry = lambda text: names.get(text.partition("[")[0], text.partition("[")[0]) + text[len(text.partition("[")[0]) :]  # noqa: E731
    return replace(
        graph,
        nodes={names.get(name, name): replace(node, name=names.get(name, name)) for name, node in graph.nodes.items()},
        edges=tuple(replace(edge, sender=end(edge.sender), receiver=end(edge.receiver)) for edge in graph.edges),
        workers={worker: tuple(map(entry, entries)) for worker, entries in graph.workers.items()},
    )


def assert_same(a, b):
    """Equal, whatever the order of nodes and edges."""
    assert a.nodes == b.nodes
    assert set(a.edges) == set(b.edges)
    assert {worker: set(entries) for worker, entries in a.workers.items()} == {
        worker: set(entries) for worker, entries in b.workers.items()
    }
    assert (a.title, a.params, a.until, a.report) == (b.title, b.params, b.until, b.report)


@given(graph_files(), st.data())
def test_a_graph_with_some_of_it_included_is_that_graph_with_longer_names(raw, data):
    inner = data.draw(st.lists(st.sampled_from(sorted(raw["nodes"])), unique=True, min_size=1))
    raw["params"]["hurry"] = 7.0
    outer, part = split(raw, inner)
    if len(inner) == len(raw["nodes"]):
        outer["edges"] = outer["edges"] or {}
    assert_same(loaded(outer, part=part), called(loaded(raw), {name: f"box.{name}" for name in inner}))


@given(graph_files(), st.data())
def test_a_composed_graph_that_was_written_loads_equal(raw, data):
    inner = data.draw(st.lists(st.sampled_from(sorted(raw["nodes"])), unique=True, min_size=1))
    outer, part = split(raw, inner)
    graph = loaded(outer, part=part)
    assert loaded(write_graph(graph)) == graph
    alone = loaded(part)
    assert loaded(write_graph(alone)) == alone
    assert alone.ports.keys() == part["ports"].keys()


@given(graph_files())
def test_a_file_that_extends_another_and_says_nothing_differs_in_nothing(raw):
    assert loaded('extends = "base.toml"\n', base=raw) == loaded(raw)
    assert loaded('extends = "next.toml"\n', next='extends = "base.toml"\n', base=raw) == loaded(raw)


@given(graph_files(), st.integers(1, 64), st.text("ab", max_size=3))
def test_a_file_that_changes_and_takes_away_is_as_if_it_had_never_been_there(raw, lanes, title):
    base = copy.deepcopy(raw)
    base["title"], base["params"]["lanes"], base["params"]["tempo"] = title, lanes, 3
    base["until"]["spared"] = 9
    base["nodes"]["spare"] = {"run": f"{TYPES}source", "lanes": "{lanes}", "size": "{tempo}"}
    base["nodes"]["waste"] = {"run": f"{TYPES}sink", "size": 3}
    base["edges"]["spare.frames"] = {"to": "waste.frames"}
    top = {
        "extends": "base.toml",
        "remove": ["nodes.spare", "nodes.waste", "edges.spare.frames", "until.spared", "params.tempo"],
        "title": raw["title"],
        "params": {"lanes": raw["params"]["lanes"]},
    }
    assert loaded(top, base=base) == loaded(raw)


rates = st.lists(st.floats(1e-6, 1.0).map(lambda rate: float(f"{rate:.3g}")), min_size=1, max_size=4, unique=True)


@given(rates)
def test_each_copy_of_a_sweep_is_the_graph_with_its_values_beside_what_all_share(values):
    graph = loaded(swept({"rate": values}))
    assert len(graph.nodes) == 3 * len(values) + 1
    for rate in values:
        label = f"rate={rate:g}"
        mine = [name for name in graph.nodes if name.endswith(f"@{label}") or name == "store"]
        edges = [edge for edge in graph.edges if {edge.sender.node, edge.receiver.node} <= set(mine)]
        alone = called(
            replace(graph, nodes={name: graph.nodes[name] for name in mine}, edges=tuple(edges)),
            {name: without_copy(name) for name in mine},
        )
        plain = loaded(SWEPT.replace("rate = 0.5", f"rate = {rate!r}"))
        assert (alone.nodes, set(alone.edges)) == (plain.nodes, set(plain.edges))
    # what is left ties copies to the shared node alone
    assert len(graph.edges) == 4 * len(values)
    assert loaded(write_graph(graph)) == graph


def test_a_worker_hosts_all_copies_of_what_it_names_or_one_where_each_copy_has_its_own():
    axes = {"rate": [0.1, 0.2]}
    shared, own = loaded(swept(axes)), loaded(swept(axes, "per_copy = true"))
    assert place(shared) == {
        "play": [("actor@rate=0.1", 0), ("actor@rate=0.2", 0), ("policy@rate=0.1", 0), ("policy@rate=0.2", 0),
                 ("store", 0)],
        "main": [("actor@rate=0.1", 1), ("actor@rate=0.2", 1), ("learner@rate=0.1", 0), ("learner@rate=0.2", 0)],
    }  # fmt: skip
    assert place(own) == {
        "play": [("store", 0)],
        "play@0": [("actor@rate=0.1", 0), ("policy@rate=0.1", 0)],
        "main@0": [("actor@rate=0.1", 1), ("learner@rate=0.1", 0)],
        "play@1": [("actor@rate=0.2", 0), ("policy@rate=0.2", 0)],
        "main@1": [("actor@rate=0.2", 1), ("learner@rate=0.2", 0)],
    }


def test_a_grid_has_a_copy_for_each_pair_and_a_list_for_each_table():
    grid = loaded(swept({"rate": [0.1, 0.2], "lanes": [2]}))
    listed = loaded(
        swept({"rate": [1]}).replace("grid = { rate = [1] }", "list = [{ rate = 0.1 }, { lanes = 2, rate = 1 }]")
    )
    names = [name for name in grid.nodes if name.startswith("learner")]
    assert names == ["learner@rate=0.1,lanes=2", "learner@rate=0.2,lanes=2"]
    assert [name for name in listed.nodes if name.startswith("learner")] == [
        "learner@rate=0.1",
        "learner@lanes=2,rate=1",
    ]


def test_workers_come_along_less_what_the_including_graph_places_and_goals_do_not():
    graph = loaded(OUTER, inner=INNER)
    assert graph.workers == {"agent.play": ("agent.actor", "agent.policy")}
    assert graph.until == {}
    placed = loaded(f'{OUTER}\n[workers]\nmine = ["learner", "agent.policy"]\n', inner=INNER)
    assert placed.workers == {"mine": ("learner", "agent.policy"), "agent.play": ("agent.actor",)}
    whole = loaded(f'{OUTER}\n[workers]\nmine = ["agent"]\n', inner=INNER)
    assert whole.workers == {"mine": ("agent.actor", "agent.policy")}


def test_an_included_graph_takes_its_profile_and_params_over_the_profile():
    assert loaded(OUTER, inner=INNER).nodes["agent.actor"].settings["lanes"] == 64
    given = loaded(OUTER.replace('profile = "wide"', 'profile = "wide"\nlanes = 5'), inner=INNER)
    assert given.nodes["agent.actor"].settings["lanes"] == 5


def test_a_graph_within_a_graph_within_a_sweep_is_named_by_the_way_to_it_and_its_values_last():
    sweep = f'{OUTER}\n[sweep.rates]\nnodes = ["agent", "learner"]\ngrid = {{ rate = [0.1, 0.2] }}\n'
    middle = sweep.replace('profile = "wide"', 'lanes = "{lanes}"').replace("[params]", "[params]\nlanes = 2")
    sweep_inner = middle.replace("grid = { rate = [0.1, 0.2] }", "grid = { rate = [0.1], lanes = [3, 4] }")
    outer = '[params]\n[nodes.team]\ngraph = "middle.toml"\n[edges]\n'
    graph = loaded(outer, middle=sweep_inner, inner=INNER)
    assert list(graph.nodes) == [
        "team.agent.actor@rate=0.1,lanes=3", "team.agent.policy@rate=0.1,lanes=3",
        "team.agent.actor@rate=0.1,lanes=4", "team.agent.policy@rate=0.1,lanes=4",
        "team.learner@rate=0.1,lanes=3", "team.learner@rate=0.1,lanes=4",
    ]  # fmt: skip
    assert graph.workers == {"team.agent.play": tuple(name for name in graph.nodes if "agent" in name)}
    assert graph.nodes["team.agent.actor@rate=0.1,lanes=4"].settings["lanes"] == 4


def test_a_port_that_is_tied_within_may_be_left_open_too_and_then_its_edges_say_a_mode():
    tied = INNER.replace(
        '[edges]', f'[nodes.sink]\nrun = "{TYPES}sink"\nlanes = "{{lanes}}"\n[edges]\n"actor.frames" = "sink.frames"'
    )  # fmt: skip
    with pytest.raises(GraphError, match="it has 2 receivers; say whether"):
        loaded(OUTER, inner=tied)
    copying = tied.replace('"sink.frames"', '{ to = "sink.frames", mode = "copy" }')
    graph = loaded(OUTER.replace('"learner.frames"', '{ to = "learner.frames", mode = "copy" }'), inner=copying)
    assert {str(edge.receiver) for edge in graph.edges if edge.sender.port == "frames"} == {
        "agent.sink.frames",
        "learner.frames",
    }
    alone = f'[nodes.agent]\ngraph = "inner.toml"\n[nodes.weights]\nrun = "{TYPES}publisher"\n[edges]\n'
    loaded(f'{alone}"weights.weights" = "agent.weights"\n', inner=copying)  # frames need no edge from outside


def test_paths_are_relative_to_the_file_in_which_they_stand():
    with files(main='extends = "deep/base.toml"\n') as folder:
        (folder / "deep").mkdir()
        (folder / "deep" / "base.toml").write_text(OUTER)
        (folder / "deep" / "inner.toml").write_text(INNER)
        assert "agent.actor" in load_graph(folder / "main.toml").nodes


def test_a_graph_with_open_ports_is_right_and_does_not_run():
    graph = loaded(INNER)
    assert graph.ports == {"frames": (End("actor", "frames"),), "weights": (End("policy", "weights"),)}
    with pytest.raises(GraphError, match="leaves frames, weights open, so it is a part of other graphs"):
        require_closed(graph)
    require_closed(loaded(OUTER, inner=INNER))


def test_names_that_files_and_counters_have_no_room_for_are_refused():
    long = "a" * 99
    with pytest.raises(GraphError, match="is longer than 100 bytes; give it a shorter name"):
        loaded(OUTER.replace("nodes.agent", f"nodes.{long}").replace("agent.", f"{long}."), inner=INNER)
    wide = "b" * 95
    text = OUTER.replace("nodes.learner", f"nodes.{wide}").replace("learner.", f"{wide}.")
    loaded(text, inner=INNER)
    with pytest.raises(GraphError, match="is longer than 50 bytes, which the path of its socket has no room for"):
        loaded(f'{OUTER}\n[workers]\n{"w" * 51} = ["learner"]\n', inner=INNER)


WORDY = """
from flow import In, Message, Out, node
class Word(Message):
    number: int
@node
async def say(a_port_whose_name_is_rather_long: Out[Word]) -> None: ...
@node
async def hear(a_port_whose_name_is_rather_long: In[Word]) -> None: ...
"""


def test_an_edge_whose_name_counters_have_no_room_for_is_refused():
    a, b, port = "a" * 80, "b" * 80, "a_port_whose_name_is_rather_long"
    text = f"""
    [nodes.{a}]
    run = "wordy.py:say"
    [nodes.{b}]
    run = "wordy.py:hear"
    [edges]
    "{a}.{port}" = "{b}.{port}"
    """
    with files(main=text) as folder:
        (folder / "wordy.py").write_text(WORDY)
        with pytest.raises(GraphError, match="is longer than 224 bytes; give its nodes, or what they are swept over"):
            load_graph(folder / "main.toml")


def test_more_copies_than_a_shared_node_can_count_the_edges_of_are_refused():
    loaded(swept({"rate": [rate / 1000 for rate in range(1, 151)]}))
    with pytest.raises(
        GraphError, match=r"nodes.store: it has 151 edges .* counts at most 150; sweep over fewer values"
    ):
        loaded(swept({"rate": [rate / 1000 for rate in range(1, 152)]}))


PASSING = """
[nodes.near]
run = "tests.runs.nodes_for_runs:relay"
[nodes.far]
run = "tests.runs.nodes_for_runs:relay"
[edges]
"near.passed" = { to = "far.items", credit_bytes = 1000 }
[ports]
items = "near.items"
passed = "far.passed"
"""


def test_what_a_part_passes_on_may_be_anything_until_something_is_tied_to_it():
    part = loaded(PASSING)
    assert memory_bound(part) == 1000
    outer = """
    [nodes.source]
    run = "tests.runs.nodes_for_runs:source"
    [nodes.part]
    graph = "part.toml"
    [nodes.sink]
    run = "tests.runs.nodes_for_runs:sink"
    [edges]
    "source.numbers" = "part.items"
    "part.passed" = "sink.numbers"
    """
    graph = loaded(outer, part=PASSING)
    assert str(graph.port(End("part.far", "passed"))) == "Out[Number]"
    assert loaded(write_graph(graph)) == graph
