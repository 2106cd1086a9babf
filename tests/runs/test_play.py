"""`flow play`: a person at a terminal against a checkpoint, and what is said where there is none that fits."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from flow import checkpoints
from flow.graph.load import load_graph
from flow.graph.write import write_graph
from flow.run_directory import RunDirectory
from flow.saved import Saved, pack
from tests.runs.running import ROOT, Home
from tests.runs.terminal import AtTerminal

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')
pytestmark = pytest.mark.real_time
ENDS = ("you won", "you lost", "a draw")
NIM, TICTACTOE = (ROOT / "graphs" / f"muzero_{name}.toml" for name in ("nim", "tictactoe"))


def trained(home: Home, file: Path, monkeypatch: pytest.MonkeyPatch, *, weights: Path | None = None) -> RunDirectory:
    """A run of a graph's tiny profile with one checkpoint: of a fresh network, or of that of another graph."""
    from nodes.games.interface import task_named
    from nodes.learn.muzero import Progress, Student

    monkeypatch.setenv("FLOW_STATE_HOME", str(home.path / "state"))
    graph = load_graph(file, profile="tiny")
    run = RunDirectory.create(home.path / "runs", file.stem)
    run.begin(write_graph(graph), seed=1, profile="tiny")
    said = (graph if weights is None else load_graph(weights, profile="tiny")).nodes["learner"].settings
    task = task_named(said["game"])
    student = Student(
        task.observation_shape, task.actions, said["network"], said["width"], said["blocks"], said["bins"], "cpu",
        "adam", 0.0, 1.0, 0, task.action_planes(),
    )  # fmt: skip
    saved = Saved()
    for name, thing in (("network", student.network), ("optimiser", student.optimiser), ("progress", Progress())):
        saved.keep(name, thing)
    folder = checkpoints.begin(run.checkpoints, 1, 0)
    files = pack(saved.state()).write(folder, "learner-0")
    checkpoints.complete(
        folder, files, {name: node.type.name for name, node in graph.nodes.items()}, {}, consistent=True
    )
    return run


class Player(AtTerminal):
    """A person who waits for what is asked before typing."""

    def types(self, text: str, after: str) -> None:
        self.sees(after)
        self._screen.clear()
        self.press(text.encode() + b"\n")

    def sees(self, *texts: str) -> str:
        """Waits for one of them; says the first that is there."""
        deadline = time.monotonic() + 30
        while True:
            there = [text for text in texts if text in self.output]
            if there:
                return there[0]
            assert time.monotonic() < deadline, f"none of {texts} came: {self.output}"
            time.sleep(0.01)


def test_a_game_is_played_to_its_end_at_a_terminal(home: Home, monkeypatch: pytest.MonkeyPatch):
    run = trained(home, TICTACTOE, monkeypatch)
    player = Player(home, ["play", TICTACTOE, "--profile", "tiny", "--run", run.name, "--simulations", "20"])
    try:
        player.sees("20 simulations a move")
        player.types("d7", after="your move: ")
        player.types("?", after="'d7' is not a legal move here; legal: a3 b3")
        player.sees("a3 b3 c3 a2 b2 c2 a1 b1 c1")
        player.types("b2", after="your move: ")
        player.sees("it plays ")
        taken = player.output.split("it plays ")[1][:2]
        player.types(taken, after="your move: ")
        player.sees(f"'{taken}' is not a legal move here")
        for square in ("a3", "b3", "c3", "a2", "c2", "a1", "b1", "c1") * 2:  # whatever is free, until it is over
            if player.sees(*ENDS, "your move: ") in ENDS:
                break
            player.types(square, after="your move: ")
        assert player.process.wait(30) == 0
        player.sees(*ENDS)
        player.assert_terminal_restored()
    finally:
        player.process.kill()
        player.process.wait()
        player.close()


def test_one_who_gives_up_or_goes_away_ends_the_game(home: Home, monkeypatch: pytest.MonkeyPatch):
    trained(home, NIM, monkeypatch)
    for keys in (b"q\n", b"\x04"):
        player = Player(home, ["play", NIM, "--profile", "tiny"])
        try:
            player.sees("your move: ")
            player.press(keys)
            assert player.process.wait(30) == 0
            player.sees("you gave up")
        finally:
            player.process.kill()
            player.process.wait()
            player.close()


def refused(home: Home, *arguments: str | Path) -> str:
    said = home.flow("play", *arguments)
    assert said.returncode in (1, 2), said
    assert "Traceback" not in said.stderr, said
    return said.stderr


def test_a_run_of_another_network_or_game_is_told_by_what_differs_with_the_mend(home, monkeypatch):
    run = trained(home, TICTACTOE, monkeypatch)
    text = refused(home, TICTACTOE, "--run", run.name)
    assert "is of another game or network: width = 32 in the run, 128 in" in text
    assert f"flow play {run.graph_file} --run {run.name}" in text
    text = refused(home, NIM, "--run", run.name)
    assert "game = 'tictactoe' in the run, 'nim' in" in text


def test_without_a_name_the_newest_run_of_that_graph_that_fits_is_taken(home, monkeypatch):
    monkeypatch.setenv("FLOW_STATE_HOME", str(home.path / "state"))
    assert f"no run of {NIM} on this machine; start one: flow run {NIM}" in refused(home, NIM)
    bare = RunDirectory.create(home.path / "runs", NIM.stem)
    assert "has not begun to run yet" in refused(home, NIM)
    bare.begin(write_graph(load_graph(NIM)), seed=1)
    assert "has no checkpoint to play against; one is taken each minute" in refused(home, NIM)
    run = trained(home, NIM, monkeypatch)
    trained(home, TICTACTOE, monkeypatch)
    text = refused(home, NIM, "--set", "width=128")
    assert "can be played against" in text
    assert "width = 64 in the run, 128 in" in text
    said = home.flow("play", NIM, "--profile", "tiny", "--seed", "3")  # nobody types: the end of input gives up
    assert said.returncode == 0
    assert str(run.path) in said.stdout
    assert "you gave up" in said.stdout


def test_weights_that_do_not_fit_the_runs_own_graph_are_refused_by_name(home, monkeypatch):
    run = trained(home, NIM, monkeypatch, weights=TICTACTOE)
    text = refused(home, NIM, "--profile", "tiny", "--run", run.name)
    assert "its weights are of another network or game than the run's graph says (nim, network 'mlp', width 64" in text


def test_a_graph_of_no_board_game_and_no_simulations_are_refused(home, monkeypatch):
    assert "none of its nodes can be played against" in refused(home, ROOT / "graphs" / "digits.toml")
    assert "--simulations 0: a search takes 1 or more" in refused(home, NIM, "--simulations", "0")
    text = refused(home, NIM, "--set", "simulations=0")
    assert '"simulations": expected int from 1 to 100000, found 0' in text
    run = trained(home, ROOT / "graphs" / "muzero_atari.toml", monkeypatch)
    text = refused(home, ROOT / "graphs" / "muzero_atari.toml", "--profile", "tiny", "--run", run.name)
    assert "is no board game; `flow play` takes games of two players" in text
