"""Graph files as they are read."""

from pathlib import Path

import pytest

from flow.errors import GraphError
from flow.graph import load_graph, place, write_graph
from flow.graph.bound import check_memory, edge_bound, memory_bound, readable

GOOD = Path("tests/good_graph.toml")


@pytest.mark.parametrize("profile", [None, "tiny"])
def test_what_was_written_loads_equal(tmp_path, profile):
    graph = load_graph(GOOD, profile=profile, sets=["game={'"])
    written = tmp_path / "graph.toml"
    written.write_text(write_graph(graph))
    again = load_graph(written)
    assert again == graph
    assert write_graph(again) == write_graph(graph)


def test_a_profile_wins_over_params_and_a_set_over_the_profile():
    assert load_graph(GOOD).nodes["actor"].settings["lanes"] == 4
    assert load_graph(GOOD, profile="tiny").nodes["actor"].settings["lanes"] == 1
    assert load_graph(GOOD, profile="tiny", sets=["lanes=7"]).nodes["actor"].settings["lanes"] == 7


def test_settings_are_complete_and_typed():
    actor = load_graph(GOOD, sets=["game=007"]).nodes["actor"]
    assert actor.settings == {
        "game": "007", "lanes": 4, "size": 4, "speed": 1.0, "layout": "NHWC", "seeds": None, "shout": False
    }  # fmt: skip


def test_unnamed_nodes_share_a_worker_by_their_need_of_torch():
    assert place(load_graph(GOOD)) == {
        "play": [("actor", 0), ("policy", 0)],
        "main": [("actor", 1), ("learner", 0)],
        "model": [("viewer", 0)],
    }
    assert place(load_graph(GOOD, profile="tiny")) == {
        "main": [("actor", 0), ("policy", 0), ("learner", 0)],
        "model": [("viewer", 0)],
    }


def test_the_bound_is_credit_times_size_where_that_is_less():
    graph = load_graph(GOOD)
    call, copied, viewed, published = graph.edges
    message = 4 * 4 * 4 + 4 * 4  # frames and rewards of 4 lanes
    assert edge_bound(graph, copied) == 2 * 4 * message
    assert edge_bound(graph, viewed) == 2 * 8 * message
    assert edge_bound(graph, call) == 2 * 64 * 1024**2  # rows are known to neither end
    assert edge_bound(graph, published) == 64 * 1024**2
    assert memory_bound(graph) == sum(edge_bound(graph, edge) for edge in graph.edges)


def test_a_graph_over_the_machines_memory_is_refused():
    graph = load_graph(GOOD)
    check_memory(graph, memory_bound(graph))
    with pytest.raises(GraphError) as caught:
        check_memory(graph, memory_bound(graph) - 1)
    assert str(caught.value) == (
        'tests/good_graph.toml, edges, "actor.policy" -> "policy.requests": the edges can hold 192 MiB, '
        "this machine has 192 MiB; this edge is the largest with 128 MiB over 2 pairs of replicas; "
        "give it a smaller credit or credit_bytes"
    )


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (1536, "1.5 KiB"), (3 * 1024**3, "3 GiB"), (1024**5, "1024 TiB")]
)
def test_sizes_are_readable(size, text):
    assert readable(size) == text


@pytest.mark.parametrize(
    ("sets", "text"),
    [
        (["lanes"], '"lanes": expected key=value, as in --set lanes=…'),
        (["lane=3"], "\"lane\": there is no param 'lane'; did you mean 'lanes'?"),
        (["lanes=3", "lanes=4"], '"lanes": is set twice, to 3 and to 4; leave one'),
        (["lanes=many"], "\"lanes\": expected a whole number, found 'many', as [params] has lanes = 4"),
    ],
)
def test_a_wrong_set_is_told(sets, text):
    with pytest.raises(GraphError) as caught:
        load_graph(GOOD, sets=sets)
    assert caught.value.problems == [f"tests/good_graph.toml, --set, {text}"]


def test_an_unknown_profile_offers_the_nearest():
    with pytest.raises(GraphError) as caught:
        load_graph(GOOD, profile="tinny")
    assert caught.value.problems == [
        "tests/good_graph.toml, profiles, \"tinny\": there is no profile 'tinny'; did you mean 'tiny'?"
    ]


def test_a_resolved_graph_takes_no_sets(tmp_path):
    written = tmp_path / "graph.toml"
    written.write_text(write_graph(load_graph(GOOD)))
    with pytest.raises(GraphError, match="this file is resolved"):
        load_graph(written, sets=["lanes=2"])


def test_a_file_that_is_not_there_offers_the_nearest():
    with pytest.raises(GraphError, match=r"cannot be read: No such file or directory; did you mean 'tests/good_graph"):
        load_graph("tests/god_graph.toml")
