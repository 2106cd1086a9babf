"""`flow ps` and `flow stop`, as a user calls them."""

import argparse
import json
import os
import signal
import subprocess
import sys
import time

import pytest

from flow.cli import ps, stop
from flow.run_directory import RunDirectory
from flow.stats import Page

PROGRAM = """
import argparse, sys
from flow.cli import ps, stop
parser = argparse.ArgumentParser(prog="flow")
commands = parser.add_subparsers()
ps.add(commands); stop.add(commands)
arguments = parser.parse_args()
status = arguments.run(arguments)
heavy = {"torch", "rich", "numpy", "trio", "matplotlib"} & set(sys.modules)
assert not heavy, heavy
sys.exit(status)
"""
OWNER = """
import signal, sys, time
from pathlib import Path
from flow.run_directory import RunDirectory
run, needed = RunDirectory.open(Path(sys.argv[1])), int(sys.argv[2])
got = []
signal.signal(signal.SIGINT, lambda *_: got.append(1))
with run.own():
    run.begin("", seed=0, until={"frames": 1000})
    print("ready", flush=True)
    while len(got) < needed:
        time.sleep(0.02)
    run.finish("stopped")
"""


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOW_STATE_HOME", str(tmp_path / "home"))


@pytest.fixture
def own(tmp_path):
    owners = []

    def start(run, needed=1):
        owner = subprocess.Popen([sys.executable, "-c", OWNER, str(run.path), str(needed)], stdout=subprocess.PIPE)
        owners.append(owner)
        assert owner.stdout.readline() == b"ready\n"
        return owner

    yield start
    for owner in owners:
        owner.kill()
        owner.wait()
        owner.stdout.close()


def call(*words):
    parser = argparse.ArgumentParser(prog="flow")
    commands = parser.add_subparsers()
    ps.add(commands)
    stop.add(commands)
    arguments = parser.parse_args(words)
    return arguments.run(arguments)


def test_ps_without_runs_says_how_to_start_one(capsys):
    assert call("ps") == 0
    assert "no run on this machine yet; start one" in capsys.readouterr().out
    assert call("ps", "--json") == 0
    assert json.loads(capsys.readouterr().out) == []


@pytest.mark.real_time
def test_ps_tells_live_from_ended_from_died(tmp_path, own, capsys):
    done, died, fresh, live = (RunDirectory.create(tmp_path, name) for name in ("done", "died", "fresh", "live"))
    done.begin("", seed=0)
    done.finish("failed", "learner.0: out of memory")
    killed = own(died)
    killed.kill()
    killed.wait()
    owner = own(live)
    for replica in range(2):
        Page.open(live.page_file("actor", replica), node="actor", replica=replica).counter("frames").add(315)
    assert call("ps", "--json") == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert {name.split("-")[0]: row["state"] for name, row in rows.items()} == {
        "done": "failed",
        "died": "died",
        "fresh": "not started",
        "live": "running",
    }
    assert rows[live.name]["pid"] == owner.pid
    assert rows[live.name]["progress"] == {"frames": 630}
    assert call("ps") == 0
    text = capsys.readouterr().out
    assert f"running {owner.pid}" in text
    assert "frames 630 of 1k (63 %)" in text
    assert "learner.0: out of memory" in text
    assert call("ps", "--live") == 0
    assert capsys.readouterr().out.count("\n") == 2
    assert fresh.name in text


def test_ps_shows_the_newest_twenty_and_survives_damage(tmp_path, capsys):
    runs = [RunDirectory.create(tmp_path, f"run{number}") for number in range(23)]
    runs[-1].about_file.write_text("[]")
    assert call("ps") == 0
    text = capsys.readouterr().out
    assert "and 3 older: flow ps --all" in text
    assert text.count("\n") == 21
    assert call("ps", "--all") == 0
    assert capsys.readouterr().out.count("\n") == 23


@pytest.mark.real_time
def test_ps_loads_nothing_heavy_and_is_quick(tmp_path):
    for number in range(20):
        run = RunDirectory.create(tmp_path, f"run{number}")
        run.begin("", seed=0, until={"frames": 10})
        for replica in range(4):
            Page.open(run.page_file("a", replica), node="a").counter("frames").add()
    times = []
    for _ in range(3):
        begin = time.monotonic()
        subprocess.run([sys.executable, "-c", PROGRAM, "ps"], check=True, stdout=subprocess.DEVNULL)
        times.append(time.monotonic() - begin)
    assert min(times) < 0.3


@pytest.mark.real_time
def test_stop_waits_until_the_run_has_ended(tmp_path, own, capsys):
    run = RunDirectory.create(tmp_path, "x")
    owner = own(run)
    assert call("stop") == 0
    assert f"{run.name}: ended after" in capsys.readouterr().out
    assert run.about()["outcome"] == "stopped"
    assert owner.wait(10) == 0
    assert call("stop", run.name) == 0
    assert f"{run.name}: not alive, stopped" in capsys.readouterr().out


@pytest.mark.real_time
def test_stop_now_signals_twice_and_stop_gives_up_with_advice(tmp_path, own, capsys):
    run = RunDirectory.create(tmp_path, "x")
    owner = own(run, needed=3)
    assert call("stop", "--wait", "0.3") == 1
    assert f"still alive after 0.3 s; `flow stop {run.name} --now`" in capsys.readouterr().err
    assert call("stop", "--now") == 0
    assert owner.wait(10) == 0


def test_stop_of_no_run_is_wrong_use(capsys):
    assert call("stop", "none") == 2
    assert "flow stop: no run 'none'" in capsys.readouterr().err


@pytest.mark.real_time
def test_stop_of_a_killed_run_says_that_it_did_not_say(tmp_path, own, capsys):
    run = RunDirectory.create(tmp_path, "x")
    owner = own(run)
    os.kill(owner.pid, signal.SIGKILL)
    owner.wait()
    assert call("stop") == 0
    assert "not alive, without saying how" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["ps", "stop"])
def test_help_has_an_example(command, capsys):
    with pytest.raises(SystemExit):
        call(command, "--help")
    assert f"example:\n  flow {command}" in capsys.readouterr().out
