"""What holds for every graph file without a mistake, and for every one with a single misspelt name."""

import copy
import tomllib
import xml.etree.ElementTree as ET
from itertools import combinations
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from flow.errors import GraphError
from flow.graph import load_graph, memory_bound, place, write_graph
from flow.graph.draw import draw
from flow.graph.layout import lay_out
from flow.graph.registry import types_in
from flow.graph.schema import graph_schema
from tests import nodes_for_tests
from tests.flow.graph.composed_files import loaded as composed
from tests.flow.graph.composed_files import split, swept
from tests.flow.graph.graph_files import graph_files, text_of

PROFILES = st.sampled_from([None, "tiny"])


def loaded(text, **more):
    with TemporaryDirectory() as directory:
        path = Path(directory) / "graph.toml"
        path.write_text(text, encoding="utf-8")
        return load_graph(path, **more)


@given(graph_files(), PROFILES)
def test_a_graph_that_was_written_loads_equal(raw, profile):
    graph = loaded(text_of(raw), profile=profile)
    assert loaded(write_graph(graph)) == graph


@given(graph_files(), PROFILES)
def test_every_replica_lives_in_one_worker(raw, profile):
    graph = loaded(text_of(raw), profile=profile)
    hosted = [one for those in place(graph).values() for one in those]
    assert sorted(hosted) == sorted((node.name, at) for node in graph.nodes.values() for at in range(node.replicas))


@given(graph_files(), st.integers(1, 8))
def test_more_credit_never_lowers_the_bound(raw, factor):
    more = copy.deepcopy(raw)
    for value in more["edges"].values():
        for edge in value if isinstance(value, list) else [value]:
            if "credit" in edge:
                edge["credit"] *= factor
    assert memory_bound(loaded(text_of(more))) >= memory_bound(loaded(text_of(raw))) > 0


@given(graph_files(), PROFILES)
def test_a_drawing_is_well_formed_and_names_every_node(raw, profile):
    graph = loaded(text_of(raw), profile=profile)
    words = {element.text for element in ET.fromstring(draw(graph)).iter("{http://www.w3.org/2000/svg}text")}
    assert graph.nodes.keys() <= words


@given(graph_files())
def test_boxes_of_a_drawing_do_not_touch_and_lines_end_at_their_ports(raw):
    layout = lay_out(loaded(text_of(raw)))
    for a, b in combinations(layout.boxes, 2):
        apart = a.x + a.width < b.x or b.x + b.width < a.x or a.y + a.height < b.y or b.y + b.height < a.y
        assert apart, (a, b)
    boxes = {box.node: box for box in layout.boxes}
    for route in layout.routes:
        sender, receiver = route.edge.sender, route.edge.receiver
        assert route.points[0] == boxes[sender.node].port(sender.port)
        assert route.points[-1] == boxes[receiver.node].port(receiver.port)
        assert all(0 <= y <= layout.height for _, y in route.points)


def edited(name, data):
    """The name with one letter exchanged, left out or put in."""
    at = data.draw(st.integers(0, len(name) - 1))
    cut = data.draw(st.sampled_from([0, 1]))
    put = data.draw(st.sampled_from(["q", "x"] if cut == 0 else ["q", "x", ""]))
    return name[:at] + put + name[at + cut :]


def renamed(table, old, new):
    return {new if key == old else key: value for key, value in table.items()}


def misspell(raw, where, data):
    """Change one name of the file; returns what it was."""
    if where == "table":
        old = data.draw(st.sampled_from(sorted(raw)))
        changed = renamed(raw, old, edited(old, data))
        raw.clear()
        raw.update(changed)
    elif where == "param":
        node = data.draw(st.sampled_from([name for name, node in raw["nodes"].items() if "lanes" in node]))
        old = "lanes"
        raw["nodes"][node]["lanes"] = f"{{{edited(old, data)}}}"
    elif where == "setting":
        node = data.draw(st.sampled_from(sorted(raw["nodes"])))
        old = data.draw(st.sampled_from([key for key in raw["nodes"][node] if key != "run"] or ["run"]))
        raw["nodes"][node] = renamed(raw["nodes"][node], old, edited(old, data))
    elif where == "type":
        node = data.draw(st.sampled_from(sorted(raw["nodes"])))
        module, _, old = raw["nodes"][node]["run"].partition(":")
        raw["nodes"][node]["run"] = f"{module}:{edited(old, data)}"
    else:
        key = data.draw(st.sampled_from(sorted(raw["edges"])))
        node, _, port = key.partition(".")
        old = node if where == "node" else port
        new = f"{edited(node, data)}.{port}" if where == "node" else f"{node}.{edited(port, data)}"
        raw["edges"] = renamed(raw["edges"], key, new)
    return old


@given(graph_files(), st.sampled_from(["table", "param", "setting", "type", "node", "port"]), st.data())
def test_a_misspelt_name_is_offered_as_it_was(raw, where, data):
    right = copy.deepcopy(raw)
    old = misspell(raw, where, data)
    assume(raw != right and old != "run")
    with pytest.raises(GraphError) as caught:
        loaded(text_of(raw))
    assert any(f"did you mean '{old}'?" in problem for problem in caught.value.problems), str(caught.value)


VALIDATOR = Draft202012Validator(
    graph_schema({found.name: found for found in types_in(nodes_for_tests).values()}),
)


def test_the_schema_is_a_schema():
    Draft202012Validator.check_schema(VALIDATOR.schema)


@given(graph_files())
def test_the_schema_takes_every_good_graph(raw):
    VALIDATOR.validate(raw)


@given(graph_files(), st.sampled_from(["", "nodes", "edges", "report", "profiles"]))
def test_the_schema_refuses_unknown_keys(raw, table):
    key = next(iter(raw["edges"]))
    place_of = {
        "": raw,
        "nodes": next(iter(raw["nodes"].values())),
        "edges": raw["edges"][key] if isinstance(raw["edges"][key], dict) else raw["edges"][key][0],
        "report": raw["report"],
        "profiles": raw["profiles"]["tiny"],
    }
    place_of[table]["unheard"] = 3
    assert not VALIDATOR.is_valid(raw)


def test_the_schema_tells_ranges_defaults_and_docs():
    schema = graph_schema({"actor": nodes_for_tests.actor})
    then = schema["properties"]["nodes"]["additionalProperties"]["allOf"][1]["then"]
    unless_it_extends = schema["allOf"][0]["then"]["properties"]["nodes"]["additionalProperties"]
    assert unless_it_extends["allOf"][0]["then"]["required"] == ["game"]
    assert then["properties"]["lanes"]["anyOf"][0] == {"type": "integer", "minimum": 1, "maximum": 4096}
    assert then["properties"]["lanes"]["default"] == 2
    assert then["properties"]["lanes"]["description"] == "games played at once."


@given(graph_files(), st.data())
def test_the_schema_takes_all_files_of_a_composed_graph_and_what_is_written_of_it(raw, data):
    inner = data.draw(st.lists(st.sampled_from(sorted(raw["nodes"])), unique=True, min_size=1))
    outer, part = split(raw, inner)
    VALIDATOR.validate(outer)
    VALIDATOR.validate(part)
    VALIDATOR.validate({"extends": "base.toml", "remove": ["nodes.a"], "edges": {"a.b": {"mode": "copy"}}})
    VALIDATOR.validate(tomllib.loads(swept({"rate": [0.1, 0.2]}, "per_copy = true")))
    for graph in (composed(outer, part=part), composed(swept({"rate": [0.1, 0.2]}))):
        VALIDATOR.validate(tomllib.loads(write_graph(graph)))


ACTOR = {"run": "tests.nodes_for_tests:actor", "game": "pong"}
GOOD = {"nodes": {"a": ACTOR}, "ports": {"frames": "a.frames", "policy": ["a.policy"]}}


@pytest.mark.parametrize(
    "change",
    [
        {"remove": ["nodes.a"]},
        {"ports": {"frames": 3}},
        {"ports": {"a.b": "a.frames"}},
        {"nodes": {"a": {"graph": "a.toml", "run": "m:f"}}},
        {"nodes": {"a": {"graph": 3}}},
        {"nodes": {"a": {}}},
        {"nodes": {"a": {"run": ACTOR["run"]}}},
        {"nodes": {"a.b": ACTOR}},
        {"sweep": {"s": {"nodes": ["a"]}}},
        {"sweep": {"s": {"nodes": ["a"], "grid": {"x": [1]}, "list": [{"x": 1}]}}},
        {"sweep": {"s": {"nodes": ["a"], "grid": {"x": []}}}},
        {"sweep": {"s": {"nodes": [], "grid": {"x": [1]}}}},
        {"sweep": {"s": {"nodes": ["a"], "list": [{}]}}},
        {"sweep": {"s": {"nodes": ["a"], "list": [{"x": 1}], "per_copies": True}}},
        {"extends": 3},
    ],
)
def test_the_schema_refuses_what_cannot_be_composed(change):
    VALIDATOR.validate(GOOD)
    VALIDATOR.validate({"nodes": {"a": {"graph": "a.toml", "lanes": 3, "profile": "tiny"}}, "edges": {}})
    VALIDATOR.validate({"extends": "base.toml", "nodes": {"a": {"lanes": 3}, "b": {"run": ACTOR["run"]}}})
    VALIDATOR.validate({**GOOD, "sweep": {"s": {"nodes": ["a"], "list": [{"x": 1}]}}})
    assert not VALIDATOR.is_valid({**GOOD, **change})


@given(graph_files(), st.data())
def test_a_frame_is_around_the_nodes_of_an_included_graph_and_no_other(raw, data):
    inner = data.draw(st.lists(st.sampled_from(sorted(raw["nodes"])), unique=True, min_size=1))
    outer, part = split(raw, inner)
    layout = lay_out(composed(outer, part=part))
    (frame,) = layout.frames
    for a, b in combinations(layout.boxes, 2):
        apart = a.x + a.width < b.x or b.x + b.width < a.x or a.y + a.height < b.y or b.y + b.height < a.y
        assert apart, (a, b)
    for box in layout.boxes:
        beside = box.y + box.height < frame.y or frame.y + frame.height < box.y
        within = frame.x < box.x and box.x + box.width < frame.x + frame.width
        within = within and frame.y < box.y and box.y + box.height < frame.y + frame.height
        assert within if box.node.startswith("box.") else beside, (box, frame)


def test_copies_are_drawn_as_one_with_their_number():
    picture = draw(composed(swept({"rate": [0.1, 0.2, 0.3]})))
    words = [element.text for element in ET.fromstring(picture).iter("{http://www.w3.org/2000/svg}text")]
    assert words.count("learner") == 1
    assert words.count("3 copies") == 2
    assert words.count("3 copies ×2") == 1
    assert not [word for word in words if word and "@" in word]
