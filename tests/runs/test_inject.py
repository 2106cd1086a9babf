"""A message from a user's hands, checkpoints on demand, and overviews that are pushed, in real runs."""

from __future__ import annotations

import time

import numpy as np
import pytest

from flow.errors import ControlError
from flow.inspect.session import Session
from flow.inspect.touched import touches
from storage.recording import RecordingWriter
from tests.runs.nodes_for_runs import Number
from tests.runs.running import Home, graph_text
from tests.runs.test_control import ended, scaling, told

pytestmark = pytest.mark.real_time


def test_an_injected_message_is_checked_handled_counted_apart_and_written_down(home: Home):
    running = scaling(home)
    running.until_arrived(5)
    assert told(home, "inject", "sink.numbers", "values=[123456]").startswith("sink.numbers: ")
    running.until(lambda: 123456 in running.received(), "what was injected")
    array, recording = home.path / "values.npy", home.path / "numbers.flow"
    np.save(array, np.full(3, 777))
    with RecordingWriter(recording, Number) as writer:
        for number in (887, 888):
            writer.write(Number(np.full(2, number)))
    told(home, "inject", "sink.numbers", f"values=@{array}")
    told(home, "inject", "sink.numbers", "--from", recording, "--at", "1")
    running.until(lambda: {777, 888} <= set(running.received()), "both")
    for words, message in (
        (("sink.numbers", "values=[1.5]"), "values=[1.5]: expected int64 (rows), found float64"),
        (("sink.numbers", "valeus=[1]"), "Number needs values: int64 (rows)"),
        (("sink.numbers", "values=[1]", "more=2"), "Number has no field 'more'; it has values"),
        (("sink.numbers", "values=[[1]]"), "expected int64 (rows), found shape (1, 1)"),
        (("sink.numbers", "values=[[1], [2, 3]]"), "no array for int64 (rows)"),
        (("source.numbers", "values=[1]"), "source.numbers takes no messages; it takes some at none"),
        (("sink.nombers", "values=[1]"), "sink has no port 'nombers'; it has numbers"),
        (("sink.numbers", "--from", str(recording), "--at", "9"), "holds 2 messages, none with number 9"),
    ):
        refused = home.flow("inject", *words)
        assert (refused.returncode, message in refused.stderr) == (1, True), refused.stderr
    assert home.flow("inject", "sink.numbers").returncode == 2
    assert [touch.text for touch in touches(running.run)] == ["a Number was injected into numbers"] * 3
    ended(running)
    assert "touched 3 times" in running.output
    # The ledger of edges balances: what was injected is no part of it.
    assert all(count.sent == count.received for count in running.ledger().values())
    assert len(running.received()) == running.counter("made") + 3


def test_a_question_can_be_asked_by_hand(home: Home):
    nodes = {
        "source": {"run": "source", "pause_ms": 5},
        "asker": {"run": "asker"},
        "server": {"run": "server"},
        "sink": {"run": "sink"},
    }
    edges = {
        "source.numbers": "asker.numbers",
        "asker.twice": "server.requests",
        "asker.doubled": "sink.numbers",
    }
    running = home.start(graph_text(nodes, edges))
    running.until_arrived(5)
    answer = told(home, "inject", "server.requests", "values=[21]")
    assert "server.requests: answered Answer" in answer
    assert "42.0 to 42.0" in answer
    ended(running)


def test_checkpoints_and_pushed_overviews(home: Home):
    running = scaling(home)
    running.until_arrived(5)
    assert told(home, "checkpoint") == f"{running.run.name}: checkpoint 1 is written\n"
    assert len(running.checkpoints()) == 1
    with Session(running.run) as fast, Session(running.run) as slow, Session(running.run) as mute:
        with pytest.raises(ControlError, match="subscribe: expected hz_max from 0 to 4, found 100"):
            fast.ask_supervisor("subscribe", hz_max=100)
        mute.ask_supervisor("subscribe", hz_max=4)  # and never reads
        began = time.monotonic()
        seen = []
        for overview in fast.overviews(4.0):
            seen.append(overview)
            if len(seen) == 5:
                break
        assert 0.6 < time.monotonic() - began < 4
        assert seen[0]["run"] == running.run.name
        assert {node["node"] for node in seen[0]["nodes"]} == {"source", "step0", "sink"}
        sent = [next(edge["sent"] for edge in each["edges"] if edge["sender"] == "source.numbers") for each in seen]
        assert sent == sorted(sent)
        assert sent[0] < sent[-1]
        assert fast.ask_supervisor("checkpoint")["number"] == 2  # requests go on beside what is pushed
        slowly = slow.overviews(0.5)
        began = time.monotonic()
        assert next(slowly)["state"] == next(slowly)["state"] == "running"
        assert time.monotonic() - began > 1.5
    ended(running)
    assert "is over" in home.flow("checkpoint").stderr
