"""Every document does what it says: its files are written and its commands run, as they stand, in an empty folder."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.docs.snippets import Command, Console, File, missing, snippets
from tests.runs.running import ROOT

DOCUMENTS = sorted((ROOT / "docs").rglob("*.md"))
COMMAND_S = 180.0
ACTIVE = [path for path in DOCUMENTS if any(isinstance(each, Console) for each in snippets(path))]


def environment(folder: Path) -> dict[str, str]:
    """As after activating the virtual environment in a new terminal."""
    tools = Path(sys.executable).parent
    kept = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "COLUMNS")}
    return {
        **kept,
        "PATH": f"{tools}:{kept['PATH']}",
        "FLOW_STATE_HOME": str(folder / "state"),
        "HYPOTHESIS_STORAGE_DIRECTORY": str(folder / "examples"),
    }


def typed(command: Command, folder: Path, home: Path) -> tuple[int, str]:
    """Type a command; its exit status, and what it printed."""
    with tempfile.TemporaryFile("w+") as output:
        # A file and no pipe: what a command leaves running in the background would keep a pipe open.
        process = subprocess.Popen(
            ["bash", "-c", command.text],
            cwd=folder,
            env=environment(home),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            status = process.wait(COMMAND_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
        output.seek(0)
        return status, output.read()


@pytest.mark.real_time
@pytest.mark.slow
@pytest.mark.parametrize("document", [str(path.relative_to(ROOT)) for path in ACTIVE])
def test_a_document_does_what_it_says(document, tmp_path):
    folder, home = tmp_path / "reader", tmp_path / "home"
    folder.mkdir()
    for snippet in snippets(ROOT / document):
        if isinstance(snippet, File):
            path = folder / snippet.name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(snippet.text)
            continue
        for command in [] if snippet.not_run else snippet.commands:
            status, printed = typed(command, folder, home)
            place = f"{document}:{snippet.line}: $ {command.text}\n{printed}"
            failed = snippet.fails and command is snippet.commands[-1]
            assert (status != 0) == failed, f"exit status {status}\n{place}"
            line = missing(command.shown, printed)
            assert line is None, f"not printed: {line}\n{place}"


lines = st.lists(st.text(st.characters(codec="ascii", exclude_categories=["C"]), max_size=10), max_size=6)


@given(lines)
def test_what_was_printed_is_found_in_itself(printed):
    assert missing(printed, "\n".join(printed)) is None


@given(lines, st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_number_stands_for_any_other(before, one, other):
    assert missing([*before, f"loss {one}"], "\n".join([*before, f"loss   {other:,}"])) is None


def test_what_was_not_printed_or_came_earlier_is_missing():
    assert missing(["b", "a"], "a\nb\n") == "a"
    assert missing(["wrote x"], "wrote y\n") == "wrote x"
    assert missing(["a … d", "…", "e"], "x\na b c d\ne\n") is None


def test_blocks_are_read_as_they_stand(tmp_path):
    document = tmp_path / "page.md"
    document.write_text(
        "text\n\n```{code-block} python\n:caption: a.py\n\nx = 1\n```\n\n% fails\n```console\n$ one \\\n  two\nout\n"
        "$ three\n```\n% not run: why\n```console\n$ four\n```\n```python\nno file\n```\n"
    )
    file, first, second = snippets(document)
    assert file == File("a.py", "x = 1\n")
    assert first == Console([Command("one \\\n  two", ["out"]), Command("three")], 10, fails=True)
    assert second.not_run == "why"
