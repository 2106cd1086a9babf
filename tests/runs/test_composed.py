"""Runs of graphs that are out of several files, swept over params, or built in Python."""

from __future__ import annotations

import asyncio
import os
import signal
from collections import Counter
from pathlib import Path

import pytest

import flow
from flow.cli.main import main
from flow.run_directory import RunDirectory
from flow.stats import read_page
from tests.runs import nodes_for_runs
from tests.runs.running import NODES, ROOT, Home, Running

pytestmark = pytest.mark.real_time

SWEPT = f"""
title = "copies beside a sink"
[params]
count = 1
[nodes.source]
run = "{NODES}:source"
count = "{{count}}"
pause_ms = 1
[nodes.doubler]
run = "{NODES}:doubler"
[nodes.sink]
run = "{NODES}:sink"
[edges]
"source.numbers" = "doubler.numbers"
"doubler.doubled" = "sink.numbers"
[workers]
making = ["source"]
[report]
show = ["made", "arrived"]
[sweep.copies]
nodes = ["source", "doubler"]
grid = {{ count = [200, 300] }}
per_copy = true
"""


def start(home: Home, path: Path) -> Running:
    return Running(home, ["run", path, "--runs", home.path / "runs"])


def test_copies_run_like_graphs_of_their_own_beside_the_node_they_share_even_when_one_is_killed(home: Home):
    running = home.start(SWEPT)
    running.until_arrived(20)
    os.kill(running.worker_pids()["making@1"], signal.SIGKILL)
    assert running.wait() == 0, running.story()
    arrived = Counter(running.received())
    # the copy that was not killed lost nothing, and of the other each was sent, by one source or the next
    for number in range(200):
        assert arrived[2 * number] >= 1
    assert {2 * number for number in range(200)} <= arrived.keys() <= {2 * number for number in range(300)}
    assert arrived[2 * 299] >= 1
    assert running.counter("arrived") == arrived.total()
    lines = running.output.split()
    assert "made@count=200" in lines
    assert "made@count=300" in lines
    assert "arrived@count=200" not in lines
    page = read_page(running.run.page_file("source@count=200"))
    assert page is not None
    assert (page.node, page.worker, page.counters["made"]) == ("source@count=200", "making@0", 200)
    copies = {path.name for path in running.run.metrics.iterdir() if path.is_dir()}
    assert copies <= {"count=200", "count=300"}
    running.assert_nothing_left()


PART = """
[params]
by = 2
[nodes.change]
run = "nodes.py:multiply"
by = "{by}"
[ports]
numbers = "change.numbers"
changed = "change.changed"
"""
FILE = f"""
from flow import In, Out, node
from {NODES} import Number


@node
async def multiply(numbers: In[Number], changed: Out[Number], *, by: int = 1) -> None:
    async for number in numbers:
        if number.values[0] < 0:
            raise ValueError("a negative number")
        await changed.send(Number(number.values * by))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A graph with a file nodes.py beside it, that includes another which has one too."""
    for name, sign in (("outer", "-"), ("inner", "")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "nodes.py").write_text(FILE.replace("* by", f"* {sign}by"))
    (tmp_path / "inner" / "part.toml").write_text(PART)
    (tmp_path / "outer" / "graph.toml").write_text(f"""
        [nodes.source]
        run = "{NODES}:source"
        count = 50
        [nodes.double]
        graph = "../inner/part.toml"
        [nodes.negate]
        run = "nodes.py:multiply"
        [nodes.sink]
        run = "{NODES}:sink"
        [edges]
        "source.numbers" = "double.numbers"
        "double.changed" = "negate.numbers"
        "negate.changed" = "sink.numbers"
        [workers]
        own = ["double"]
        """)
    return tmp_path


def test_two_files_of_one_name_are_two_modules_in_workers_too(home: Home, folder: Path):
    running = start(home, folder / "outer" / "graph.toml")
    assert running.wait() == 0, running.story()
    assert running.received() == [-2 * number for number in range(50)]
    assert f'run = "{folder / "inner" / "nodes.py"}:multiply"' in running.run.graph_file.read_text()
    assert '[nodes."double.change"]' in running.run.graph_file.read_text()
    resumed = home.resume(running.run)  # from its directory alone, wherever that is
    assert resumed.wait() == 0, resumed.story()


def test_the_trace_of_a_node_in_a_file_shows_the_file(home: Home, folder: Path):
    graph = folder / "outer" / "graph.toml"
    graph.write_text(graph.read_text().replace('graph = "../inner/part.toml"', 'graph = "../inner/part.toml"\nby = -2'))
    running = start(home, graph)
    assert running.wait() == 1, running.story()
    assert "ValueError: a negative number (nodes.py:" in running.output.splitlines()[-1]
    assert f'File "{folder / "outer" / "nodes.py"}", line 10, in multiply' in running.log("main")


def test_a_part_is_checked_and_not_run(folder: Path, capsys: pytest.CaptureFixture[str]):
    part = str(folder / "inner" / "part.toml")
    assert main(["check", part]) == 0
    assert capsys.readouterr().out.endswith("open: numbers, changed\n")
    assert main(["run", part, "--runs", str(folder)]) == 1
    assert capsys.readouterr().err == (
        f"{part}, ports: this graph leaves numbers, changed open, so it is a part of other graphs and cannot run by "
        'itself; include it in one, [nodes.NAME] with graph = "part.toml", and tie them there\n'
    )


def test_a_graph_built_in_python_runs_here_also_beside_another_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("FLOW_STATE_HOME", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    graph = flow.Graph("numbers")
    source = graph.add("source", nodes_for_runs.source, count=50)
    sink = graph.add("sink", f"{NODES}:sink")
    graph.connect(source.numbers, sink.numbers)

    async def in_a_notebook() -> flow.graph.build.Result:
        return graph.run(seed=3, directory=tmp_path / "runs")

    result = asyncio.run(in_a_notebook())
    assert (result.outcome, result.cause, result.metrics) == ("done", "", {"made": 50, "arrived": 50})
    assert isinstance(result.directory, RunDirectory)
    assert result.directory.about()["seed"] == 3
    assert (result.directory.path / "nodes" / "sink-0" / "received").read_text().split() == list(map(str, range(50)))
