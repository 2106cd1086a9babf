"""The nemesis: a short run of it ends well, and its judge finds what is lost, doubled, torn or left."""

from __future__ import annotations

import os
import secrets
import subprocess
import sys

import pytest

from storage.replay import Chunk
from tools.chaos import judge
from tools.chaos.nemesis import FAULTS
from tools.chaos.nodes import STEPS, columns_of, open_store
from tools.chaos.world import ROOT

pytestmark = pytest.mark.real_time


def _may_unshare() -> bool:
    own = ["unshare", "--mount", *(["--map-root-user"] if os.getuid() else [])]
    try:
        return subprocess.run([*own, "mount", "-t", "tmpfs", "none", "/mnt"], capture_output=True).returncode == 0
    except OSError:
        return False


@pytest.mark.slow
def test_a_run_that_is_tormented_loses_doubles_and_leaves_nothing():
    if not _may_unshare():
        pytest.skip("needs a mount namespace: unshare --mount")
    command = [sys.executable, "-m", "tools.chaos", "--minutes", "0.2", "--seed", "7", "--every", "0.05", "0.3"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=150)
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert "0 violations; seed 7" in done.stdout


def test_there_are_as_many_kinds_of_fault_as_were_promised():
    assert len(FAULTS) >= 15


@pytest.fixture
def stored(tmp_path):
    """A store with two unrolls of stream 1, and their acknowledgements."""
    with open_store(tmp_path / "store") as store:
        for start in (0, STEPS):
            store.append([Chunk(1, start, columns_of(1, start, start + STEPS))])
    (tmp_path / "acknowledged").write_text(f"1 0 {STEPS}\n1 {STEPS} {2 * STEPS}\n")
    return tmp_path


def said(place):
    return list(judge.stored_wrongly(place / "store", place / "acknowledged"))


def test_what_is_as_it_was_acknowledged_is_well(stored):
    assert said(stored) == []


@pytest.mark.parametrize(
    ("line", "text"),
    [
        (f"1 0 {STEPS}", "acknowledged twice"),
        (f"1 {2 * STEPS} {3 * STEPS}", "acknowledged and not stored"),
        (f"2 0 {STEPS}", "acknowledged and never stored: of streams [2]"),
    ],
)
def test_what_is_doubled_or_lost_is_found(stored, line, text):
    with (stored / "acknowledged").open("a") as file:
        file.write(f"{line}\n")
    assert any(text in each for each in said(stored))


@pytest.mark.parametrize("name", ["frames", "first", "terminated"])
def test_a_step_that_is_not_what_was_sent_is_found_a_fake_terminal_too(stored, name):
    columns = columns_of(3, 0, STEPS)
    columns[name] = columns[name].copy()
    columns[name][4] ^= True
    with open_store(stored / "store") as store:
        store.append([Chunk(3, 0, columns)])
    assert [each for each in said(stored) if f"{name} of stream 3" in each]


def test_what_is_left_behind_is_found(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOW_STATE_HOME", str(tmp_path / secrets.token_hex(4)))
    run = judge.RunDirectory.create(tmp_path, "x")
    assert list(judge.left_behind(run)) == []
    (run.path / ".graph.toml.12").touch()
    (run.checkpoints / "000003.part").mkdir()
    (run.sockets / "main.0").touch()
    assert len(list(judge.left_behind(run))) == 3
    run.remove_sockets()
