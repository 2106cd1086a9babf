"""Frames of video files are those that FFmpeg shows; a clip is part of them; what cannot be used says why."""

from __future__ import annotations

import shutil
import subprocess
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.nodes.video.clips_for_tests import FAST, KINDS, av, texture, written

from nodes.video import codec  # isort: skip


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    return {kind: written(folder, kind) for kind in KINDS}


@pytest.mark.parametrize("kind", KINDS)
def test_every_frame_is_there_and_looks_as_it_was_encoded(files, kind):
    found = list(codec.frames(files[kind]))
    assert len(found) == 20
    assert found[0].time == 0
    for frame, image in zip(found, texture(), strict=True):
        expected = np.rot90(image) if kind == "turned" else image
        if kind == "grey":
            expected = np.repeat((image @ [0.299, 0.587, 0.114])[..., None], 3, axis=-1)
        off = np.abs(frame.image.astype(int) - expected).mean()
        assert off < 12, (kind, off)
    if kind == "lossless":
        np.testing.assert_array_equal(found[7].image, texture()[7])


@settings(max_examples=40)
@given(
    kind=st.sampled_from(list(KINDS)),
    start=st.integers(0, 19),
    count=st.integers(1, 5),
    side=st.sampled_from([None, 24]),
)
def test_a_clip_is_exactly_those_frames_of_the_whole(files, kind, start, count, side):
    whole = list(codec.frames(files[kind], side))
    if start + count > 20:
        with pytest.raises(codec.UnusableError, match="are asked for; it has fewer"):
            codec.clip(files[kind], start, count, side)
        return
    clip = codec.clip(files[kind], start, count, side)
    for frame, expected in zip(clip, whole[start : start + count], strict=True):
        np.testing.assert_array_equal(frame.image, expected.image)
        assert frame.time == pytest.approx(expected.time)


@pytest.mark.parametrize("kind", KINDS)
def test_frames_are_those_of_ffmpeg(files, kind):
    """PyAV's own way through FFmpeg's filters, apart from the way that is tested."""
    with av.open(str(files[kind])) as container:
        stream = container.streams.video[0]
        graph = av.filter.Graph()
        source = graph.add_buffer(template=stream)
        # What the ffmpeg command puts in for a picture that is to be turned counterclockwise.
        last = source
        if kind == "turned":
            last = graph.add("transpose", "cclock")
            source.link_to(last)
        form, sink = graph.add("format", "pix_fmts=rgb24"), graph.add("buffersink")
        last.link_to(form)
        form.link_to(sink)
        graph.configure()
        shown = []
        for frame in container.decode(stream):
            graph.push(frame)
            shown.append(graph.pull().to_ndarray())
    found = [frame.image for frame in codec.frames(files[kind])]
    assert len(found) == len(shown)
    for ours, theirs in zip(found, shown, strict=True):
        # Scalers differ in how they round chroma; an image that is another frame's differs by far more.
        assert np.abs(ours.astype(int) - theirs).mean() < 1.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.skipif(shutil.which("ffmpeg") is None, reason="needs the ffmpeg command: apt-get install ffmpeg")
def test_frames_are_those_of_the_ffmpeg_command(files, kind):
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-i",
        files[kind],
        "-fps_mode",
        "passthrough",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "rgb24",
        "-",
    ]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    found = np.stack([frame.image for frame in codec.frames(files[kind])])
    theirs = np.frombuffer(raw, np.uint8).reshape(found.shape)
    assert np.abs(found.astype(int) - theirs).mean((1, 2, 3)).max() < 1.5


def test_times_tell_a_variable_rate(files):
    times = [frame.time for frame in codec.frames(files["variable rate"])]
    assert times == pytest.approx([(n * (n + 1) // 2) / 25 for n in range(20)], abs=1e-3)


def test_the_smallest_side_is_what_is_asked_for(files):
    assert next(codec.frames(files["h264 mp4"], 24)).image.shape == (24, 32, 3)
    assert next(codec.frames(files["turned"], 24)).image.shape == (32, 24, 3)


@pytest.mark.parametrize("kind", ["h264 mp4", "mpeg4 avi", "lossless", "10 bit"])
@pytest.mark.parametrize("part", [0.0, 0.02, 0.4, 0.7])
def test_a_file_that_was_cut_off_is_refused_with_a_reason(files, tmp_path, kind, part):
    whole = files[kind].read_bytes()
    cut = tmp_path / f"cut{files[kind].suffix}"
    cut.write_bytes(whole[: int(part * len(whole))])
    with pytest.raises(codec.UnusableError, match=r"empty|cannot be opened|damaged|cut off|no frame"):
        list(codec.frames(cut))


def test_what_is_no_video_is_refused_with_a_reason(tmp_path):
    text, sound = tmp_path / "text.avi", tmp_path / "sound.wav"
    text.write_bytes(b"no video" * 100)
    with av.open(str(sound), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    for path, reason in [
        (text, "cannot be opened as a video"), (sound, "no video stream, only audio"),
        (tmp_path / "gone.avi", "cannot be opened: No such file"),
    ]:  # fmt: skip
        with pytest.raises(codec.UnusableError, match=reason):
            list(codec.frames(path))


def test_frames_too_large_for_memory_are_refused(files, monkeypatch):
    monkeypatch.setattr(codec, "FRAME_BYTES_MAX", 64 * 48 * 3 - 1)
    with pytest.raises(codec.UnusableError, match="its frames have 64x48 pixels"):
        list(codec.frames(files["h264 mp4"]))


@pytest.mark.parametrize("ending", [".mp4", ".mkv"])
def test_a_video_of_ten_hours_by_its_header_is_refused_and_nothing_of_it_is_decoded(tmp_path, monkeypatch, ending):
    path = tmp_path / f"long{ending}"
    # Two frames, ten hours apart: the header alone is long.
    hours = [0, 36_000 * 25]
    codec.write(path, texture(2), codec="libx264", rate=Fraction(25), options=FAST, times=hours)
    monkeypatch.setattr(codec._Scaler, "__call__", lambda self, frame: pytest.fail("a frame was decoded"))
    with pytest.raises(codec.UnusableError, match=r"its header says that it lasts 36000.* s, longer than .* = 1800"):
        list(codec.frames(path, 24, seconds_max=1800.0))


def test_a_frame_of_8k_is_read_and_nothing_larger_is_decoded(tmp_path, monkeypatch):
    path = tmp_path / "8k.mp4"
    image = np.zeros((4320, 7680, 3), np.uint8)
    image[:, 3840:] = 255
    codec.write(path, [image], codec="libx264", rate=Fraction(25), options=FAST)
    (frame,) = codec.frames(path, 24)
    assert frame.image.shape == (24, 43, 3)
    assert frame.image[:, :20].max() < 8
    assert frame.image[:, -20:].min() > 247
    monkeypatch.setattr(codec, "FRAME_BYTES_MAX", image.nbytes - 1)
    monkeypatch.setattr(codec._Scaler, "__call__", lambda self, frame: pytest.fail("a frame was decoded"))
    with pytest.raises(codec.UnusableError, match=r"its frames have 7680x4320 pixels, more than 94 MiB each"):
        list(codec.frames(path, 24))


def test_a_video_stream_without_a_frame_and_a_file_of_no_bytes_are_refused(files, tmp_path):
    empty = tmp_path / "empty.mp4"
    empty.touch()
    with pytest.raises(codec.UnusableError, match="it is empty"):
        list(codec.frames(empty))
    none = tmp_path / "none.avi"
    with av.open(str(none), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    with pytest.raises(codec.UnusableError, match="there is no frame in it"):
        list(codec.frames(none))
