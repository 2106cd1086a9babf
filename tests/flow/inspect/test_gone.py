"""A run whose directory is removed while it is looked at: the inspector and `flow top` say so and end with status 1."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import shutil
import struct
import subprocess
import sys
import termios
import time

import pytest

from flow.cli.main import main
from flow.run_directory import RunDirectory
from flow.stats import Page

pytest.importorskip("textual")


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOW_STATE_HOME", str(tmp_path / "home"))
    run = RunDirectory.create(tmp_path, "small")
    Page.open(run.page_file("actor", 0), node="actor", worker="main")
    return run


@pytest.mark.real_time
def test_the_inspector_leaves_with_a_line_and_status_1(run):
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
    command = [sys.executable, "-m", "flow", "inspect", run.name]
    process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | {"TERM": "xterm"})
    os.close(theirs)
    seen, end = b"", time.monotonic() + 30
    try:
        while b"lists the runs" not in seen and time.monotonic() < end:
            if select.select([ours], [], [], 0.1)[0]:
                seen += os.read(ours, 65536)
            if b"actor" in seen:
                shutil.rmtree(run.path, ignore_errors=True)
        process.wait(timeout=10)
    finally:
        process.kill()
        process.wait()
        os.close(ours)
    assert process.returncode == 1
    assert f"{run.path}: the run's directory is gone; `flow ps` lists the runs".encode() in seen
    assert b"Traceback" not in seen


def test_top_says_so_too_and_tells_a_missing_file_from_a_missing_directory(run, capsys, monkeypatch):
    from flow.cli import top

    def remove(seconds):
        shutil.rmtree(run.path)

    monkeypatch.setattr(top.time, "sleep", remove)
    assert main(["top", run.name]) == 1
    assert f"{run.path}: the run's directory is gone" in capsys.readouterr().err
    run.path.mkdir()
    with pytest.raises(Exception, match=r"the run's run\.json is gone"):
        run.about()
