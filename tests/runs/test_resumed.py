"""Real processes, killed whole at any moment and resumed: a sink's file is what an undisturbed run writes."""

from __future__ import annotations

import os
import random
import signal
import time
from pathlib import Path

import pytest

from flow import checkpoints
from storage.recording import RecordingReader
from tests.runs.nodes_for_runs import Number
from tests.runs.running import NODES, Home, Running

pytestmark = pytest.mark.real_time
COUNT = 300


def text(path: str = "", pause_ms: float = 5.0) -> str:
    """source ──► twice ──► shuffled ──► file, in two workers."""
    said = f'path = "{path}"' if path else ""
    return f"""
title = "to a file"
[nodes.source]
run = "{NODES}:source"
count = {COUNT}
pause_ms = {pause_ms}
[nodes.twice]
run = "{NODES}:doubler"
[nodes.shuffled]
run = "nodes.stream.shuffle:shuffle"
size = 16
[nodes.file]
run = "nodes.sink.recording:write"
{said}
[edges]
"source.numbers" = {{ to = "twice.numbers", credit = 3 }}
"twice.doubled" = {{ to = "shuffled.items", credit = 3 }}
"shuffled.shuffled" = {{ to = "file.items", credit = 3 }}
[workers]
making = ["source", "twice"]
writing = ["shuffled", "file"]
"""


def written(running: Running) -> list[list[int]]:
    return numbers(running.run.path / "nodes" / "file-0" / "recording.flow")


def numbers(path: Path) -> list[list[int]]:
    with RecordingReader(path) as reader:
        return [each.message.values.tolist() for each in reader.recorded(Number)]


def kill(running: Running) -> None:
    """All of it, at once."""
    os.kill(running.process.pid, signal.SIGKILL)
    running.process.wait()
    running.until(lambda: not running.home.processes(), "no orphan", 5.0)


def test_a_run_killed_again_and_again_writes_what_one_never_killed_does(home: Home):
    whole = home.start(text(pause_ms=0), "--seed", "3")
    assert whole.wait() == 0, whole.story()
    running = home.start(text(), "--seed", "3", "--checkpoint-every", "0.1")
    dice = random.Random(5)
    running.until(running.checkpoints, "a checkpoint")
    kills = 0
    for _ in range(4):
        time.sleep(dice.uniform(0.0, 0.5))
        if running.process.poll() is None:
            kill(running)
            kills += 1
            newest, problems = checkpoints.newest(running.run.checkpoints)
            assert newest is not None
            assert newest.consistent
            assert problems == []
            running = home.resume(running.run, "--checkpoint-every", "0.1")
    assert running.wait() == 0, running.story()
    assert kills >= 2
    assert written(running) == written(whole), running.story()
    assert "by itself" not in running.log(), running.story()


def test_a_run_killed_before_its_first_checkpoint_begins_its_file_anew(home: Home):
    whole = home.start(text(pause_ms=0), "--seed", "4")
    assert whole.wait() == 0, whole.story()
    running = home.start(text(), "--seed", "4")
    running.until(lambda: len(written(running)) > 10 if _begun(running) else False, "something to be written")
    kill(running)
    resumed = home.resume(running.run)
    assert resumed.wait() == 0, resumed.story()
    assert written(resumed) == written(whole)


def _begun(running: Running) -> bool:
    return (running.run.path / "nodes" / "file-0" / "recording.flow").exists()


def test_a_file_elsewhere_keeps_what_was_there_before_the_run(home: Home, tmp_path: Path):
    path = tmp_path / "kept.flow"
    once = home.start(text(str(path), 0), "--seed", "3")
    assert once.wait() == 0, once.story()
    before = numbers(path)
    running = home.start(text(str(path)), "--seed", "3", "--checkpoint-every", "0.1")
    running.until(lambda: len(running.checkpoints()) > 1, "two checkpoints")
    kill(running)
    resumed = home.resume(running.run, "--checkpoint-every", "0.1")
    assert resumed.wait() == 0, resumed.story()
    again = numbers(path)
    assert len(before) == COUNT
    assert again == before * 2
    assert resumed.counter("recorded") >= COUNT
