"""A timeline of a real run: workers share a clock, each message's way is an arrow, and all of it can be opened."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from flow.inspect.client import Connection
from flow.inspect.session import Session
from flow.inspect.timeline import take
from tests.flow.inspect.timelines import arrows, assert_sound, enclosing, slices
from tests.runs.running import FLOW, ROOT, Home, graph_text
from tests.runs.test_control import ended, killed, told

pytestmark = pytest.mark.real_time

# source ──► asker ──► slow ──► sink     in two workers; the server with the source, so that calls cross too
#              ▲ server
NODES = {
    "source": {"run": "source"},
    "asker": {"run": "asker"},
    "server": {"run": "server"},
    "slow": {"run": "doubler", "pause_ms": 2.0},
    "sink": {"run": "sink"},
}
EDGES = {
    "source.numbers": "asker.numbers",
    "asker.twice": "server.requests",
    "asker.doubled": "slow.numbers",
    "slow.doubled": "sink.numbers",
}


def started(home: Home):
    running = home.start(graph_text(NODES, EDGES, {"making": ["source", "server"]}))
    running.until_arrived(5)
    return running


def tracing_for(home: Home, seconds: int) -> subprocess.Popen[str]:
    """`flow trace`, under way."""
    words = [*FLOW, "trace", "--seconds", str(seconds), "-o", str(home.path / "trace.json")]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen(words, cwd=ROOT, env=home.environment, text=True, **pipes)


def test_a_trace_shows_each_messages_way_and_what_each_node_waited_for(home: Home):
    running = started(home)
    assert "records of 2 workers" in told(home, "trace", "--seconds", "2", "-o", str(home.path / "trace.json"))
    ended(running)
    trace = json.loads((home.path / "trace.json").read_text())
    events = trace["traceEvents"]
    assert trace["otherData"]["dropped"] == {"main": 0, "making": 0}
    assert_sound(events)

    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert {"source[0]", "asker[0]", "server[0]", "slow[0]", "sink[0]"} <= set(names.values())
    time_of = {}
    for event in slices(events):
        key = names[event["pid"], event["tid"]], event["cat"]
        time_of[key] = time_of.get(key, 0.0) + event["dur"] / 1e6
    # The slow node is busy, whoever feeds it is blocked on credit, and whoever it feeds waits.
    assert time_of["slow[0]", "handle"] > 0.5
    assert time_of["asker[0]", "blocked"] > 0.3
    assert time_of["source[0]", "blocked"] > 0.3
    assert time_of["sink[0]", "take"] > 0.5

    ways = {(begin["cat"], begin["name"]) for begin, _ in arrows(events)}
    assert ways == {
        ("message", "source.numbers->asker.numbers"),
        ("message", "asker.doubled->slow.numbers"),
        ("message", "slow.doubled->sink.numbers"),
        ("question", "asker.twice->server.requests"),
        ("answer", "asker.twice->server.requests"),
    }
    crossing = [(begin, end) for begin, end in arrows(events) if begin["pid"] != end["pid"]]
    assert len(crossing) > 50
    for begin, end in crossing:
        # Both read one clock: an arrow between workers never goes back, and is no longer than a full queue lasts.
        assert 0 < end["ts"] - begin["ts"] < 5e6
    sent = {(e["args"]["link"], e["args"]["sequence"]) for e in slices(events, "handle") if "link" in e["args"]}
    assert len(sent) > 100
    batch = next(event for event in slices(events, "handle") if "rows" in event["args"])
    assert batch["args"]["rows"] == 1
    assert batch["args"]["batch ends"] == "all"
    question = next(begin for begin, _ in arrows(events, "question"))
    assert [each["name"] for each in enclosing(events, question)] == ["handle numbers", "ask twice"]


def test_one_trace_is_taken_at_a_time_and_a_viewer_that_goes_ends_its_own(home: Home):
    running = started(home)
    with Session(running.run) as session:
        session.connection("main").ask("trace_start")
        refused = home.flow("trace", "--seconds", "1", "-o", str(home.path / "trace.json"))
        assert refused.returncode == 1
        assert "worker main is being traced already; wait until that trace is taken" in refused.stderr
        # Nobody reads: what is written is bounded, and the run goes on.
        running.until_arrived(len(running.received()) + 50)
    few = json.loads(
        told(home, "trace", "--seconds", "0.5", "--most", "50", "-o", str(home.path / "few.json"))
        and (home.path / "few.json").read_text()
    )
    assert few["otherData"]["dropped"]["making"] > 0
    assert sum(event["ph"] == "X" for event in few["traceEvents"]) <= 100
    killed(running)
    assert "is over; what it left can be read" in home.flow("trace").stderr


def test_what_a_worker_wrote_before_it_died_or_the_user_left_is_kept(home: Home):
    running = started(home)
    tracing = tracing_for(home, 30)
    time.sleep(3)
    with Session(running.run) as session:
        os.kill(session.connection("making").hello["pid"], signal.SIGKILL)
    time.sleep(1)
    tracing.send_signal(signal.SIGINT)
    output, error = tracing.communicate(timeout=20)
    assert tracing.returncode == 0, error
    assert "records of 2 workers" in output
    assert "worker making was not there to the end: making of " in error
    events = json.loads((home.path / "trace.json").read_text())["traceEvents"]
    assert_sound(events)
    names = {(e["pid"], e["tid"]): e["args"]["name"] for e in events if e["name"] == "thread_name"}
    assert {"source[0]", "sink[0]"} <= {names[event["pid"], event["tid"]] for event in slices(events)}
    ended(running)


def test_a_worker_that_is_started_again_while_it_is_traced_is_in_the_trace_twice(home: Home):
    running = started(home)
    tracing = tracing_for(home, 60)
    running.until(lambda: len(_connections(tracing.pid)) == 2, "the trace to begin")
    held = _connections(tracing.pid)
    running.until_arrived(len(running.received()) + 200)  # what it was asked for in time, ten times a second
    first = running.worker_pids()["making"]
    os.kill(first, signal.SIGKILL)
    running.until(lambda: running.worker_pids().get("making", first) != first, "another")
    running.until(lambda: len(_connections(tracing.pid) - held) == 1, "it to be traced")
    running.until_arrived(len(running.received()) + 200)
    tracing.send_signal(signal.SIGINT)
    output, error = tracing.communicate(timeout=20)
    assert tracing.returncode == 0, error
    assert "records of 2 workers" in output
    assert "the one started in its place is in the trace too" in error
    trace = json.loads((home.path / "trace.json").read_text())
    events = trace["traceEvents"]
    assert_sound(events)
    processes = {event["args"]["name"]: event["pid"] for event in events if event["name"] == "process_name"}
    assert processes.keys() == {"worker main", "worker making", "worker making (started again)"}
    assert processes["worker making"] == first
    second = processes["worker making (started again)"]
    ends = {pid: max(each["ts"] for each in slices(events) if each["pid"] == pid) for pid in processes.values()}
    begins = min(each["ts"] for each in slices(events) if each["pid"] == second and each["cat"] != "take")
    assert ends[first] < begins
    # Messages of both processes found their way to the other worker.
    assert {begin["pid"] for begin, end in arrows(events, "message") if end["pid"] == processes["worker main"]} >= {
        first,
        second,
    }
    assert trace["otherData"]["dropped"] == {"main": 0, "making": 0}
    ended(running)


def test_a_worker_whose_loop_was_held_up_is_traced_again_when_it_answers(home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(Connection.ask.__kwdefaults__, "seconds", 1.0)
    running = started(home)
    there, over = _connections(os.getpid()), threading.Event()
    with ThreadPoolExecutor(1) as threads:
        try:
            tracing = threads.submit(take, running.run, 60.0, over=over.is_set)
            running.until(lambda: len(_connections(os.getpid()) - there) == 2, "the trace to begin")
            held = _connections(os.getpid())
            running.until_arrived(len(running.received()) + 200)
            pid = running.worker_pids()["making"]
            os.kill(pid, signal.SIGSTOP)
            running.until(lambda: held - _connections(os.getpid()), "the trace to take it for gone")
            os.kill(pid, signal.SIGCONT)
            running.until(lambda: len(_connections(os.getpid()) - there) == 2, "it to be traced again")
            running.until_arrived(len(running.received()) + 200)
        finally:
            over.set()
        timeline = tracing.result(20)
    first, second = (worker for worker in timeline.workers if worker.worker == "making")
    assert "did not answer 'trace_read'" in first.gone
    assert (second.pid, second.again, second.gone) == (pid, False, "")
    assert second.records
    events = list(timeline.events())
    assert_sound(events)
    names = {(e["pid"], e["tid"], e["args"]["name"]) for e in events if e["name"] == "thread_name"}
    assert len({name[:2] for name in names}) == len(names)  # a thread of the trace is one of the process
    ended(running)


def _connections(pid: int) -> set[str]:
    """The sockets that a process has; `flow trace` keeps one for each process that it traces."""
    found = set()
    for each in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            found.add(os.readlink(each))
    return {each for each in found if each.startswith("socket:")}


def test_bad_words_are_refused(home: Home):
    assert "--seconds 0: expected more than 0 and at most 600" in home.flow("trace", "--seconds", "0").stderr
    assert "there is no directory /nowhere" in home.flow("trace", "-o", "/nowhere/trace.json").stderr
