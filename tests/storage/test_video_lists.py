"""Data sets of video files as people have them: which files, which classes, and what is said of a broken one."""

from __future__ import annotations

from pathlib import Path

import pytest

from flow.errors import MissingError, StorageError
from storage.importers.videos import folders, hmdb51, ucf101


def touch(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"")


def test_ucf101_is_read_by_its_own_lists(small_ucf101):
    found = ucf101(small_ucf101)
    assert found.classes == ["ApplyEyeMakeup", "HandstandPushups", "YoYo"]
    assert [entry.part for entry in found.entries].count("test") == 3
    assert {(entry.name.partition("/")[0], entry.label) for entry in found.entries} == {
        ("ApplyEyeMakeup", 0), ("HandstandPushups", 1), ("YoYo", 2)
    }  # fmt: skip
    assert len(found.entries) == 12
    assert not found.missing
    assert all(entry.path.exists() for entry in found.entries)


def test_hmdb51_is_read_by_its_own_lists_whatever_the_names_hold(tmp_path):
    odd = "#20_Rhythm; clap [1] (u)_nm_np1.avi"
    touch(tmp_path / "hmdb51", f"clap/{odd}", "clap/b.avi", "wave/c.avi", "wave/d.avi")
    lists = tmp_path / "testTrainMulti_7030_splits"
    lists.mkdir()
    (lists / "clap_test_split1.txt").write_text(f"{odd} 1 \nb.avi 2 \n")
    (lists / "wave_test_split1.txt").write_text("c.avi 0 \nd.avi 1 \n")
    found = hmdb51(tmp_path)
    assert found.classes == ["clap", "wave"]
    assert [(entry.name, entry.label, entry.part) for entry in found.entries] == [
        (f"clap/{odd}", 0, "train"), ("clap/b.avi", 0, "test"), ("wave/d.avi", 1, "train")
    ]  # fmt: skip


def test_files_that_a_list_names_and_the_disk_does_not_have_are_told(tmp_path):
    touch(tmp_path / "UCF-101", "A/a.avi")
    touch(tmp_path / "ucfTrainTestlist", "x")
    lists = tmp_path / "ucfTrainTestlist"
    (lists / "classInd.txt").write_text("1 A\n")
    (lists / "trainlist01.txt").write_text("A/a.avi 1\nA/gone.avi 1\n")
    (lists / "testlist01.txt").write_text("A/gone_too.avi\n")
    found = ucf101(tmp_path)
    assert found.missing == ["A/gone.avi", "A/gone_too.avi"]
    (tmp_path / "UCF-101" / "A" / "a.avi").unlink()
    with pytest.raises(MissingError, match=r"there is no video .* its lists name 3 files, such as 'A/a.avi'"):
        ucf101(tmp_path)


@pytest.mark.parametrize(
    ("classes", "train", "problem"),
    [
        ("1 A\n3 B\n", "", r"classInd.txt, line 2: expected '2 NAME', found '3 B'"),
        ("1 A\n", "B/b.avi 1\n", r"trainlist01.txt, line 1: 'B' is no class of classInd.txt"),
    ],
)
def test_a_list_that_cannot_be_understood_is_named_with_its_line(tmp_path, classes, train, problem):
    touch(tmp_path, "classInd.txt", "testlist01.txt")
    (tmp_path / "classInd.txt").write_text(classes)
    (tmp_path / "trainlist01.txt").write_text(train)
    with pytest.raises(StorageError, match=problem):
        ucf101(tmp_path)


def test_folders_without_a_split_hold_the_same_files_out_each_time(tmp_path):
    touch(tmp_path, *(f"a/{n}.avi" for n in range(10)), "b/alone.MP4", "b/notes.txt", "empty/notes.txt")
    found = folders(tmp_path, 0.2)
    assert found == folders(tmp_path, 0.2)
    assert found.classes == ["a", "b"]
    held = {entry.name for entry in found.entries if entry.part == "test"}
    assert len(held) == 2
    assert all(name.startswith("a/") for name in held)  # of a class with one video, that one is learned from
    (tmp_path / "a" / "new.avi").write_bytes(b"")
    more = {entry.name for entry in folders(tmp_path, 0.2).entries if entry.part == "test"}
    assert len(held - more) <= 1


def test_folders_with_a_split_keep_it(tmp_path):
    touch(tmp_path, "train/a/1.avi", "test/a/2.avi", "test/b/3.avi")
    found = folders(tmp_path)
    assert [(entry.name, entry.label, entry.part) for entry in found.entries] == [
        ("a/1.avi", 0, "train"), ("a/2.avi", 0, "test"), ("b/3.avi", 1, "test")
    ]  # fmt: skip


def test_no_folder_and_a_folder_with_no_videos_are_said(tmp_path):
    with pytest.raises(MissingError, match="there is no such folder"):
        folders(tmp_path / "nowhere")
    with pytest.raises(MissingError, match="there is no video of the data set in it"):
        folders(tmp_path)
    with pytest.raises(MissingError, match="list is not there"):
        ucf101(tmp_path)
    with pytest.raises(MissingError, match=r"unpack test_train_splits\.rar there"):
        hmdb51(tmp_path)
