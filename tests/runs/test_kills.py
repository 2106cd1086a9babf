"""Whatever is killed, the run goes on or can be resumed, the ledger sums, and nobody is left behind."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from flow import ledger
from flow.carrier import ring
from tests.runs.running import Home, Running, line_graph

pytestmark = pytest.mark.real_time
WINDOW = 8  # messages under way on an edge, at most


def steady(**more: object) -> str:
    """A source that sends for ever and a sink beside it, in two workers."""
    return line_graph(source={"pause_ms": 2, **more})


def kill(pid: int) -> float:
    os.kill(pid, signal.SIGKILL)
    return time.time()


def stop(running: Running, lost_most: int = 0) -> None:
    """Ctrl-C. lost_most: messages that may have gone with their sender, beyond those the ledger has as unsettled."""
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0, running.story()
    assert not ledger.problems(running.ledger())
    for count in running.ledger().values():
        assert 0 <= count.under_way <= count.unsettled + lost_most, running.ledger()


@pytest.mark.parametrize("worker", ["making", "main"])
def test_a_killed_worker_is_noticed_at_once_and_the_stream_goes_on(home: Home, worker: str):
    running = home.start(steady(), "--checkpoint-every", "0.3")
    running.until(running.checkpoints, "a checkpoint")
    killed = kill(running.worker_pids()[worker])
    before = len(running.received())
    event = running.until(
        lambda: [one for one in running.events() if "was killed by SIGKILL; starting it again" in one["text"]],
        "its death to be logged",
    )[0]
    assert event["node"] == worker
    assert event["time"] - killed < 0.5
    running.until_arrived(before + 100)
    made_before = running.checkpoints()[-1]
    running.until(lambda: running.checkpoints()[-1] > made_before, "a checkpoint after it")
    assert not list(running.run.sockets.glob(f"{worker}.0*")), "the inbox of the dead"
    stop(running, WINDOW if worker == "making" else 0)
    received = running.received()
    assert set(received) == set(range(max(received) + 1)) - lost(received)
    assert len(lost(received)) <= WINDOW + 1  # and the one in hand
    running.assert_nothing_left()


@pytest.mark.skipif(not ring.available(), reason="needs Linux on x86-64")
def test_large_messages_lent_through_memory_survive_kills_of_either_end_whole_and_in_order(home: Home):
    running = home.start(steady(rows=2 * ring.LENT_MIN // 8))
    for worker in ("making", "main", "making"):
        before = len(running.received())
        running.until_arrived(before + 30)
        pid = running.worker_pids()[worker]
        mapped = Path(f"/proc/{pid}/maps").read_text()
        assert mapped.count("/memfd:flow") == 2  # one piece for each direction, those before given back
        kill(pid)
        running.until(lambda pid=pid, worker=worker: running.worker_pids()[worker] != pid, "its successor")
    running.until_arrived(len(running.received()) + 30)
    stop(running, 2 * WINDOW)
    received = running.received()
    assert not [event for event in running.events() if "torn" in event["text"] or "dropped" in event["text"]]
    assert len(lost(received)) <= 3 * (WINDOW + 1)
    running.assert_nothing_left()


def lost(received: list[int]) -> set[int]:
    return set(range(max(received) + 1)) - set(received)


def test_a_run_whose_workers_are_all_killed_goes_on(home: Home):
    running = home.start(steady())
    running.until_arrived(20)
    for pid in running.worker_pids().values():
        kill(pid)
    before = len(running.received())
    running.until_arrived(before + 50)
    stop(running, WINDOW)


def test_a_run_whose_fork_server_is_killed_goes_on(home: Home):
    running = home.start(steady())
    running.until_arrived(20)
    (server,) = (
        pid
        for pid, command in home.processes().items()
        if "flow.forkserver" in command and pid not in running.worker_pids().values()
    )
    kill(server)
    before = len(running.received())
    running.until_arrived(before + 50)
    stop(running, WINDOW)
    assert "fork server" in running.log()
    running.assert_nothing_left()


def test_a_worker_killed_after_its_source_ended_still_ends(home: Home):
    """What ended before the kill is not started again, and who waits for its end learns of it."""
    text = line_graph(
        {"run": "doubler"},
        source={"count": 20},
        sink={"pause_ms": 50},
        workers={"a": ["source", "step0"], "b": ["sink"]},
    )
    running = home.start(text)
    running.until(lambda: [one for one in running.events() if one["text"] == "ended"], "the source to end")
    kill(running.worker_pids()["a"])
    assert running.wait() == 0, running.story()
    assert not [one for one in running.events() if "not drained" in one["text"]], running.story()


def test_a_checkpoint_is_never_made_without_those_that_are_being_started_again(home: Home):
    """Else a resumed run would begin them afresh."""
    running = home.start(steady(), "--checkpoint-every", "0.3")
    running.until(running.checkpoints, "a checkpoint")
    before = len(running.received())
    for pid in running.worker_pids().values():
        kill(pid)
    stop(running, WINDOW)
    resumed = home.resume(running.run)
    running.until_arrived(before + 5)
    stop(resumed, WINDOW)
    assert running.received()[before] > 0, running.story()


def test_a_killed_supervisor_leaves_nobody_and_its_run_is_resumed_from_the_last_checkpoint(home: Home):
    running = home.start(steady(), "--checkpoint-every", "0.3")
    running.until(lambda: len(running.checkpoints()) >= 2, "two checkpoints")
    kill(running.process.pid)
    running.process.wait()
    running.until(lambda: not home.processes(), "no orphan", 1.0)
    listed = home.flow("ps")
    assert f"{running.run.name}  died" in listed.stdout
    arrived, made, before = running.counter("arrived"), running.counter("made"), len(running.received())

    # The newest checkpoint is damaged: the one before is used, and that is said.
    newest, older = running.checkpoints()[-1].parent, running.checkpoints()[-2].parent
    file = next(newest.glob("source-0.msgpack"))
    file.write_bytes(file.read_bytes() + b"?")
    resumed = home.resume(running.run, "--checkpoint-every", "0.3")
    running.until_arrived(before + 20)
    running.until(lambda: [one for one in resumed.checkpoints() if one.parent > older], "a new checkpoint in its place")
    stop(resumed, WINDOW)
    assert f"{file}: damaged" in resumed.output
    went_on = running.received()[before]
    assert 0 < went_on <= max(running.received()[:before]), "the source's progress goes on"
    assert running.counter("arrived") >= arrived + 20
    assert running.counter("made") >= made + 20
    assert home.flow("ps").stdout.count(f"{running.run.name}  stopped") == 1
    running.assert_nothing_left()
