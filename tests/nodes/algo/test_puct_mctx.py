"""The array search visits what mctx's does."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.real_time
@pytest.mark.skipif(importlib.util.find_spec("mctx") is None, reason="needs mctx: pip install mctx")
@pytest.mark.parametrize("arguments", [("-1.0", "masked"), ("0.97", "all")])
def test_visits_are_those_of_mctx(arguments):
    command = [sys.executable, "-m", "tests.nodes.algo.mctx_beside", *arguments]
    compared = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert compared.returncode == 0, compared.stderr
