"""Samples: what arrives is what passed, or its beginning; pictures and sound become files; statistics are numpy's."""

from __future__ import annotations

import wave

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from jaxtyping import Float32, Shaped

from flow import Array, Message
from flow.errors import ControlError
from flow.inspect.exports import save
from flow.inspect.pictures import picture_of
from flow.inspect.protocol import Unpacker, pack
from flow.inspect.samples import Sample, SampledArray, fields_of, read_sample
from flow.inspect.statistics import statistics
from flow.message import DTYPES


class Anything(Message):
    """Any array, a table and scalars."""

    values: Shaped[Array, "..."]
    table: dict[str, Float32[Array, "..."]]
    number: int
    text: str


arrays = st.sampled_from(DTYPES).flatmap(lambda dtype: hnp.arrays(dtype, hnp.array_shapes(min_dims=0, min_side=0)))
around = {"type": "Anything", "what": "message", "number": 3, "time": 1.5, "skipped": 2, "dropped": 1}


@given(values=arrays, most=st.integers(0, 4000), text=st.text(max_size=5))
def test_a_sample_holds_the_beginning_of_what_passed_and_no_more_than_was_asked_for(values, most, text):
    message = Anything(values, {"w": np.ones(3, np.float32)}, 7, text)
    words = msgpack.unpackb(msgpack.packb({**around, "fields": fields_of(message, most)}))
    sample = read_sample(words)
    got = sample.fields["values"]
    assert got.shape == values.shape
    assert got.values.dtype == values.dtype
    corner = tuple(slice(0, size) for size in got.values.shape)
    np.testing.assert_array_equal(got.values, values[corner])
    assert got.values.nbytes <= max(most // 2, 16, values.itemsize)
    assert got.is_cut == (got.values.shape != values.shape)
    if values.nbytes <= most // 2:
        assert not got.is_cut
    assert (sample.fields["number"], sample.fields["text"]) == (7, text)
    np.testing.assert_array_equal(sample.fields["table/w"].values[:1], [1])


@pytest.mark.parametrize(
    "fields",
    [[["a", "object", [1], [1], b"x"]], [["a", "int8", [1], [2], b"x"]], [[]], 5, [["a", "int8", [1], "x", b""]]],
)
def test_a_frame_that_holds_no_sample_is_refused(fields):
    with pytest.raises(ControlError, match="no sample"):
        read_sample({**around, "fields": fields})


@given(
    parts=st.lists(st.dictionaries(st.text(max_size=3), st.integers(-5, 5), max_size=3), max_size=5),
    cut=st.integers(1, 9),
)
def test_frames_come_out_as_they_went_in_however_the_stream_is_cut(parts, cut):
    stream = b"".join(pack(part) for part in parts)
    unpacker = Unpacker(1000)
    found = [words for at in range(0, len(stream), cut) for words in unpacker.feed(stream[at : at + cut])]
    assert found == parts


@given(garbage=st.binary(min_size=4, max_size=60))
def test_garbage_raises_a_control_error_or_waits_for_more(garbage):
    try:
        Unpacker(1000).feed(garbage)
    except ControlError:
        return


def test_a_frame_that_is_too_long_or_no_table_is_refused():
    with pytest.raises(ControlError, match="at most 1000 are allowed"):
        Unpacker(1000).feed(b"\xff\xff\xff\x7f")
    with pytest.raises(ControlError, match="holds a table, found list"):
        Unpacker(1000).feed(pack([1]))
    with pytest.raises(ControlError, match="no msgpack"):
        Unpacker(1000).feed(b"\x01\x00\x00\x00\xc1")


@given(values=hnp.arrays(np.float64, hnp.array_shapes(max_dims=2), elements=st.floats(-1e6, 1e6)))
def test_statistics_are_those_of_numpy(values):
    found = statistics(values)
    assert (found.least, found.most) == (values.min(), values.max())
    assert found.mean == pytest.approx(values.mean(), abs=1e-6)
    assert found.spread == pytest.approx(values.std(), abs=1e-6)
    assert (found.nans, found.infinities) == (0, 0)


def test_what_is_not_finite_is_counted_and_left_out():
    found = statistics(np.array([1.0, np.nan, np.inf, -np.inf, 0.0]))
    assert (found.least, found.most, found.nans, found.infinities, found.zeros) == (0, 1, 1, 2, 0.2)
    assert statistics(np.zeros((0, 3))).least is None
    assert statistics(np.array([True, False])).mean == 0.5
    assert statistics(np.array([3 + 4j])).most == 5


@pytest.mark.parametrize(
    ("shape", "dtype", "expected"),
    [
        ((84, 84), np.uint8, (84, 84)),
        ((3, 84, 84), np.uint8, (84, 84, 3)),
        ((5, 32, 48, 3), np.uint8, (64, 144, 3)),
        ((2, 84, 84, 4), np.uint8, (252, 252)),
        ((2, 84, 84, 4), np.float32, (252, 252)),
        ((100,), np.uint8, None),
        ((4, 4), np.uint8, None),
        ((84, 84), np.int64, None),
        ((4, 9000), np.float32, None),
    ],
)
def test_what_is_a_picture_becomes_one(shape, dtype, expected):
    picture = picture_of(np.ones(shape, dtype))
    assert (None if picture is None else picture.shape) == expected


def test_tiles_are_the_pictures_and_floats_are_stretched():
    frames = np.arange(2, dtype=np.uint8)[:, None, None] * np.ones((2, 8, 8), np.uint8)
    np.testing.assert_array_equal(picture_of(frames), np.repeat([[0] * 8 + [1] * 8], 8, axis=0))
    assert set(np.unique(picture_of(np.linspace(-5, 5, 64).reshape(8, 8)))) >= {0, 255}
    assert picture_of(np.full((8, 8), 0.5)).max() == 127


def test_pictures_sound_and_arrays_become_files(tmp_path):
    pillow = pytest.importorskip("PIL.Image")
    tone = np.sin(np.arange(800) / 8).astype(np.float32)
    picture = np.arange(64, dtype=np.uint8).reshape(8, 8)
    fields = {"samples": SampledArray(tone, (800,)), "seen": SampledArray(picture, (8, 8)), "rate": 8000}
    paths = save(Sample("Clip", "message", 0, 0.0, 0, 0, fields), tmp_path, "mic.clips-0")
    assert {path.name for path in paths} == {
        "mic.clips-0-samples.npy", "mic.clips-0-samples.wav", "mic.clips-0-seen.npy", "mic.clips-0-seen.png",
    }  # fmt: skip
    with wave.open(str(tmp_path / "mic.clips-0-samples.wav")) as sound:
        assert (sound.getframerate(), sound.getnframes(), sound.getnchannels()) == (8000, 800, 1)
        heard = np.frombuffer(sound.readframes(800), "<i2") / 32767
    np.testing.assert_allclose(heard, tone, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(pillow.open(tmp_path / "mic.clips-0-seen.png")), picture)
    np.testing.assert_array_equal(np.load(tmp_path / "mic.clips-0-samples.npy"), tone)
