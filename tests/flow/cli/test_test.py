"""`flow test` from the command line: what it prints, its exit status, and that a printed failure fails again."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flow import In, Out, node
from flow.cli.main import main
from flow.graph.registry import known_types
from flow.testing.command import unread_settings
from flow.testing.rules import RULES
from tests.flow.testing.zoo.speech import Item

CHUNKER = """
import numpy as np
from jaxtyping import Float32
from flow import *

class Clip(Message):
    samples: Float32[Array, "time"]
    rate: int

@node(promises=Promises(excused={"C20": "it is only a test"}))
async def chunker(recordings: In[Clip], chunks: Out[Clip], *, seconds: float = 1.0) -> None:
    async for clip in recordings:
        size = round(seconds * clip.rate)
        for start in range(0, len(clip.samples) - size + 1, size):
            await chunks.send(Clip(clip.samples[start : start + size], clip.rate))
"""


@pytest.fixture
def chunker(tmp_path):
    path = tmp_path / "sounds.py"
    path.write_text(CHUNKER)
    return f"{path}:chunker"


@pytest.mark.real_time
def test_a_failure_prints_a_test_that_fails_again(chunker, tmp_path, capsys):
    assert main(["test", chunker, "--rule", "C01", "--rule", "C05", "--rule", "C16", "--rule", "C20"]) == 1
    printed = capsys.readouterr().out
    assert "C01  FAILED" in printed
    assert "C05  ok" in printed
    assert "C16  does not apply" in printed
    assert "it has no Serve port" in printed
    assert "C20  excused" in printed
    assert "it is only a test" in printed
    test = tmp_path / "test_shown.py"
    test.write_text(printed[printed.index('"""') : printed.index("  C05")])
    again = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(test)],
        cwd=tmp_path, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert again.returncode == 1, again.stdout
    assert "BrokenError: it fails on what its types allow: ValueError: range() arg 3 must not be zero" in again.stdout


def test_rules_are_listed_a_line_each(capsys):
    assert main(["test", "--rules"]) == 0
    assert [line[:3] for line in capsys.readouterr().out.splitlines()] == list(RULES)


def test_json_holds_each_result(chunker, capsys):
    assert main(["test", chunker, "--json", "--rule", "C15", "--setting", "seconds=0.5"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["rule"], row["status"], row["test"]) == ("C15", "ok", "")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["nodes.stream.shuffle:shufle"], "did you mean 'shuffle'"),
        (["nodes.stream.shuffle:shuffle", "--rule", "C99"], "there is no rule 'C99'; there are C01"),
        (["nodes.stream.shuffle:shuffle", "--setting", "sise=3"], "has no setting 'sise'; it has size, seed"),
        (["nodes.stream.shuffle:shuffle", "--setting", "size"], "write KEY=VALUE"),
        (["nothing.py:chunker"], "there is no file 'nothing.py'"),
        ([], "name a node"),
    ],
)
def test_wrong_use_is_told(words, says, capsys):
    assert main(["test", *words]) == 2
    assert says in capsys.readouterr().err


def test_a_graph_that_is_not_there_is_told(tmp_path, capsys):
    assert main(["test", str(Path(tmp_path) / "none.toml")]) == 1
    assert "none.toml" in capsys.readouterr().err


def test_without_hypothesis_it_says_what_to_install(monkeypatch, capsys):
    for name in [name for name in sys.modules if name.startswith("flow.testing")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "hypothesis", None)
    assert main(["test", "nodes.stream.shuffle:shuffle"]) == 1
    assert 'pip install "flow-research[testing]"' in capsys.readouterr().err


@node
async def forgets(items: In[Item], out: Out[Item], *, forget: int = 1, keep: int = 1, within: int = 2) -> None:
    def told() -> int:
        return within

    async for item in items:
        await out.send(Item(item.number // (keep + told())))


def test_a_setting_that_nothing_reads_is_a_hint():
    assert unread_settings(forgets) == ["forget"]
    types, _ = known_types()
    assert {name: found for name, each in types.items() if (found := unread_settings(each))} == {}
