"""Videos in a dataset: what is there is not made again, what is broken or lost is told, none stands for another."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

import numpy as np
import pytest

from flow import Context, disk
from flow.errors import DiskFullError
from flow.testing import drive
from tests.nodes.video.clips_for_tests import written

from nodes.given.video import pieces_of  # isort: skip
from nodes.video.messages import Listed, Pieces  # isort: skip
from nodes.video.store import absent, store  # isort: skip
from storage.dataset import Dataset  # isort: skip


def heard() -> tuple[Context, list[str]]:
    texts: list[str] = []
    return Context("store", log=lambda text, level="info": texts.append(text)), texts


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("videos")
    written(place, "mpeg4 avi")
    written(place, "h264 mp4")
    return place


def listed(*paths: Path) -> list[Listed]:
    return [Listed(str(path), path.name, 0, 0, "train") for path in paths]


async def test_what_is_stored_is_not_sent_to_be_decoded_until_something_else_is_to_be_made_of_it(folder, tmp_path):
    files = listed(*sorted(folder.iterdir()))
    first = await drive(absent, files=files, path=str(tmp_path), side=16)
    assert [each.name for each in first.missing] == [each.name for each in files]
    assert not first.stored
    with Dataset(tmp_path) as dataset:
        dataset.put(first.missing[0].key, {"frames": (0, [b"x"])})
        dataset.finish(first.missing[0].key, {"frames": 1}, {})
    second = await drive(absent, files=files, path=str(tmp_path), side=16)
    assert [each.name for each in second.stored] == [files[0].name]
    assert [each.name for each in second.missing] == [files[1].name]
    for change in ({"side": 24}, {"flow": "farneback"}, {"both_ways": True}, {"quality": 80}):
        other = await drive(absent, files=files, path=str(tmp_path), **{"side": 16, **change})
        assert len(other.missing) == 2, change


async def test_a_file_that_cannot_be_read_and_one_with_the_bytes_of_another_are_told(folder, tmp_path):
    path = folder / "mpeg4_avi.avi"
    twin = tmp_path / "twin.avi"
    shutil.copy(path, twin)
    context, texts = heard()
    said = await drive(
        absent, files=listed(path, twin, tmp_path / "gone.avi"), path=str(tmp_path / "dataset"), context=context
    )
    assert [each.name for each in said.missing] == [path.name]
    assert said.metrics.counters == {"present": 0, "twins": 1, "unreadable": 1}
    assert texts[0] == "twin.avi is left out: it has the bytes of mpeg4_avi.avi"
    assert texts[1].endswith("gone.avi is left out: No such file or directory")


def broken(piece: Pieces, problem: str) -> Pieces:
    return Pieces(**{**vars(piece), "values": {}, "sizes": {}, "first": {}, "counts": {}, "problem": problem})


def part(piece: Pieces, *, last: bool) -> Pieces:
    """The piece without its counts, or with nothing but its counts: what two messages of a video hold."""
    empty = {"values": {}, "sizes": {}, "first": {}} if last else {"counts": {}}
    return Pieces(**{**vars(piece), **empty})


async def test_pieces_in_any_order_and_twice_make_a_video_whole_once(tmp_path):
    piece = pieces_of(4, 1)
    body, tail = part(piece, last=False), part(piece, last=True)
    for number, order in enumerate([[body, tail], [tail, body], [body, body, tail]]):
        said = await drive(store, pieces=order, path=str(tmp_path / str(number)))
        assert [each.key for each in said.stored] == [piece.key]
        with Dataset(tmp_path / str(number)) as dataset:
            assert dataset.record(piece.key).counts["frames"] == 4


async def test_a_video_that_is_broken_or_of_which_a_part_was_lost_leaves_nothing(tmp_path):
    whole, lost, bad = pieces_of(3, 1), pieces_of(3, 2), pieces_of(3, 3)
    context, texts = heard()
    said = await drive(
        store,
        pieces=[part(lost, last=False), part(bad, last=False), whole, broken(bad, "it is damaged")],
        path=str(tmp_path),
        context=context,
    )
    assert [each.name for each in said.stored] == [whole.name]
    assert said.metrics.counters == {"videos_stored": 1, "unfinished": 1}
    assert texts == ["video 2 is not whole: a part of it was lost; a next run makes it"]
    with Dataset(tmp_path) as dataset:
        assert [record.key for record in dataset.records()] == [whole.key]
        assert dataset.unfinished() == []
        assert np.all([not problem for problem in dataset.problems()])


async def test_a_disk_that_gets_full_ends_the_import_and_a_next_one_makes_only_what_is_missing(tmp_path):
    found = [pieces_of(3, seed) for seed in range(3)]
    writes = 0

    def full(what: str, path: Path) -> None:
        nonlocal writes
        writes += 1
        if writes > 3:  # a video takes two: its values, and that it is whole
            raise OSError(errno.ENOSPC, "No space left on device")

    with disk.watched(full), pytest.raises(DiskFullError, match=r"no space left .* free some space and start anew"):
        await drive(store, pieces=found, path=str(tmp_path))
    with Dataset(tmp_path) as dataset:
        assert [record.key for record in dataset.records()] == [found[0].key]
        assert not list(dataset.problems())
    said = await drive(store, pieces=found[1:], path=str(tmp_path))
    assert len(said.stored) == 2
    with Dataset(tmp_path) as dataset:
        assert len(list(dataset.records())) == 3
        assert not list(dataset.problems())
