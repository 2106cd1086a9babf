"""The tool that kills writers of the store finds nothing wrong with ours, and does find what is wrong."""

from __future__ import annotations

import pytest

from tools import kills

pytestmark = pytest.mark.real_time


def test_no_killed_writer_leaves_a_torn_group_or_takes_an_acknowledged_one_with_it(tmp_path):
    count, problems = kills.kill_writers(tmp_path / "store", 12, 5)
    assert problems == []
    assert count.kills == 12


def test_what_was_acknowledged_and_is_not_there_is_found(tmp_path):
    kills.begun(tmp_path / "store")
    (said,) = kills.wrong(tmp_path / "store", 10 * kills.STEPS, 0, kills.Count(), kills.STEPS)
    assert said == "steps up to 50 were acknowledged, up to 0 are stored"
