"""What a node does with its files is heard before it is done."""

import os

import pytest

from flow import disk
from flow.testing.files import heard


def test_what_is_done_below_a_directory_is_heard_and_nothing_else(tmp_path):
    mine, other = tmp_path / "mine", tmp_path / "other"
    mine.mkdir()
    said: list[str] = []
    with heard(mine, said.append):
        (mine / "made").mkdir()
        (mine / "made" / "a").write_text("x")
        os.rename(mine / "made" / "a", mine / "b")
        (mine / "b").unlink()
        disk.about_to("record", mine / "c")
        other.mkdir()
        (tmp_path / "mine-too").write_text("x")
    (mine / "late").write_text("x")
    assert said == ["make made", "open made/a", "move made/a", "remove b", "write of record to c"]


def test_what_is_raised_is_raised_in_the_place_of_the_file(tmp_path):
    def full(what: str) -> None:
        raise OSError(28, what)

    with heard(tmp_path, full), pytest.raises(OSError, match="open a"):
        (tmp_path / "a").write_text("x")
    assert not list(tmp_path.iterdir())
