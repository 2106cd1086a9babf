"""The documents are built without a doubt, and what is generated loses nothing."""

from __future__ import annotations

import inspect
import re
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

import flow
from flow.cli.main import COMMANDS
from flow.graph.registry import known_types
from flow.testing.rules import RULES
from tests.runs.running import ROOT
from tools.documents.prose import as_markdown, fenced

pytest.importorskip("sphinx", reason="needs Sphinx: pip install -e '.[docs]'")

from tools.documents import reference


@pytest.mark.real_time
@pytest.mark.slow
def test_the_documents_are_built_without_a_warning(tmp_path):
    built = subprocess.run(
        ["sphinx-build", "-W", "--keep-going", "-q", "-b", "html", "docs", str(tmp_path / "html")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert built.returncode == 0, built.stdout + built.stderr
    page = (tmp_path / "html" / "reference" / "nodes.html").read_text()
    assert all(name in page for name in known_types()[0])


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text)


@pytest.mark.parametrize("name", flow.__all__)
def test_no_word_of_a_docstring_is_lost(name):
    doc = inspect.getdoc(getattr(flow, name)) or ""
    assert words(as_markdown(doc).replace("```text", "")) == words(doc)


documents = st.lists(
    st.sampled_from(["", "text of it", "    a ──► b", "| a | b |", "Args:", "  name: what", "    more", "- item"]),
    max_size=12,
).map("\n".join)


@given(documents)
def test_no_word_of_any_docstring_is_lost(doc):
    assert words(as_markdown(doc).replace("```text", "")) == words(doc)


@given(st.text(alphabet="`a \n", max_size=20))
def test_a_block_ends_at_its_own_fence(text):
    lines = fenced(text).split("\n")
    fence = lines[-1]
    assert [line for line in lines[1:] if line.startswith(fence)] == [fence]


def test_every_command_node_type_and_public_name_is_told():
    assert all(f"## flow {name}\n" in reference.all_commands() for name in COMMANDS)
    told = reference.all_node_types()
    assert all(f"### {name}\n" in told for name in known_types()[0])
    assert all(f"## flow.{name}\n" in reference.public_names("flow") for name in flow.__all__)


def test_every_rule_of_the_contract_is_told():
    told = reference.all_rules()
    assert all(f"| {rule.id} | {rule.line} |" in told for rule in RULES.values())


def test_a_node_type_is_told_with_ports_fields_and_settings():
    told = reference.node_type("a:b", known_types()[0]["nodes.serve.policy:policy"])
    assert "| `requests` | `Serve[Observations, Actions]` |" in told
    assert "| `lane_ids` | `int64 (rows)` | Which lane" in told
    assert "| `game` | `str` | required |" in told
    assert r"| `network` | `one of 'small', 'impala'` | `'small'` | which architecture" in told
