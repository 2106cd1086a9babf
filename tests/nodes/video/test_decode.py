"""Decoders: every frame once, bad files named and left out, a chunk is all that is held; a queue of files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from flow.testing import drive, harness
from tests.nodes.video.clips_for_tests import texture, written

from nodes.video import codec  # isort: skip
from nodes.video.decode import decoder, pieces  # isort: skip
from nodes.video.messages import Next, Video  # isort: skip
from nodes.video.queue import NONE_LEFT, queue  # isort: skip


def video(path: Path, number: int = 1) -> Video:
    return Video(str(path), path.name, 0, 0, "train", f"{number:032x}", 24, "none", False, 90)


@pytest.fixture(scope="module")
def good(tmp_path_factory):
    return written(tmp_path_factory.mktemp("videos"), "h264 mp4")


def given_in_turn(files):
    async def answer(asked: Next) -> Video:
        number = int(asked.number[0])
        return video(files[number], number + 1) if number < len(files) else NONE_LEFT

    return answer


@settings(max_examples=20)
@given(chunk=st.integers(1, 30))
def test_pieces_join_to_the_whole_and_each_begins_with_the_last_frame_of_the_one_before(good, chunk):
    found = list(pieces(video(good), chunk, 60.0, 1))
    whole = [frame.image for frame in codec.frames(good, 24)]
    at = 0
    for piece in found:
        assert piece.start == at
        assert len(piece.frames) <= chunk + 1
        np.testing.assert_array_equal(piece.frames, whole[at : at + len(piece.frames)])
        at += len(piece.frames) - 1
    assert at == len(whole) - 1
    assert [piece.total for piece in found] == [0] * (len(found) - 1) + [len(whole)]


async def test_bad_files_are_left_out_by_name_and_the_others_are_decoded(good, tmp_path):
    cut, text = tmp_path / "cut.avi", tmp_path / "text.mp4"
    whole = written(tmp_path, "lossless").read_bytes()
    cut.write_bytes(whole[: len(whole) // 2])
    text.write_bytes(b"no video")
    said = await drive(decoder, work=given_in_turn([cut, good, text]), chunk=4)
    problems = {piece.name: piece.problem for piece in said.frames if piece.problem}
    assert set(problems) == {"cut.avi", "text.mp4"}
    assert "damaged" in problems["cut.avi"]
    assert said.metrics.counters == {"skipped": 2, "videos": 1, "frames": said.metrics.counters["frames"]}
    assert sum(piece.total for piece in said.frames) == 20


async def test_a_video_that_is_too_long_is_left_out(good):
    said = await drive(decoder, work=given_in_turn([good]), seconds_max=0.3)
    assert said.frames[-1].problem == "its header says that it lasts 0.8 s, longer than seconds_max = 0.3"
    assert len(said.frames) == 1


async def test_a_video_whose_header_tells_less_than_it_has_is_left_out_where_it_gets_too_long(good, monkeypatch):
    monkeypatch.setattr(codec, "_told_seconds", lambda container, stream: 0.0)
    said = await drive(decoder, work=given_in_turn([good]), seconds_max=0.3, chunk=4)
    assert [piece.problem for piece in said.frames] == ["", "it lasts at least 0.32 s, longer than seconds_max = 0.3"]


@pytest.mark.parametrize("frames", [40, 400])
def test_a_decoder_holds_a_chunk_however_long_a_video_is(monkeypatch, frames):
    """Frames are made one by one here, so that what is held can be counted."""
    alive, most = 0, 0

    class Counted(np.ndarray):
        def __array_finalize__(self, other):
            pass

        def __del__(self):
            nonlocal alive
            alive -= 1

    def made(path, *how):
        nonlocal alive, most
        for number in range(frames):
            alive += 1
            most = max(most, alive)
            yield codec.Frame(np.zeros((4, 4, 3), np.uint8).view(Counted), number / 25)

    monkeypatch.setattr(codec, "frames", made)
    total = [piece.total for piece in pieces(video(Path("long")), 8, 60.0, 1)][-1]
    assert total == frames
    assert most <= 8 + 3


@settings(max_examples=30)
@given(count=st.integers(0, 6), decoders=st.integers(1, 3))
async def test_each_file_is_given_to_one_decoder(count, decoders):
    files = [video(Path(f"{n}.avi"), n + 1) for n in range(count)]
    asked = [
        Next(np.array([decoder]), np.array([0]), np.array([number]))
        for number in range(count + 1)
        for decoder in range(decoders)
    ]
    said = await drive(queue, files=files, work=asked)
    given_ = [answer.key for answer in said.work if answer.key]
    assert sorted(given_) == sorted(each.key for each in files)


def ask(start: int, number: int) -> Next:
    return Next(np.array([0]), np.array([start]), np.array([number]))


async def asked_in_turn(files: list[Video], questions: list[Next]) -> tuple[list[str], dict[str, float]]:
    async with harness(queue) as h, trio.open_nursery() as nursery:

        async def push() -> None:
            for each in files:
                await h.push("files", each)
            h.close("files")

        nursery.start_soon(push)
        names = [(await h.ask("work", question)).name for question in questions]
        h.close("work")
        await h.ended()
        return names, h.metrics.counters


async def test_a_question_that_is_asked_again_gets_the_same_file():
    files = [video(Path(f"{n}.avi"), n + 1) for n in range(2)]
    names, _ = await asked_in_turn(files, [ask(0, 0), ask(0, 0), ask(0, 1), ask(0, 2)])
    assert names == ["0.avi", "0.avi", "1.avi", ""]


async def test_a_file_that_kills_its_decoder_twice_is_left_out_and_the_next_one_is_given():
    files = [video(Path(f"{n}.avi"), n + 1) for n in range(3)]
    names, counters = await asked_in_turn(files, [ask(0, 0), ask(0, 1), ask(1, 0), ask(2, 0), ask(2, 1)])
    assert names == ["0.avi", "1.avi", "1.avi", "2.avi", ""]
    assert counters["killers"] == 1


def test_frames_that_change_their_size_are_refused(monkeypatch):
    def made(path, *how):
        yield codec.Frame(texture(1)[0], 0.0)
        yield codec.Frame(texture(1, height=40)[0], 0.04)

    monkeypatch.setattr(codec, "frames", made)
    assert "change their size after 1" in list(pieces(video(Path("x")), 8, 60.0, 1))[-1].problem


async def test_the_queue_ends_when_its_decoders_have_though_files_are_left():
    said = await drive(queue, files=[video(Path("a.avi"))], work=[])
    assert not said.work
