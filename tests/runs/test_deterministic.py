"""A deterministic run that is killed and resumed ends with the same bits as one never killed, its learner included."""

from __future__ import annotations

import json
import os
import signal

import pytest

from flow import checkpoints
from tests.runs.running import ROOT, Home, Running, line_graph

pytestmark = pytest.mark.real_time
DIGITS = ROOT / "graphs" / "digits.toml"


def start(home: Home, *more: str) -> Running:
    told = ["--deterministic", "--seed", "7", "--set", "epochs=6", "--runs", home.path / "runs", *more]
    return Running(home, ["run", DIGITS, *told])


def learned(running: Running) -> dict[str, bytes]:
    """The learner's weights, optimiser and progress, and the order of what it learned from."""
    newest, _ = checkpoints.newest(running.run.checkpoints)
    assert newest is not None
    names = ("learner-0.safetensors", "learner-0.msgpack", "shuffled-0.msgpack", "shuffled-0.safetensors")
    return {name: (newest.directory / name).read_bytes() for name in names}


def saved_again(running: Running) -> bool:
    """Wait for another checkpoint; false if the run is over."""
    seen = {path.parent.name for path in running.checkpoints()}

    def look() -> bool:
        return running.process.poll() is not None or bool({each.parent.name for each in running.checkpoints()} - seen)

    running.until(look, "another checkpoint")
    return running.process.poll() is None


@pytest.mark.slow
def test_weights_after_two_kills_and_an_interrupt_are_those_of_a_run_never_stopped(home: Home):
    pytest.importorskip("torch")
    pytest.importorskip("sklearn")
    whole = start(home)
    assert whole.wait(90) == 0, whole.story()
    running = start(home, "--checkpoint-every", "0.1")
    stops = 0
    for number in (signal.SIGKILL, signal.SIGINT, signal.SIGKILL):
        if saved_again(running):
            stops += 1
            os.kill(running.process.pid, number)
            running.process.wait()
            running.until(lambda: not home.processes(), "no orphan", 10.0)
            running = home.resume(running.run, "--checkpoint-every", "0.1")
    assert stops >= 2
    assert running.wait(90) == 0, running.story()
    assert learned(running) == learned(whole)
    assert json.loads((running.run.path / "run.json").read_text())["deterministic"]
    assert "which published value it finds is a matter of time" in running.log()


def test_a_deterministic_run_starts_nothing_again_alone_and_says_what_to_do(home: Home):
    text = line_graph(source={"pause_ms": 2})
    running = home.start(text, "--deterministic", "--checkpoint-every", "0.2")
    running.until(running.checkpoints, "a checkpoint")
    os.kill(running.worker_pids()["making"], signal.SIGKILL)
    assert running.wait() == 1
    last = running.output.strip().splitlines()[-1]
    assert "was killed by SIGKILL; a deterministic run starts nothing again alone: flow run --resume" in last
    before = len(running.received())
    resumed = home.resume(running.run)
    running.until_arrived(before + 5)
    resumed.process.send_signal(signal.SIGINT)
    assert resumed.wait() == 0, resumed.story()
    assert [one for one in resumed.events() if one["text"].startswith("checkpoint")], "saved without draining"
    assert not [one for one in resumed.events() if one["text"] == "ended"], "nothing was drained"


def test_the_mode_of_a_run_stays_when_it_is_resumed(home: Home):
    refused = home.flow("run", "--resume", "--deterministic")
    assert refused.returncode == 2
    assert "--deterministic need a new run" in refused.stderr
