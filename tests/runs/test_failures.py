"""A node that fails is started again, with what waited for it still there; too often, and the run says why it ended."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time

import pytest

from flow.logs import last_events
from tests.runs.running import Home, Running, line_graph

pytestmark = pytest.mark.real_time


def trouble(**settings: object) -> dict[str, object]:
    return {"run": "trouble", **settings}


def test_a_node_that_raises_is_started_again_and_only_the_message_in_its_hand_is_lost(home: Home):
    running = home.start(line_graph(trouble(fault="raise", at=20, starts=3), source={"count": 80}))
    assert running.wait() == 0, running.story()
    assert running.received() == [number for number in range(80) if number not in (19, 39, 59)]
    assert all(count.sent == count.received for count in running.ledger().values()), running.ledger()
    assert "restarts: step0.0 3" in running.output
    assert running.log("making") == ""
    assert "number 19 is too much" in running.log("main")
    assert "tests/runs/nodes_for_runs.py" in running.log("main")


def without_line(text):
    """A place in a file without the number of its line."""
    return re.sub(r"\.py:\d+\)", ".py:N)", text)


def test_a_node_that_raises_a_fourth_time_ends_the_run_with_its_first_cause_on_the_last_line(home: Home):
    running = home.start(line_graph(trouble(fault="raise", at=20), source={"pause_ms": 1}))
    assert running.wait() == 1, running.story()
    assert without_line(running.output.splitlines()[-1]) == (
        "first cause: step0-0 died 4 times within 60 s, at first of this: "
        "node step0-0: ValueError: number 19 is too much (nodes_for_runs.py:N)"
    )
    assert f"with its traceback: {running.run.logs / 'main.log'}" in running.output
    assert '\n      |   File "' in running.output or '\n      File "' in running.output, "a traceback keeps its lines"
    about = running.run.about()
    assert about["outcome"] == "failed"
    assert "number 19 is too much" in about["cause"]
    running.assert_nothing_left()


@pytest.mark.parametrize(
    ("fault", "cause"),
    [
        ("setting", "node step0-0: SettingError: fault='setting' cannot be worked with; use fault='none'"),
        ("missing", "node step0-0: MissingError: /nowhere/pong.bin is not there; run: pip install roms"),
    ],
)
def test_what_starting_again_cannot_mend_ends_the_run_at_once(home: Home, fault: str, cause: str):
    running = home.start(line_graph(trouble(fault=fault)))
    assert running.wait() == 1, running.story()
    assert running.output.splitlines()[-1] == f"first cause: {cause}"
    assert "starting it again" not in running.log()


def test_a_message_of_the_wrong_dtype_is_refused_where_it_was_made(home: Home):
    running = home.start(line_graph(trouble(fault="dtype", at=3), source={"pause_ms": 1}))
    assert running.wait() == 1, running.story()
    assert without_line(running.output.splitlines()[-1]) == (
        "first cause: step0-0 died 4 times within 60 s, at first of this: "
        "node step0-0: MessageError: node step0, port passed: "
        "field values: expected int64 (rows), found dtype float32 (nodes_for_runs.py:N)"
    )


def with_limit(graph: str, worker: str, size: str) -> str:
    return f'{graph}[memory]\n{worker} = "{size}"\n'


GROWING = {"making": ["source"], "growing": ["step0"]}


def test_a_worker_that_takes_more_memory_than_it_may_is_started_again_and_the_run_goes_on(home: Home):
    graph = line_graph(trouble(fault="grow", at=20, starts=1), source={"count": 40}, workers=GROWING)
    running = home.start(with_limit(graph, "growing", "400 MiB"))
    assert running.wait() == 0, running.story()
    got = running.received()
    assert got == sorted(set(got))
    assert got[-1] == 39
    missing = 40 - len(got)  # what it had in hand, and what was under way to it or from it
    assert 1 <= missing <= 1 + sum(count.unsettled for count in running.ledger().values()), running.ledger()
    said = re.search(r"worker growing took ([\d.]+) MiB of memory, its limit is 400 MiB; killed", running.log())
    assert said, running.log()
    assert 400 < float(said[1]) < 1000
    assert "starting it again" in running.log()
    running.assert_nothing_left()


def test_a_worker_that_always_takes_too_much_ends_the_run_and_the_limit_is_its_first_cause(home: Home):
    graph = line_graph(trouble(fault="grow", at=5), source={"pause_ms": 1}, workers=GROWING)
    running = home.start(with_limit(graph, "growing", "0.3 GiB"))
    assert running.wait() == 1, running.story()
    assert re.fullmatch(
        r"first cause: growing died 4 times within 60 s, at first of this: "
        r"worker growing took [\d.]+ MiB of memory, its limit is 307 MiB",
        running.output.splitlines()[-1],
    )


HUNG = """
import sys
from pathlib import Path
from flow.graph.load import load_graph
from flow.launch import launch
from flow.run_directory import RunDirectory
from flow.supervisor import Options
graph = load_graph(sys.argv[1])
run = RunDirectory.create(Path(sys.argv[2]), "small")
sys.exit(launch(graph, run, seed=0, resumed=False, options=Options(stall_s=1.0)))
"""


def test_a_node_that_hangs_is_killed_and_the_log_names_the_line(home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tests.runs.running.FLOW", [sys.executable, "-c", HUNG])
    text = line_graph(
        trouble(fault="hang", at=20, starts=1), source={"count": 100}, workers={"ends": ["source", "sink"]}
    )
    running = Running(home, [home.graph(text), home.path / "runs"])
    assert running.wait() == 0, running.story()
    said = [event for event in running.events() if "hung for" in event["text"]]
    assert len(said) == 1
    assert "nodes_for_runs.py" in said[0]["text"]
    assert "in _fail" in said[0]["text"]
    assert running.received()[-1] == 99
    edge = running.ledger()["source.numbers->step0.numbers"]
    assert 0 < edge.under_way <= edge.unsettled, running.ledger()
    assert json.dumps(said).count("time.sleep") == 0  # it names the line of the node, not of what it called


def test_a_computation_that_never_ends_is_shown_with_its_line_and_nothing_is_killed_for_it(home: Home):
    text = line_graph({"run": "doubler", "hold_s": 60.0}).replace(
        "tests.runs.nodes_for_runs:doubler", "tests.runs.live_nodes:scaler"
    )
    running = home.start(text.replace("step0.doubled", "step0.scaled"), "--stall", "3")
    running.until(lambda: running.counter("made") > 0, "numbers")
    began = time.monotonic()
    (said, *_) = running.until(
        lambda: [event for event in last_events(running.run.logs, most=50) if "has gone on" in event.text],
        "the warning",
    )
    # Its deadline is a third of --stall, 1 s; that it is told takes less than 2 s more.
    assert time.monotonic() - began < 1 + 2
    assert said.node == "step0-0"
    assert "thread compute uses 0% of a core at File" in said.text
    assert "live_nodes.py" in said.text
    assert "in _hold: time.sleep(seconds)" in said.text
    overview = json.loads(home.flow("top", "--once", "--json").stdout)
    (node,) = [each for each in overview["nodes"] if each["node"] == "step0"]
    assert node["state"] == "computing"
    assert node["stuck_s"] > 1
    assert "in _hold: time.sleep(seconds)" in node["last_error"]
    assert overview["bottleneck"].startswith("step0 is at one computation for ")
    time.sleep(3)  # longer than a loop may hang
    assert not [event for event in last_events(running.run.logs, most=50) if "killed" in event.text]
    os.killpg(running.process.pid, signal.SIGKILL)
    running.wait()
    running.until(lambda: not home.processes(), "the workers to go")


def test_a_loop_that_hangs_is_shown_with_its_line_before_it_is_killed(home: Home):
    text = line_graph(trouble(fault="hang", at=20, starts=1), workers={"ends": ["source", "sink"]})
    running = home.start(text, "--stall", "6")
    running.until(lambda: running.counter("made") >= 20, "numbers")
    began = time.monotonic()
    (said,) = running.until(lambda: [each for each in running.events() if "hung for" in each["text"]], "the warning")
    assert time.monotonic() - began < 2 + 2
    assert "in _fail" in said["text"]
    assert "killed" not in said["text"]
    overview = json.loads(home.flow("top", "--once", "--json").stdout)
    (node,) = [each for each in overview["nodes"] if each["node"] == "step0"]
    assert (node["state"], "in _fail" in node["last_error"]) == ("hung", True)
    assert "step0 hangs for" in overview["bottleneck"]
    running.until(lambda: [each for each in running.events() if "; killed" in each["text"]], "the kill")
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0
