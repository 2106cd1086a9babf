"""What an inspector changes in a real run: it happens, it is acknowledged, it is written down, and it can be undone."""

from __future__ import annotations

import json
import os
import signal
import time

import pytest

from flow.errors import ControlError
from flow.inspect.client import connect
from flow.inspect.session import Session
from flow.inspect.touched import touches
from tests.runs.running import Home, Running, line_graph

pytestmark = pytest.mark.real_time

SCALER = "tests.runs.live_nodes:scaler"


def scaling(home: Home, run: str = SCALER, **settings: object) -> Running:
    """source ──► step0, a scaler ──► sink"""
    text = line_graph({"run": "doubler", **settings}, source={"pause_ms": 2})
    text = text.replace("tests.runs.nodes_for_runs:doubler", run).replace("step0.doubled", "step0.scaled")
    running = home.start(text)
    return running


def ended(running: Running) -> None:
    running.process.send_signal(signal.SIGINT)
    running.wait()


def killed(running: Running) -> None:
    os.killpg(running.process.pid, signal.SIGKILL)
    running.wait()
    running.until(lambda: not running.home.processes(), "the workers to go")


def told(home: Home, *words: str) -> str:
    found = home.flow(*words)
    assert found.returncode == 0, found.stderr
    return found.stdout


def test_a_live_setting_is_checked_acknowledged_written_down_and_lasts(home: Home):
    running = scaling(home)
    running.until_arrived(5)
    answer = json.loads(told(home, "set", "step0.factor", "7", "--json"))
    assert (answer["before"], answer["value"]) == (1, 7)
    running.until(lambda: 7 in running.received(), "a seven")
    # It holds for certain from the message that was named.
    assert set(running.received()[answer["holds_from"] - 1 :]) == {7}
    for value, message in (
        ("12", "step0.factor: expected int from 0 to 9, found 12"),
        ("fast", "step0.factor: expected int from 0 to 9, found 'fast'"),
    ):
        refused = home.flow("set", "step0.factor", value)
        assert (refused.returncode, message in refused.stderr) == (1, True), refused.stderr
    assert (
        "step0.hold_s is fixed while a run goes; step0 can change factor"
        in home.flow("set", "step0.hold_s", "1.0").stderr
    )
    assert "step0 has no setting 'speed'; step0 can change factor" in home.flow("set", "step0.speed", "1").stderr
    assert "has no node 'stop0'; did you mean 'step0'?" in home.flow("set", "stop0.factor", "1").stderr

    told(home, "restart", "step0")
    seen = len(running.received())
    running.until_arrived(seen + 5)
    assert running.received()[-1] == 7
    assert [touch.text for touch in touches(running.run)] == ["factor: 1 -> 7", "restarted"]
    assert "touched 2 times" in told(home, "ps")
    ended(running)
    assert "touched 2 times while it ran, last: step0-0 restarted" in running.output


def test_a_paused_node_is_held_between_two_messages_stepped_and_let_go(home: Home):
    running = scaling(home)
    running.until_arrived(5)
    assert "step0: paused after" in told(home, "pause", "step0")
    count = running.counter("scaled")
    time.sleep(0.3)
    assert running.counter("scaled") == count
    assert "bottleneck  paused: step0" in told(home, "top", "--once")
    assert told(home, "step", "step0", "-n", "3").startswith("step0: 3 of 3 passed")
    time.sleep(0.2)
    assert running.counter("scaled") == count + 3
    assert "step0: goes on after" in told(home, "resume")
    assert "none of its nodes was paused" in told(home, "resume")
    running.until(lambda: running.counter("scaled") > count + 20, "more")
    assert "is not paused; pause it first" in home.flow("step", "step0").stderr
    told(home, "pause")
    # A drain lets go of what is held, else it would never end.
    running.process.send_signal(signal.SIGINT)
    assert running.wait(10) == 0
    assert "not drained" not in running.log()
    assert all(count.sent == count.received for count in running.ledger().values())


def test_a_restarted_node_goes_on_from_the_state_it_had_at_rest(home: Home):
    running = scaling(home)
    running.until_arrived(20)
    assert told(home, "restart", "step0").startswith("step0: started again, its restart 1")
    running.until_arrived(len(running.received()) + 5)
    begun = [line for line in running.log("main").splitlines() if "begins after" in line and "step0" in line]
    assert len(begun) == 2
    assert int(begun[1].split()[-1]) >= 20
    ended(running)
    made = running.counter("made")
    assert running.counter("scaled") == made == len(running.received())


def test_what_never_rests_is_restarted_only_without_its_state(home: Home):
    running = scaling(home, run="tests.runs.live_nodes:sleeper")
    running.until(lambda: running.counter("made") > 5, "numbers")
    stack = told(home, "stack", "step0")
    assert "in sleeper: await trio.sleep_forever()" in stack
    refused = home.flow("restart", "step0")
    assert "did not come to the end of its message within 5 s" in refused.stderr
    assert "its restart 1" in told(home, "restart", "step0", "--lose-state")
    killed(running)
    refused = home.flow("pause")
    assert "is over; what it left can be read: flow top" in refused.stderr


def test_threads_and_loops_that_hold_a_node_up_are_shown_with_file_and_line(home: Home):
    running = scaling(home, hold_s=60.0)
    running.until(lambda: running.counter("made") > 5, "numbers")
    stack = told(home, "stack", "step0")
    assert "thread step0-0 compute" in stack
    assert "in _hold: time.sleep(seconds)" in stack
    killed(running)
    hung = home.start(line_graph({"run": "trouble", "fault": "hang", "at": 2}))
    hung.until(lambda: hung.counter("made") >= 8, "the source to be blocked")
    began = time.monotonic()
    stack = told(home, "stack", "step0")
    assert time.monotonic() - began < 5
    assert "does not say hello within 1 s: its loop is held up" in stack
    assert "nodes_for_runs.py" in stack
    assert "in _fail" in stack
    killed(hung)


def test_a_tap_shows_what_passes_and_a_stopped_reader_delays_nobody(home: Home):
    running = scaling(home)
    running.until_arrived(5)
    found = [json.loads(line) for line in told(home, "tap", "step0.scaled", "-n", "2", "--json").splitlines()]
    assert [sample["number"] for sample in found] == [0, 1]
    assert (found[0]["type"], found[0]["fields"]["values"]["mean"]) == ("Number", 1)
    text = told(home, "tap", "source.numbers", "-n", "1", "--save", str(home.path / "saved"))
    assert "values  int64    (1)" in text
    assert (home.path / "saved" / "source.numbers-000000-values.npy").exists()
    assert "step0 has no port 'scald'; it has numbers, scaled" in home.flow("tap", "step0.scald").stderr
    # Two clients that never read, one of which is then gone without a word.
    sessions = [Session(running.run) for _ in range(2)]
    for session in sessions:
        (replica,) = session.replicas("step0")
        session.ask(replica, "open_tap", port="scaled")
    before = len(running.received())
    running.until_arrived(before + 100)
    sessions[0].close()
    running.until_arrived(before + 200)
    sessions[1].close()
    running.until_arrived(before + 250)
    ended(running)


def test_queues_settings_checkpoints_and_ends_can_be_asked_for(home: Home):
    running = scaling(home)
    running.until_arrived(5)
    with Session(running.run) as session:
        (step,) = session.replicas("step0")
        session.ask(step, "pause")
        time.sleep(0.2)
        peeked = session.ask(step, "peek", port="numbers", count=2)
        assert peeked["depth"] >= 2
        assert [message["type"] for message in peeked["messages"]] == ["Number", "Number"]
        with pytest.raises(ControlError, match=r"nothing waits at step0\.scaled; ports with a queue: numbers"):
            session.ask(step, "peek", port="scaled")
        described = session.ask(step, "describe")
        assert described["paused"]
        (factor,) = [each for each in described["settings"] if each["name"] == "factor"]
        assert (factor["live"], factor["takes"], factor["doc"]) == (
            True,
            "int from 0 to 9",
            "what each is multiplied by.",
        )
        assert session.ask_supervisor("checkpoint")["number"] == 1
        assert len(running.checkpoints()) == 1
        with connect(running.run, "supervisor") as supervisor:
            assert supervisor.hello["who"] == "supervisor"
            supervisor.ask("stop")
    assert running.wait() == 0
    assert running.run.about()["outcome"] == "stopped"
    running.assert_nothing_left()
