"""What a user can get wrong is answered in words that help, and nothing is left of the attempt."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from flow import checkpoints
from tests.runs.running import ROOT, Home, graph_text, line_graph

pytestmark = pytest.mark.real_time
LASER = ROOT / "graphs" / "laser_atari.toml"


def test_a_place_that_cannot_be_written_to_is_named_with_the_way_out(home: Home):
    (home.path / "file").write_text("")
    graph = home.graph(line_graph(source={"count": 1}))
    said = home.flow("run", graph, "--runs", home.path / "file")
    assert said.returncode == 1
    assert said.stderr == (
        f"{home.path}/file: can't make a run directory here: File exists; choose another place with --runs DIR\n"
    )


def test_a_live_run_is_not_resumed_beside_itself_and_ps_and_stop_know_it(home: Home):
    running = home.start(line_graph(source={"pause_ms": 5}))
    running.until_arrived(3)
    name = running.run.name
    said = home.flow("run", "--resume", name)
    assert said.returncode == 1
    assert said.stderr == (
        f"{name}: this run is alive in process {running.process.pid}; "
        f"`flow inspect {name}` shows it, `flow stop {name}` ends it\n"
    )
    listed = home.flow("ps", "--json")
    assert f'"pid": {running.process.pid}' in listed.stdout
    assert '"state": "running"' in listed.stdout
    stopped = home.flow("stop")
    assert stopped.returncode == 0
    assert stopped.stdout.endswith("stopped\n")
    assert running.wait(1) == 0
    assert '"state": "stopped"' in home.flow("ps", "--json").stdout
    running.assert_nothing_left()

    # The same run with a graph that has other nodes.
    graph = running.run.graph_file
    graph.write_text(graph.read_text().replace("sink", "drain").replace("runs:drain", "runs:sink"))
    said = home.flow("run", "--resume", name)
    assert said.returncode == 1
    newest, _ = checkpoints.newest(running.run.checkpoints)
    assert newest is not None
    assert said.stderr == (
        f"{newest.directory}: a checkpoint of another graph\n"
        "  drain: none in the checkpoint, tests.runs.nodes_for_runs:sink in the graph\n"
        "  sink: tests.runs.nodes_for_runs:sink in the checkpoint, none in the graph\n"
        "  resume with the graph that made it (the run's own graph.toml), or start a new run\n"
    )


def test_a_directory_that_is_no_run_is_not_resumed(home: Home):
    said = home.flow("run", "--resume", f"{home.path}/")
    assert said.returncode == 1
    assert said.stderr == (
        f"{home.path}: not a run directory, it has no run.json; `flow ps` lists the runs of this machine\n"
    )


def test_an_unknown_game_ends_the_run_with_the_nearest_names(home: Home):
    pytest.importorskip("ale_py")
    pytest.importorskip("torch")
    said = home.flow("run", LASER, "--set", "game=pnog", "--runs", home.path / "runs")
    assert said.returncode == 1
    last = (said.stdout + said.stderr).strip().splitlines()[-1]
    assert "pnog" in last, said
    assert "pong" in last, said


def test_a_full_disk_ends_the_run_with_that_cause_and_what_was_saved_is_whole(home: Home, small_disk: Path):
    text = graph_text(
        {"source": {"run": "source", "pause_ms": 150}, "hoarder": {"run": "hoarder"}},
        {"source.numbers": "hoarder.numbers"},
    )
    running = home.start(text, "--checkpoint-every", "0.2")
    assert running.wait() == 1, running.story()
    last = running.output.splitlines()[-1]
    assert last.startswith("first cause: node hoarder-0: DiskFullError: "), running.output
    assert "no space is left" in last
    assert "Traceback" not in running.output.split("after")[-1], running.output
    newest, problems = checkpoints.newest(running.run.checkpoints)
    assert newest is not None
    assert not problems
    import lmdb

    with lmdb.open(str(running.run.path / "nodes" / "hoarder-0" / "store"), readonly=True) as store:
        assert store.stat()["entries"] >= 1
    assert running.run.owner() is None
    running.assert_nothing_left()
    assert running.process.returncode != -signal.SIGBUS


LINE = {"source.numbers": "sink.numbers"}


def test_a_disk_that_gets_full_is_said_before_it_is(home: Home, small_disk: Path):
    running = home.start(graph_text({"source": {"run": "source", "pause_ms": 5}, "sink": {"run": "sink"}}, LINE))
    running.until_arrived(10)
    room = os.statvfs(small_disk)
    (small_disk / "filler").write_bytes(bytes(room.f_bavail * room.f_frsize - (300 << 10)))
    running.until(lambda: "MiB are free on the run's disk" in running.log(), "the warning")
    running.until_arrived(20)
    running.process.send_signal(signal.SIGINT)
    assert running.wait() == 0, running.story()
