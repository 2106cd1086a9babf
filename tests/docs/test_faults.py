"""Every test that docs/faults.md names is there, and every kind of fault that it says chaos makes."""

from __future__ import annotations

import re
from pathlib import Path

from tools.chaos.nemesis import FAULTS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "faults.md").read_text()


def test_each_test_that_is_named_is_there():
    named = re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", TEXT)
    assert len(named) > 20
    for file, test in named:
        assert re.search(rf"def {test}\(", (ROOT / file).read_text()), f"{file}::{test}"


def test_each_kind_that_is_named_is_one():
    for row in TEXT.splitlines():
        for part in re.findall(r"chaos, ([^|;:]+)", row):
            assert set(re.findall(r'"([\w ]+)"', part)) <= set(FAULTS), row
