"""Commands aimed at something in a run: wrong use says what was expected, what is not there is named with what is."""

from __future__ import annotations

import pytest

from flow.cli.main import main
from flow.run_directory import RunDirectory
from flow.stats import Page


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOW_STATE_HOME", str(tmp_path / "home"))
    run = RunDirectory.create(tmp_path, "small")
    for replica in range(2):
        Page.open(run.page_file("agent.actor", replica), node="agent.actor", replica=replica, worker="main")
    return run


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tap"], "expected [RUN] NODE.PORT, found nothing"),
        (["set", "a", "b", "c", "d"], "expected [RUN] NODE.SETTING VALUE, found a b c d"),
        (["step"], "expected [RUN] NODE, found nothing"),
        (["pause", "a", "b", "c"], "expected [RUN] [NODE]"),
        (["tap", "a.b", "--save"], "--save: expected a directory to write to, as in --save ."),
        (["tap", "a.b", "-n", "0"], "--count: expected more than 0, found 0"),
        (["top", "--every", "0"], "--every 0: expected at least 0.1 seconds"),
    ],
)
def test_wrong_use_is_status_2_and_says_what_was_expected(words, message, capsys):
    with pytest.raises(SystemExit) as stop:
        main(words)
    assert stop.value.code == 2
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tap", "agent.actor"], "has no node 'agent'; did you mean 'agent.actor'?"),
        (["tap", "agent.actor[5].out"], "agent.actor has replicas 0 to 1, found 'agent.actor[5]'"),
        (["tap", "agent.actor.out"], "is over; what it left can be read: flow top"),
        (["tap", "nowhere", "agent.actor.out"], "no run 'nowhere'"),
        (["pause", "agent.actor[0]"], "is over; what it left can be read"),
        (["tap", "actor"], "names no port or setting; write NODE.NAME"),
    ],
)
def test_what_is_not_there_is_named_with_what_is(run, words, message, capsys):
    assert main(words) == 1
    assert message in capsys.readouterr().err
