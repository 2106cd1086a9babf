"""What a resumed or repeated run does otherwise is said by node, with the reason."""

from __future__ import annotations

import pytest

from flow.graph import load_graph
from flow.graph.cuts import not_as_before, not_determined

GENERAL = "tests.runs.nodes_for_runs"
CUT = "tests.flow.testing.simulation.cut_nodes"


def load(tmp_path, text):
    path = tmp_path / "graph.toml"
    path.write_text('title = "cut"\n' + text)
    return load_graph(path)


def test_a_streamed_pipeline_is_determined_but_for_who_reads_published_values():
    graph = load_graph("graphs/digits.toml")
    assert not_as_before(graph) == {}
    assert not_determined(graph) == {"evaluator": "which published value it finds is a matter of time"}


def test_an_emulator_says_why_it_cannot_go_on_and_so_does_whoever_depends_on_it():
    graph = load_graph("graphs/cartpole.toml")
    weaker = not_as_before(graph)
    assert weaker["actor"] == "an environment's state cannot be saved in general: it begins new episodes"
    assert "learner" not in weaker
    assert not_determined(graph)["learner"] == "it depends on replay"


def test_a_source_that_keeps_no_position_sends_everything_again(tmp_path):
    path = tmp_path / "forgetful.py"
    path.write_text(
        "from flow import Message, Out, node\n\n\n"
        'class Tick(Message):\n    """One."""\n\n    number: int\n\n\n'
        '@node\nasync def forgetful(ticks: Out[Tick]) -> None:\n    """Send one."""\n    await ticks.send(Tick(1))\n'
    )
    graph = load(
        tmp_path,
        '[nodes.source]\nrun = "forgetful.py:forgetful"\n[nodes.sink]\nrun = "nodes.sink.recording:write"\n'
        '[edges]\n"source.ticks" = "sink.items"\n',
    )
    assert not_as_before(graph) == {"source": "it keeps nothing of how far it is, and sends everything again"}


FAN_IN = f"""
[nodes.one]
run = "{CUT}:numbers"
[nodes.two]
run = "{CUT}:numbers"
[nodes.sink]
run = "{CUT}:collect"
[edges]
"one.out" = "sink.items"
"two.out" = "sink.items"
"""
SHARED = f"""
[nodes.one]
run = "{CUT}:numbers"
[nodes.way]
run = "{CUT}:hop"
[nodes.sink]
run = "{CUT}:collect"
replicas = 2
[edges]
"one.out" = "way.items"
"way.out" = {{ to = "sink.items", mode = "MODE" }}
"""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (FAN_IN, {"sink": "messages of 2 senders come in the order of their arrival"}),
        (
            SHARED.replace("MODE", "share"),
            {"sink": "which of the messages of way.out come here depends on who has room"},
        ),
        (SHARED.replace("MODE", "copy"), {}),
    ],
)
def test_streams_are_ordered_but_for_several_senders_and_shared_ones(tmp_path, text, expected):
    graph = load(tmp_path, text)
    assert not_as_before(graph) == {}
    assert not_determined(graph) == expected


def test_a_server_is_not_determined_and_neither_is_who_asks_it(tmp_path):
    graph = load(
        tmp_path,
        f'[nodes.source]\nrun = "{GENERAL}:source"\n[nodes.asker]\nrun = "{GENERAL}:asker"\n'
        f'[nodes.server]\nrun = "{GENERAL}:server"\n[nodes.sink]\nrun = "{GENERAL}:sink"\n'
        '[edges]\n"source.numbers" = "asker.numbers"\n"asker.twice" = "server.requests"\n'
        '"asker.doubled" = "sink.numbers"\n',
    )
    assert not_determined(graph) == {
        "server": "which questions come together is a matter of time",
        "asker": "it depends on server",
        "sink": "it depends on asker",
    }
