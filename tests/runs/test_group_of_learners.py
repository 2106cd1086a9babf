"""Two replicas of a learner in two processes: they learn as one, and go on as one when a process is killed."""

from __future__ import annotations

import importlib.util
import os
import signal
from pathlib import Path

import pytest

from flow.saved import read
from tests.runs.running import Home

GRAPHS = Path(__file__).parents[2] / "graphs"
pytestmark = [
    pytest.mark.real_time,
    pytest.mark.slow,
    pytest.mark.skipif(
        not all(map(importlib.util.find_spec, ("torch", "sklearn"))), reason='needs pip install "flow-research[torch]"'
    ),
]
TEXT = f"""
extends = "{GRAPHS / "digits.toml"}"
[params]
epochs = 30
[nodes.learner]
replicas = 2
[workers]
a = ["pictures", "shuffled", "batches", "learner[0]", "held_out", "tests", "evaluator"]
b = ["learner[1]"]
"""


def test_a_killed_replica_takes_the_group_back_and_all_learn_on(home: Home):
    running = home.start(TEXT)
    running.until(lambda: running.counter("updates") > 20, "both to learn", 120)
    os.kill(running.worker_pids()["b"], signal.SIGKILL)
    again = "replica 1 of 2 learns with the others"
    running.until(lambda: running.log("b").count(again) == 2, "the group to meet again", 120)
    assert running.wait(180) == 0
    assert "PeerRestarted: a replica of this learner ended or was restarted" in running.log()
    last = running.checkpoints()[-1].parent
    one, two = (read(last, f"learner-{replica}") for replica in range(2))
    assert one["progress"]["updates"] == two["progress"]["updates"] > 0
    assert all(one["network"][name].equal(two["network"][name]) for name in one["network"])
