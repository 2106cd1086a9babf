"""Every graph's tiny profile runs to its end and leaves what a user looks for."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest

from flow import ledger
from flow.graph.load import load_graph
from tests.runs.running import ROOT, Home, Running

pytestmark = [pytest.mark.real_time, pytest.mark.slow]
GRAPHS = sorted((ROOT / "graphs").glob("*.toml"))


def own_params(home: Home, name: str, videos: Path, others: Path) -> dict[str, Path]:
    """Where a graph is to read and write, so that nothing is left in the tree."""
    return {
        "two_stream": {"clips": home.path / "clips", "dataset": home.path / "dataset"},
        "two_stream_stills": {"weights": home.path / "stills.safetensors"},
        "two_stream_ucf101": {"data": videos, "dataset": home.path / "dataset"},
        "two_stream_multitask": {"data": videos, "other": others, "dataset": home.path / "dataset"},
    }.get(name, {})


def run_tiny(home: Home, name: str, params: dict[str, Path]) -> Running:
    graph = ROOT / "graphs" / f"{name}.toml"
    # Every graph has a profile tiny; what it needs must be here.
    missing = [
        package
        for node in load_graph(graph, profile="tiny", packages=False).nodes.values()
        for package in node.type.needs
        if importlib.util.find_spec(package) is None
    ]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed")
    sets = [word for key, value in params.items() for word in ("--set", f"{key}={value}")]
    running = Running(home, ["run", graph, "--profile", "tiny", "--seed", "1", "--runs", home.path / "runs", *sets])
    assert running.wait(110) == 0, running.story()
    return running


@pytest.mark.parametrize("name", [path.stem for path in GRAPHS])
def test_the_tiny_profile_runs_to_its_end(home: Home, name: str, request: pytest.FixtureRequest):
    wanted = {"two_stream_ucf101": 1, "two_stream_multitask": 2}.get(name, 0)
    folders = [request.getfixturevalue(each) for each in ("small_ucf101", "other_ucf101")[:wanted]]
    videos, others, *_ = [*folders, home.path, home.path]
    running = run_tiny(home, name, own_params(home, name, videos, others))
    assert running.run.about()["outcome"] == "done"
    again = load_graph(running.run.graph_file)
    if again.until:  # a finite graph ends by itself, and nothing else ended it
        assert running.output.splitlines()[-1].startswith("ended because: ")
    assert again.profile == "tiny"
    assert not ledger.problems(running.ledger())
    for edge, count in running.ledger().items():
        assert count.under_way == 0, (edge, count)
    assert running.checkpoints()
    assert list(running.run.logs.glob("*.log"))
    assert not [event for event in running.events() if event["level"] != "info"], running.story()
    lines = (running.run.metrics / "metrics.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["counters"]
    if importlib.util.find_spec("tensorboardX"):
        assert list(running.run.metrics.glob("events.out.tfevents.*"))
    # A curve has two points at least; games of chess may not have come to as many matches.
    points = sum(again.report.curve in json.loads(line)["series"] for line in lines)
    if importlib.util.find_spec("matplotlib") and points > 1:
        assert running.run.curve_file.read_bytes().startswith(b"\x89PNG")
    running.assert_nothing_left()
    if name == "laser_atari":
        assert running.counter("frames") >= 12_000
        assert running.counter("updates") >= 1
        assert running.ledger()["replayer.replayed->learner.replayed"].received >= 1
    if name == "laser_sweep":
        copies = [node.partition("@")[2] for node in again.nodes if node.startswith("learner@")]
        assert len(copies) == 3
        edges = running.ledger()
        for copy in copies:  # each plays into the one replay, and learns from what it gives to each
            assert edges[f"actor@{copy}.trajectories->replay.inserts"].received >= 1
            assert edges[f"replayer@{copy}.replayed->learner@{copy}.replayed"].received >= 1
            assert json.loads(lines[-1])["counters"][f"updates@{copy}"] >= 1
