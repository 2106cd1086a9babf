"""What a message type shows of itself where a sample of it is looked at."""

from __future__ import annotations

import numpy as np
import pytest

from flow.graph.load import load_graph
from flow.graph.write import write_graph
from flow.inspect.samples import Sample, SampledArray
from flow.inspect.shown import Shower, picture_of_text
from flow.run_directory import RunDirectory

GRAPH = "graphs/muzero_tictactoe.toml"


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOW_STATE_HOME", str(tmp_path / "state"))
    found = RunDirectory.create(tmp_path, "run")
    found.begin(write_graph(load_graph(GRAPH)), seed=0)
    return found


def positions(kind: str = "Positions") -> Sample:
    seen = np.zeros((2, 2, 3, 3), np.float32)
    seen[0, 0, 1, 1] = seen[0, 1, 0, 2] = 1
    array = SampledArray(seen, seen.shape)
    return Sample(kind, "question", 0, 0.0, 0, 0, {"observations": array})


def test_positions_are_shown_as_boards_whether_or_not_the_node_itself_names_the_game(run):
    expected = [". . o\n. x .\n. . .", ". . .\n. . .\n. . ."]
    assert Shower(run, "selfplay", "planner").texts(positions()) == expected
    assert Shower(run, "planner", "requests").texts(positions()) == expected


def test_other_messages_and_ports_show_nothing(run):
    assert Shower(run, "selfplay", "planner").texts(positions("Plans")) == []
    assert Shower(run, "selfplay", "nowhere").texts(positions()) == []
    assert Shower(run, "nobody", "planner").texts(positions()) == []


def test_a_run_whose_graph_cannot_be_read_shows_numbers_alone(run):
    run.graph_file.write_text("nodes = 3")
    assert Shower(run, "selfplay", "planner").texts(positions()) == []


def test_text_becomes_a_picture_with_ink_where_letters_are():
    pytest.importorskip("PIL", reason="needs Pillow")
    picture = picture_of_text("x o\n. .")
    assert picture.dtype == np.uint8
    assert (picture == 255).mean() > 0.5
    assert picture.min() < 100
    assert not np.array_equal(picture, picture_of_text("o x\n. ."))
