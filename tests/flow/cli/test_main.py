"""The `flow` command: what it prints, and its exit status."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from jsonschema import Draft202012Validator

from flow.cli.main import COMMANDS, main

GOOD = "tests/good_graph.toml"


def test_a_good_graph_is_told_in_a_line(capsys):
    assert main(["check", GOOD]) == 0
    assert capsys.readouterr().out == (
        f"{GOOD}: ok, 4 nodes (5 replicas), 4 edges, 3 workers (play, main, model), edges hold at most 192 MiB\n"
    )


def test_a_bad_graph_is_told_whole_and_fails(capsys):
    assert main(["check", GOOD, "tests/bad_graphs/settings.toml"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[1] == "tests/bad_graphs/settings.toml: 8 problems"
    assert err.count("tests/bad_graphs/settings.toml, nodes.actor") == 8


def test_check_in_json(capsys):
    assert main(["check", "--json", GOOD, "tests/bad_graphs/cycle.toml"]) == 1
    good, bad = json.loads(capsys.readouterr().out)
    assert (good["ok"], good["edges"], good["workers"]) == (True, 4, ["play", "main", "model"])
    assert (bad["ok"], len(bad["problems"])) == (False, 1)


def test_a_graph_that_the_machine_cannot_hold_is_refused(capsys, monkeypatch):
    monkeypatch.setattr("flow.graph.bound.machine_memory", lambda: 1000)
    assert main(["check", GOOD]) == 1
    assert "this machine has 1e+03 B" in capsys.readouterr().err


@pytest.mark.parametrize("words", [[], ["chek"], ["check"], ["check", "--prof", "x"], ["nodes", "acter"], ["draw"]])
def test_wrong_use_is_status_2(words, capsys):
    assert main(words) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_every_help_has_an_example(command, capsys):
    assert main([command, "--help"]) == 0
    assert f"flow {command}" in capsys.readouterr().out.partition("example")[2]


def test_errors_are_plain_text(capsys):
    assert main(["draw", GOOD, "--profile", "tinny"]) == 1
    assert capsys.readouterr().err == (
        f"{GOOD}, profiles, \"tinny\": there is no profile 'tinny'; did you mean 'tiny'?\n"
    )


def test_a_drawing_is_written(tmp_path, capsys):
    assert main(["draw", GOOD, "-o", str(tmp_path / "graph.svg"), "--set", "game=<&>"]) == 0
    ET.parse(tmp_path / "graph.svg")
    assert main(["draw", GOOD]) == 0
    assert main(["draw", GOOD, "-o", str(tmp_path / "nowhere" / "graph.svg")]) == 2
    assert "cannot be written: No such file or directory" in capsys.readouterr().err


def test_a_node_type_is_told_whole(capsys):
    assert main(["nodes", "tests.nodes_for_tests:actor"]) == 0
    out = capsys.readouterr().out
    assert "──► frames: Out[Frames]" in out
    assert "  frames  uint8 (lanes, size, size)  grey levels" in out
    assert "  lanes: int from 1 to 4096, default 2\n      games played at once." in out
    assert "  speed: float, default 1.0, can change while it runs" in out


def test_node_types_in_json(capsys):
    assert main(["nodes", "--json", "tests.nodes_for_tests:actor"]) == 0
    (told,) = json.loads(capsys.readouterr().out)
    assert [setting["name"] for setting in told["settings"] if setting["required"]] == ["game"]


def test_an_unknown_node_type_offers_the_nearest(capsys):
    assert main(["nodes", "tests.nodes_for_tests:acter"]) == 2
    assert capsys.readouterr().err.endswith("tests.nodes_for_tests has no node type 'acter'; did you mean 'actor'?\n")


def test_the_schema_is_a_schema(tmp_path):
    assert main(["schema", "-o", str(tmp_path / "schema.json")]) == 0
    Draft202012Validator.check_schema(json.loads((tmp_path / "schema.json").read_text()))


@pytest.mark.real_time
def test_checking_a_graph_imports_nothing_heavy():
    program = f"""
import sys
from flow.cli.main import main
status = main(["check", {GOOD!r}])
print([name for name in ("torch", "cv2", "rich", "matplotlib", "lmdb", "zmq") if name in sys.modules], status)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines()[-1] == "[] 0", done.stdout + done.stderr
