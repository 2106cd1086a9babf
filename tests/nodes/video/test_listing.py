"""Data sets as nodes list them: what is missing is told, and of two sets a class is never the other's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from flow import Context
from flow.errors import MissingError
from flow.testing import drive
from tests.nodes.video.clips_for_tests import written

from nodes.video.listing import listing  # isort: skip


def heard(directory) -> tuple[Context, list[str]]:
    texts: list[str] = []
    return Context("files", directory=directory, log=lambda text, level="info": texts.append(text)), texts


async def test_files_that_a_split_names_and_the_disk_does_not_have_are_counted_and_named(tmp_path):
    (tmp_path / "A").mkdir()
    written(tmp_path / "A", "mpeg4 avi", 2)
    (tmp_path / "classInd.txt").write_text("1 A\n")
    gone = "".join(f"A/gone{n}.avi 1\n" for n in range(5))
    (tmp_path / "trainlist01.txt").write_text(f"A/mpeg4_avi.avi 1\n{gone}")
    (tmp_path / "testlist01.txt").write_text("A/mpeg4_avi.avi\n")
    context, texts = heard(tmp_path / "run")
    said = await drive(listing, path=str(tmp_path), layout="ucf101", context=context)
    assert [each.name for each in said.files] == ["A/mpeg4_avi.avi"] * 2
    assert said.metrics.counters == {"missing": 5, "files": 2}
    assert texts == [
        f"{tmp_path}: of 5 files of its lists there is none, such as A/gone0.avi, A/gone1.avi, A/gone2.avi"
    ]


async def test_a_folder_with_no_videos_ends_the_node_with_what_to_give(tmp_path):
    (tmp_path / "class").mkdir()
    (tmp_path / "class" / "notes.txt").write_text("")
    with pytest.raises(MissingError, match=r"no video of the data set in it\. Give the folder that holds"):
        await drive(listing, path=str(tmp_path), layout="folders", context=Context("files", directory=tmp_path))


async def test_a_class_with_one_video_is_learned_from(tmp_path):
    (tmp_path / "alone").mkdir()
    written(tmp_path / "alone", "mpeg4 avi", 2)
    context = Context("files", directory=tmp_path / "run")
    said = await drive(listing, path=str(tmp_path), layout="folders", test_share=0.9, context=context)
    assert [(each.name, each.part) for each in said.files] == [("alone/mpeg4_avi.avi", "train")]


async def test_two_data_sets_with_one_class_name_are_two_tasks(small_ucf101, other_ucf101, tmp_path):
    found = []
    for task, place in enumerate((small_ucf101, other_ucf101)):
        context = Context("files", directory=tmp_path / str(task))
        said = await drive(listing, path=str(place), layout="ucf101", task=task, all_train=task == 1, context=context)
        found += said.files
    assert {each.task for each in found} == {0, 1}
    assert all((small_ucf101, other_ucf101)[each.task] in _above(each.path) for each in found)
    assert {each.part for each in found if each.task == 1} == {"train"}
    classes = [json.loads((tmp_path / str(task) / "classes.json").read_text()) for task in (0, 1)]
    assert classes[0] == classes[1] == ["ApplyEyeMakeup", "HandstandPushups", "YoYo"]


def _above(path: str):
    return Path(path).parents
