"""`flow new`: what it writes works as it is, and it never writes over anything."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.cli.main import main
from flow.cli.new import FILES, name_problem
from tests.runs.running import ROOT

TOOLS = Path(sys.executable).parent


@pytest.fixture
def empty(tmp_path, monkeypatch):
    """An empty folder that one stands in."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    return tmp_path


def in_folder(folder: Path, *words: str) -> str:
    """What a command says in a folder; it must succeed."""
    # Without this checkout on the path, as for someone who has installed flow.
    environment = {**os.environ, "FLOW_STATE_HOME": str(folder / "state"), "PYTHONPATH": ""}
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=180, check=False)
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.real_time
def test_what_is_written_checks_runs_and_passes_its_tests(tmp_path):
    flow = str(TOOLS / "flow")
    assert "flow run first.toml" in in_folder(tmp_path, flow, "new", "graph", "first")
    in_folder(tmp_path, flow, "new", "node", "chunker")
    assert in_folder(tmp_path, flow, "check", "first.toml").startswith("first.toml: ok, 3 nodes, 2 edges")
    summary = in_folder(tmp_path, flow, "run", "first.toml", "--seed", "1")
    assert re.search(r"(?m)^  samples +20,000", summary)
    in_folder(tmp_path, sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", ".")
    assert "──► smoothed: Out[Samples]" in in_folder(tmp_path, flow, "nodes", "chunker.py:chunker")
    in_folder(tmp_path, str(TOOLS / "ruff"), "format", "--check", "--config", str(ROOT / "pyproject.toml"), ".")
    rules = ["--config", str(ROOT / "pyproject.toml"), "--ignore", "I001,ANN"]  # where imports go depends on the folder
    in_folder(tmp_path, str(TOOLS / "ruff"), "check", *rules, ".")


@pytest.mark.parametrize("kind", FILES)
def test_nothing_is_written_over(kind, empty, capsys):
    assert main(["new", kind, "mine"]) == 0
    before = {path: path.read_text() for path in empty.iterdir() if path.is_file()}
    assert main(["new", kind, "mine"]) == 2
    assert capsys.readouterr().err == (
        f"flow new {kind}: {', '.join(path.name for path in _in_order(kind))} are there already; choose another name\n"
    )
    assert {path: path.read_text() for path in empty.iterdir() if path.is_file()} == before


def _in_order(kind: str) -> list[Path]:
    return [Path(file.format(name="mine")) for file in FILES[kind]]


@pytest.mark.parametrize("kind", FILES)
def test_one_file_that_is_there_keeps_all_from_being_written(kind, empty, capsys):
    (empty / "test_mine.py").write_text("mine\n")
    assert main(["new", kind, "mine"]) == 2
    assert capsys.readouterr().err == f"flow new {kind}: test_mine.py is there already; choose another name\n"
    assert [path.name for path in empty.iterdir()] == ["test_mine.py"]


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("MyChunker", "'MyChunker' is no name; use at most 40 small letters, digits and _, a letter first, such as my"),
        ("chunker.py", "'chunker.py' is no name; use at most 40 small letters, digits and _, a letter first, such as"),
        ("größe", "'größe' is no name; use at most 40 small letters, digits and _, a letter first"),
        ("9", "'9' is no name; use at most 40 small letters, digits and _, a letter first"),
        ("class", "'class' is a word of Python; choose another, such as my_class"),
        ("test_it", "'test_it' would be taken for a test by pytest; choose another name"),
        ("json", "json.py would hide the module 'json' that is installed; choose another name, such as my_json"),
        ("numpy", "numpy.py would hide the module 'numpy' that is installed; choose another name, such as my_numpy"),
    ],
)
def test_a_name_that_would_not_work_is_refused(name, problem, empty, capsys):
    assert main(["new", "node", name]) == 2
    assert capsys.readouterr().err.startswith(f"flow new node: {problem}")
    assert list(empty.iterdir()) == []


@given(st.text(max_size=12))
def test_a_name_that_is_taken_is_one_of_python_and_of_a_file(name):
    if not name_problem(name, there=["so that no module is looked for"]):
        assert name.isidentifier()
        assert Path(name).name == name


def test_what_the_test_needs_is_said_with_the_command_that_installs_it(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["new", "node", "one"]) == 0
    said = capsys.readouterr().out
    assert "  python -m pytest test_one.py" in said
    assert "pip install" not in said
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    assert main(["new", "node", "two"]) == 0
    said = capsys.readouterr().out
    assert "the test needs hypothesis, which is not installed: pip install" in said
    assert 'pip install -e ".[testing]"' in said
