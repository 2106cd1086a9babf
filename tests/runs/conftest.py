"""A home for each test's runs, in which nothing may be left alive."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runs.running import Home


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Home]:
    shared = set(os.listdir("/dev/shm"))
    home = Home(tmp_path)
    yield home
    left = home.end_all()
    assert not left, f"left alive: {left}"
    # Simulated runs of tests beside this one come and go there too.
    left_shared = {name for name in set(os.listdir("/dev/shm")) - shared if name.startswith("flow")}
    assert not {name for name in left_shared if not name.startswith("flow-simulated-")}


@pytest.fixture
def small_disk(home: Home) -> Iterator[Path]:
    """8 MiB, mounted where runs go by default."""
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a tmpfs needs root")
    place = home.path / "runs"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", place], capture_output=True, check=False)
    if made.returncode:
        pytest.skip(f"no tmpfs could be mounted: {made.stderr.decode().strip()}")
    yield place
    home.end_all()
    subprocess.run(["umount", "-l", place], check=True)
