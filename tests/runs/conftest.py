"""A home for each test's runs, in which nothing may be left alive."""

from __future__ import annotations

import os
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
    # What a simulation beside these tests has there now is none of theirs.
    assert set(os.listdir("/dev/shm")) <= shared | {
        name for name in os.listdir("/dev/shm") if not name.startswith("flow") or name.startswith("flow-simulated-")
    }
