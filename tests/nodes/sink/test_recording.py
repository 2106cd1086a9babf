"""Recorded and played back, a stream is the same, bit for bit."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.context import Context
from flow.errors import SettingError
from flow.testing import drive
from nodes.data.recording import read
from nodes.sink.recording import tee, write
from storage.recording import RecordingReader
from tests.nodes.stream.streams import Clip, Numbered, assert_all_same, bound, clips, drive_in_parts, numbered

rests = st.lists(st.integers(1, 7), max_size=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("recordings")


def fresh(folder: Path) -> str:
    return str(folder / f"{len(list(folder.iterdir()))}.flow")


@given(sent=clips(), rests=rests, passes=st.integers(1, 2))
async def test_what_passed_a_tee_is_passed_on_and_read_back_also_when_both_are_killed(folder, sent, rests, passes):
    path = fresh(folder)
    passed = await drive_in_parts(bound(tee, Clip), rests, "passed", ports={"items": sent}, path=path)
    assert_all_same(passed, sent)
    settings = {"path": path, "passes": passes}
    reader = read.bound(read.binds(settings, {}), {})
    assert_all_same((await drive(reader, **settings)).messages, sent * passes)
    assert_all_same(await drive_in_parts(reader, rests, "messages", ports={}, **settings), sent * passes)


@given(sent=clips())
async def test_what_was_written_is_read_back(folder, sent):
    path = fresh(folder)
    result = await drive(bound(write, Clip), items=sent, path=path)
    assert result.metrics.counters.get("recorded", 0) == len(sent)
    again = await drive(read.bound(read.binds({"path": path}, {}), {}), path=path)
    assert_all_same(again.messages, sent)
    assert again.metrics.counters.get("read", 0) == len(sent)


async def test_without_a_path_it_lies_in_the_run_and_replicas_have_a_file_each(tmp_path):
    made = bound(write, Numbered)
    await drive(made, items=numbered([1]), context=Context("write", directory=tmp_path))
    with RecordingReader(tmp_path / "recording.flow") as reader:
        assert reader.count() == 1
    for replica in range(2):
        context = Context("write", replica=replica, replicas=2)
        await drive(made, items=numbered([replica] * replica), context=context, path=str(tmp_path / "own.flow"))
    for replica in range(2):
        with RecordingReader(tmp_path / f"own-{replica}.flow") as reader:
            assert reader.count() == replica


async def test_read_for_ever_goes_on_until_it_is_stopped(tmp_path):
    path = str(tmp_path / "three.flow")
    await drive(bound(write, Numbered), items=numbered([1, 2, 3]), path=path)
    result = await drive(read.bound(read.binds({"path": path}, {}), {}), messages=10, path=path, passes=None)
    assert [message.number for message in result.messages] == [1, 2, 3, 1, 2, 3, 1, 2, 3, 1]


def test_what_cannot_be_read_is_told_before_a_run(tmp_path):
    with pytest.raises(SettingError, match=r"path = .*: there is no recording at"):
        read.binds({"path": str(tmp_path / "nothing.flow")}, {})
    empty = tmp_path / "empty.flow"
    empty.mkdir()  # as a writer does first
    with pytest.raises(SettingError, match="holds nothing yet, not even the type of its messages; record to it first"):
        read.binds({"path": str(empty)}, {})


async def test_more_than_is_read_at_once_is_read_in_order(tmp_path):
    path = str(tmp_path / "many.flow")
    await drive(bound(write, Numbered), items=numbered(list(range(200))), path=path)
    result = await drive(read.bound(read.binds({"path": path}, {}), {}), path=path)
    np.testing.assert_array_equal([message.number for message in result.messages], np.arange(200))
