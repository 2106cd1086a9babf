"""Event logs: what was said is there, for people and for scripts."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.logs import Event, EventLog, last_events

said = st.lists(st.tuples(st.sampled_from(["info", "warning", "error"]), st.text(max_size=30), st.text(max_size=50)))


@given(said=said)
def test_everything_said_is_read_back_in_order(tmp_path_factory, said):
    folder = tmp_path_factory.mktemp("logs")
    with EventLog(folder, "a") as one, EventLog(folder, "b") as two:
        for number, (level, node, text) in enumerate(said):
            (one, two)[number % 2].event(level, node, text, number=number)
    events = last_events(folder, most=1000)
    assert sorted(event.more["number"] for event in events) == list(range(len(said)))
    for event in events:
        assert (event.level, event.node, event.text) == said[event.more["number"]]
    assert [event.time for event in events] == sorted(event.time for event in events)


def test_a_line_for_people_and_the_same_as_json(tmp_path):
    with EventLog(tmp_path, "supervisor") as log:
        log.warning("learner.0", "restarted\nafter exit status 1", restarts=2)
    line = (tmp_path / "supervisor.log").read_text()
    assert line[12:] == " warning learner.0    restarted\n    after exit status 1  restarts=2\n"
    fields = json.loads((tmp_path / "supervisor.jsonl").read_text())
    assert fields.pop("time") > 1e9
    assert fields == {
        "level": "warning",
        "node": "learner.0",
        "text": "restarted\nafter exit status 1",
        "restarts": 2,
    }


@pytest.mark.parametrize("torn", [b'{"time": 1', b"[]", b'{"time": "x", "level": 1, "node": 2, "text": 3}', b"\xff"])
def test_torn_lines_are_left_out(tmp_path, torn):
    with EventLog(tmp_path, "a") as log:
        log.info("n", "whole")
    with (tmp_path / "a.jsonl").open("ab") as file:
        file.write(torn)
    assert [event.text for event in last_events(tmp_path)] == ["whole"]


def test_a_long_log_is_read_from_its_end(tmp_path):
    with EventLog(tmp_path, "a") as log:
        for number in range(2000):
            log.info("n", f"event {number}")
        log.event("debug", "n", "not shown")
    assert [event.text for event in last_events(tmp_path, most=3)] == [
        "event 1997",
        "event 1998",
        "event 1999",
    ]
    assert [event.text for event in last_events(tmp_path, level="warning")] == []
    assert Event(0, "info", "", "x").line().endswith("info    -            x")


def test_what_was_written_since_the_last_look_is_seen(tmp_path):
    with EventLog(tmp_path, "main") as log:
        for count in range(1, 5):
            log.info("", f"event {count}")
            assert [event.text for event in last_events(tmp_path)] == [f"event {each + 1}" for each in range(count)]
            assert last_events(tmp_path) == last_events(tmp_path)
