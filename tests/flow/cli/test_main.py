"""The `flow` command: what it prints, and its exit status."""

import json
import subprocess
import sys
import xml.etree.ElementTree as ET

import pytest
from jsonschema import Draft202012Validator

from flow.cli.main import COMMANDS, main

GOOD = "tests/good_graph.toml"


def test_a_good_graph_is_told_in_a_line_and_what_a_resumption_cannot_promise(capsys):
    assert main(["check", GOOD]) == 0
    assert capsys.readouterr().out == (
        f"{GOOD}: ok, 4 nodes (5 replicas), 4 edges, 3 workers (play, main, model), edges hold at most 192 MiB\n"
        "  if the run is resumed, actor goes on otherwise: "
        "it keeps nothing of how far it is, and sends everything again\n"
    )


def test_a_bad_graph_is_told_whole_and_fails(capsys):
    assert main(["check", GOOD, "tests/bad_graphs/settings.toml"]) == 1
    out, err = capsys.readouterr()
    assert out.splitlines()[2] == "tests/bad_graphs/settings.toml: 8 problems"
    assert (out.count("tests/bad_graphs/settings.toml, nodes.actor"), err) == (8, ""), "all on one stream, in order"


def test_check_in_json(capsys):
    assert main(["check", "--json", GOOD, "tests/bad_graphs/cycle.toml"]) == 1
    good, bad = json.loads(capsys.readouterr().out)
    assert (good["ok"], good["edges"], good["workers"]) == (True, 4, ["play", "main", "model"])
    assert list(good["resumed_otherwise"]) == ["actor"]
    assert (bad["ok"], len(bad["problems"])) == (False, 1)


def test_a_graph_that_the_machine_cannot_hold_is_refused(capsys, monkeypatch):
    monkeypatch.setattr("flow.graph.bound.machine_memory", lambda: 1000)
    assert main(["check", GOOD]) == 1
    assert "this machine has 1e+03 B" in capsys.readouterr().out


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


def test_a_file_of_nodes_is_no_graph(tmp_path, capsys):
    (tmp_path / "balance.py").write_text('"""Nodes."""\n')
    assert main(["check", str(tmp_path / "balance.py")]) == 1
    assert (
        'it is Python, and a graph is TOML; a graph names it, as in run = "balance.py:NODE"' in capsys.readouterr().out
    )
    (tmp_path / "balance.toml").touch()
    assert main(["check", str(tmp_path / "balance.py")]) == 1
    assert f"did you mean {tmp_path / 'balance.toml'}?" in capsys.readouterr().out


def test_a_picture_of_another_kind_is_refused(tmp_path, capsys):
    assert main(["draw", GOOD, "-o", str(tmp_path / "even.png")]) == 2
    assert "the picture is an SVG, no .png; write -o" in capsys.readouterr().err
    assert not (tmp_path / "even.png").exists()


def test_a_word_finds_node_types_by_what_is_said_of_them(capsys):
    assert main(["nodes", "stretch"]) == 0
    said = capsys.readouterr().out
    assert "no node type is called 'stretch'; its description has it:" in said
    assert "nodes.stream.limit:limit  " in said
    assert main(["nodes", "xyzzy"]) == 2
    assert "no node type is called 'xyzzy' or has it in its description" in capsys.readouterr().err


def test_what_a_batch_sends_is_shown_by_an_example(capsys):
    assert main(["nodes", "nodes.stream.batch:batch"]) == 0
    said = capsys.readouterr().out
    assert "M is any message" in said
    assert "N follows from M; if M has values: float32 (time), count: int, size = 4, it has" in said
    assert "values: float32 (items, time), count: int64 (items)" in said


@pytest.mark.parametrize("name", ["nodes.stream.zip:zip", "nodes.stream.map:map", "nodes.env.gymnasium:actor"])
def test_what_an_example_cannot_show_is_said_to_follow(name, capsys):
    assert main(["nodes", name]) == 0
    assert " follows from the settings and from the other messages" in capsys.readouterr().out


NODES = """
from __future__ import annotations
from flow import Array, In, Message, Out, node
from jaxtyping import Float32

class Here(Message):
    values: Float32[Array, "8"]

class There(Message):
    values: {kind}[Array, "9"]

@node
async def source(out: Out[Here]) -> None: ...

@node
async def sink(into: In[There]) -> None: ...
"""
TIED = """
[nodes.source]
run = "balance.py:source"
[nodes.sink]
run = "balance.py:sink"
[edges]
"source.out" = "sink.into"
"""


def test_a_name_that_was_not_imported_is_told_with_the_line_to_write(tmp_path, capsys):
    (tmp_path / "balance.py").write_text(NODES.replace("{kind}", "Int32"))
    (tmp_path / "balance.toml").write_text(TIED)
    assert main(["check", str(tmp_path / "balance.toml")]) == 1
    said = capsys.readouterr().out
    assert "write `from jaxtyping import Int32` at the top of balance.py, outside `if TYPE_CHECKING`" in said


def test_where_the_nodes_are_ones_own_the_declaration_can_be_changed_too(tmp_path, capsys):
    (tmp_path / "balance.py").write_text(NODES.replace("{kind}", "Float32"))
    (tmp_path / "balance.toml").write_text(TIED)
    assert main(["check", str(tmp_path / "balance.toml")]) == 1
    said = capsys.readouterr().out
    assert "put a node between them that turns the one into the other, or change what balance.py:sink declares" in said
