"""A finite graph ends by itself, with every message processed once and nothing left behind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.runs.running import Home, graph_text, line_graph

pytestmark = pytest.mark.real_time
COUNT = 500


def test_a_finite_graph_ends_by_itself_and_leaves_nothing_behind(home: Home):
    running = home.start(line_graph({"run": "doubler"}, source={"count": COUNT}))
    assert running.wait() == 0, running.story()
    assert running.received() == [2 * number for number in range(COUNT)]
    for edge, count in running.ledger().items():
        assert (count.sent, count.received, count.dropped, count.unsettled) == (COUNT, COUNT, 0, 0), edge
    assert "done after" in running.output.splitlines()[0]
    assert str(running.run.path) in running.output
    assert "first cause" not in running.output
    assert running.run.about()["outcome"] == "done"
    assert running.run.owner() is None
    running.assert_nothing_left()


def test_nodes_of_any_message_pass_it_from_process_to_process(home: Home):
    nodes = {"source": {"run": "source", "count": COUNT}, "sink": {"run": "sink"}}
    relays = {name: {"run": "relay"} for name in ("near", "far")}
    edges = {"source.numbers": "near.items", "near.passed": "far.items", "far.passed": "sink.numbers"}
    running = home.start(graph_text(nodes | relays, edges, {"making": ["source", "near"]}))
    assert running.wait() == 0, running.story()
    assert running.received() == list(range(COUNT))


def test_every_question_of_two_replicas_is_answered_once(home: Home):
    text = graph_text(
        {
            "source": {"run": "source", "count": COUNT},
            "asker": {"run": "asker", "replicas": 2},
            "server": {"run": "server"},
            "sink": {"run": "sink"},
        },
        {"source.numbers": "asker.numbers", "asker.twice": "server.requests", "asker.doubled": "sink.numbers"},
        {"making": ["source", "asker"]},
    )
    running = home.start(text)
    assert running.wait() == 0, running.story()
    assert sorted(running.received()) == [2 * number for number in range(COUNT)]
    assert all(count.sent == count.received == COUNT for count in running.ledger().values()), running.ledger()


def test_a_goal_ends_a_run_that_says_which_it_was_and_drains_first(home: Home):
    running = home.start(line_graph(until={"arrived": 100}))
    assert running.wait() == 0, running.story()
    assert running.output.splitlines()[-1] == "ended because: arrived reached 100"
    counts = running.ledger()["source.numbers->sink.numbers"]
    assert counts.sent == counts.received == len(running.received()) >= 100
    assert running.checkpoints()


def test_a_worker_without_models_never_loads_torch(home: Home):
    running = home.start(line_graph(source={"pause_ms": 5}))
    running.until_arrived(3)
    for pid in home.processes():
        assert "libtorch" not in Path(f"/proc/{pid}/maps").read_text()
    running.process.terminate()
    assert running.wait() == 0
    about = json.loads(running.run.about_file.read_text())
    assert about["outcome"] == "stopped"


def test_nobody_waits_for_a_node_that_has_ended(home: Home):
    """What is sent to it is dropped and counted, so a run that drains ends."""
    text = graph_text(
        {"source": {"run": "source", "count": 300}, "taster": {"run": "taster"}}, {"source.numbers": "taster.numbers"}
    )
    running = home.start(text)
    assert running.wait() == 0, running.story()
    (count,) = running.ledger().values()
    assert (count.sent, count.received, count.dropped) == (300, 10, 290)
