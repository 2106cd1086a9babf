"""`flow top` against real runs: live, killed and ended."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import pytest

from flow.inspect.overview import Look
from flow.run_directory import RunDirectory
from flow.stats import Page
from tests.runs.running import Home, line_graph

pytestmark = pytest.mark.real_time


def test_the_slow_node_of_a_live_run_is_named_and_all_figures_add_up(home: Home):
    running = home.start(line_graph({"run": "doubler"}, {"run": "doubler", "pause_ms": 20}))
    running.until_arrived(60)
    told = home.flow("top", "--once", "--json")
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert (found["run"], found["state"], found["bottleneck_node"]) == (running.run.name, "running", "step1")
    nodes = {node["node"]: node for node in found["nodes"]}
    for node in nodes.values():
        assert node["busy"] + node["starved"] + node["blocked"] + node["paused"] == pytest.approx(1)
    assert nodes["step1"]["busy"] > 0.8 > 0.2 > nodes["sink"]["busy"]
    assert nodes["source"]["blocked"] > 0.5 < nodes["sink"]["starved"]
    assert 19 < nodes["step1"]["handling_p50_ms"] < 60
    edge = next(edge for edge in found["edges"] if edge["receiver"] == "step1.numbers")
    assert (edge["credit"], edge["kind"]) == (8, "stream")
    assert 1 <= edge["depth"] <= 9
    assert 10 < edge["rate"] < 60
    assert found["workers"][0]["memory"] > 10e6
    text = home.flow("top", "--once").stdout
    assert "bottleneck  step1 is the bottleneck: busy" in text
    assert "source.numbers -> step0.numbers" in text

    os.killpg(running.process.pid, signal.SIGKILL)
    running.wait()
    running.until(lambda: not home.processes(), "the workers to go")
    dead = json.loads(home.flow("top", running.run.path, "--once", "--json").stdout)
    assert (dead["state"], dead["bottleneck_node"]) == ("died", "step1")
    assert {node["state"] for node in dead["nodes"]} == {"ended by a kill"}


def test_batches_answers_restarts_and_errors_are_told(home: Home):
    fault = {"run": "trouble", "fault": "raise", "at": 50, "starts": 1}
    server = '[nodes.server]\nrun = "tests.runs.nodes_for_runs:server"\n[edges]\n"step1.twice" = "server.requests"'
    text = line_graph(fault, {"run": "asker"}, source={"pause_ms": 1}).replace("[edges]", server)
    running = home.start(text)
    running.until_arrived(120)
    nodes = {node.node: node for node in Look(running.run).now().nodes}
    assert (nodes["server"].batch_p50, nodes["server"].batch_max) == (1, 1)
    assert nodes["step1"].answer_p50_ms > 0
    assert nodes["step0"].restarts == 1
    assert "number 49 is too much" in nodes["step0"].last_error
    running.process.send_signal(signal.SIGINT)
    running.wait()
    ended = Look(running.run).now()
    assert (ended.state, {node.state for node in ended.nodes}) == ("stopped", {"ended"})


def test_a_loop_that_does_not_turn_is_said_to_hang(home: Home):
    running = home.start(line_graph({"run": "trouble", "fault": "hang", "at": 5}), "--stall", "6")

    def hung():
        overview = Look(running.run).now()
        return {node.state for node in overview.nodes if node.worker == "main"} == {"hung"} and overview

    # Shown after a third of what it takes to be killed.
    overview = running.until(hung, "the hang to be shown")
    assert "hangs for" in overview.bottleneck
    running.process.send_signal(signal.SIGINT)
    running.process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    running.process.send_signal(signal.SIGINT)
    running.wait()


def test_looking_needs_no_numpy_no_trio_no_rich_and_no_torch(home: Home):
    running = home.start(line_graph(source={"count": 5}))
    running.wait()
    code = (
        "import sys; from flow.cli.main import main; main(['top', sys.argv[1], '--once', '--json']); "
        "print(*sorted({name.partition('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, str(running.run.path)]
    told = subprocess.run(command, env=home.environment, capture_output=True, text=True, check=True)
    assert not {"numpy", "trio", "rich", "torch", "zmq"} & set(told.stderr.split())
    assert json.loads(told.stdout)["state"] == "done"


def test_a_page_that_is_none_and_a_run_that_never_began_do_no_harm(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOW_STATE_HOME", str(tmp_path / "home"))
    run = RunDirectory.create(tmp_path, "empty")
    Page.open(run.page_file("a"), node="a")
    (run.state / "b-0.page").write_bytes(b"garbage")
    overview = Look(run).now()
    assert overview.state == "not started"
    assert "not a page of counters" in overview.problems[0]
    assert overview.bottleneck == "no node has run for long enough to tell"
