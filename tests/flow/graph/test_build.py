"""A graph built in Python is the graph of the file that it writes."""

import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given

import flow
from flow.errors import GraphError, NodeTypeError
from flow.graph import load_graph
from flow.node_type import node
from tests import nodes_for_tests
from tests.flow.graph.composed_files import INNER
from tests.flow.graph.graph_files import graph_files, text_of


def built(raw):
    """The graph of a raw file, built call by call; params are filled in."""
    params = raw["params"]
    filled = lambda value: params[value[1:-1]] if isinstance(value, str) and value in ("{lanes}", "{hurry}") else value  # noqa: E731
    graph = flow.Graph(title=raw["title"])
    handles = {}
    for name, table in raw["nodes"].items():
        settings = {key: filled(value) for key, value in table.items() if key != "run"}
        handles[name] = graph.add(name, getattr(nodes_for_tests, table["run"].partition(":")[2]), **settings)
    for key, value in raw["edges"].items():
        sender, _, port = key.partition(".")
        for edge in value if isinstance(value, list) else [value]:
            to, _, other = edge["to"].partition(".")
            more = {name: each for name, each in edge.items() if name != "to"}
            graph.connect(getattr(handles[sender], port), getattr(handles[to], other), **more)
    graph.workers(**raw["workers"])
    graph.until(**{name: filled(value) for name, value in raw["until"].items()})
    graph.report(**raw["report"])
    return graph


def loaded(text):
    with TemporaryDirectory() as directory:
        path = Path(directory) / "graph.toml"
        path.write_text(text, encoding="utf-8")
        return load_graph(path)


@given(graph_files())
def test_a_built_graph_equals_the_file_it_writes_and_the_file_that_says_the_same(raw):
    graph = built(raw)
    checked, read = graph.check(), loaded(text_of(raw))
    assert loaded(graph.to_toml()) == checked
    assert (checked.nodes, checked.edges, checked.workers) == (read.nodes, read.edges, read.workers)
    assert (checked.title, checked.until, checked.report) == (read.title, read.until, read.report)


@pytest.fixture
def part(tmp_path):
    path = tmp_path / "inner.toml"
    path.write_text(INNER)
    return path


def test_an_included_graph_is_a_node_with_its_open_ports(part, tmp_path):
    graph = flow.Graph()
    agent = graph.include("agent", part, lanes=3)
    learner = graph.add("learner", nodes_for_tests.learner)
    graph.connect(agent.frames, learner.frames)
    graph.connect(learner.weights, agent.weights)
    graph.workers(mine=[learner, "agent.policy"])
    checked = graph.check()
    assert checked.nodes["agent.actor"].settings["lanes"] == 3
    assert checked.workers == {"mine": ("learner", "agent.policy"), "agent.play": ("agent.actor",)}
    (tmp_path / "below").mkdir()
    graph.write(tmp_path / "below" / "outer.toml")
    assert 'graph = "../inner.toml"' in (tmp_path / "below" / "outer.toml").read_text()
    assert load_graph(tmp_path / "below" / "outer.toml") == checked == loaded(graph.to_toml())
    assert dir(agent) == ["frames", "name", "weights"]
    with pytest.raises(
        AttributeError, match=r"node 'agent' \(.*inner.toml\) has no port 'frame'; did you mean 'frames'"
    ):
        agent.frame  # noqa: B018


def test_ports_are_attributes_and_a_wrong_one_names_the_nearest():
    graph = flow.Graph()
    actor = graph.add("actor", "tests.nodes_for_tests:actor", replicas=2, game="pong")
    assert (str(actor.frames), actor[1]) == ("actor.frames", "actor[1]")
    assert actor["frames"] == actor.frames
    assert (
        repr(actor) == "<node actor, tests.nodes_for_tests:actor: policy: Call[Question, Answer], frames: Out[Frames]>"
    )
    with pytest.raises(AttributeError, match="has no port 'framez'; did you mean 'frames'"):
        actor.framez  # noqa: B018


def test_several_receivers_share_a_mode_and_replicas_can_be_placed_apart():
    graph = flow.Graph("two")
    source = graph.add("source", nodes_for_tests.source, replicas=2)
    sinks = [graph.add(f"sink{at}", nodes_for_tests.sink) for at in range(2)]
    graph.connect(source.frames, *(sink.frames for sink in sinks), mode="copy", credit=3)
    graph.workers(one=[source[0]], two=[source[1], *sinks])
    checked = graph.check()
    assert [(edge.mode, edge.credit) for edge in checked.edges] == [("copy", 3)] * 2
    assert checked.workers == {"one": ("source[0]",), "two": ("source[1]", "sink0", "sink1")}


def test_an_open_port_is_an_error_like_that_of_a_file():
    graph = flow.Graph("lone")
    graph.add("source", nodes_for_tests.source)
    with pytest.raises(GraphError) as caught:
        graph.run()
    assert caught.value.problems == [
        "Graph('lone'), edges, \"source.frames\": this port, Out[Frames], has no edge; no In of another node fits it; "
        "add a node that has one"
    ]


def test_braces_in_a_text_are_but_braces():
    graph = flow.Graph("{not a param}")
    actor = graph.add("actor", nodes_for_tests.actor, game="{game}")
    policy, learner = graph.add("policy", nodes_for_tests.policy), graph.add("learner", nodes_for_tests.learner)
    graph.connect(actor.policy, policy.requests)
    graph.connect(actor.frames, learner.frames)
    graph.connect(learner.weights, policy.weights)
    checked = graph.check()
    assert (checked.title, checked.nodes["actor"].settings["game"]) == ("{not a param}", "{game}")
    assert loaded(graph.to_toml()) == checked


def test_wrong_calls_say_what_to_do():
    graph, other = flow.Graph("one"), flow.Graph("other")
    source = graph.add("source", nodes_for_tests.source)
    sink = other.add("sink", nodes_for_tests.sink)
    with pytest.raises(GraphError, match="there is a node 'source' already; give each a name of its own"):
        graph.add("source", nodes_for_tests.source)
    with pytest.raises(GraphError, match=r"Graph\('one'\), edges: expected a port of a node that was added here"):
        graph.connect(source.frames, sink.frames)
    with pytest.raises(GraphError, match=r"expected a port of a node that was added here, as in actor.trajectories"):
        graph.connect(source.frames, "sink.frames")
    with pytest.raises(GraphError, match=r"nodes.x, \"run\": 'tests.nodes_for_tests:sorce': .* did you mean 'source'"):
        graph.add("x", "tests.nodes_for_tests:sorce")
    with pytest.raises(GraphError, match="cannot be read: No such file"):
        graph.include("part", "nowhere.toml")


def test_a_type_that_workers_cannot_import_is_refused_with_the_way_out():
    async def local(frames: flow.Out[nodes_for_tests.Frames]) -> None: ...

    with pytest.raises(NodeTypeError, match="is defined inside of a function; put it at the top of its module"):
        flow.Graph().add("x", node(local))
    program = (
        "import flow\nfrom tests.nodes_for_tests import Frames\n"
        "@flow.node\nasync def mine(frames: flow.Out[Frames]) -> None: ...\n"
        "try:\n    flow.Graph().add('x', mine)\nexcept flow.errors.NodeTypeError as error:\n    print(error)\n"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told == (
        "mine is defined in the program that runs now, which workers cannot import; put it in a file of its own and "
        'import it from there, or write "that_file.py:mine"\n'
    )
