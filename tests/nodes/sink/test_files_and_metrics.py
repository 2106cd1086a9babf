"""What sinks leave: sounds and images that are read back, and metrics that say what passed."""

import wave
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from jaxtyping import Float32, Int64, Shaped, UInt8

from flow import Array, Message
from flow.context import Context
from flow.errors import DiskFullError, MessageError, SettingError, StorageError
from flow.testing import drive
from nodes.sink import files
from nodes.sink.image import image, pixels_of, sheet
from nodes.sink.metrics import metrics
from nodes.sink.wav import Audio, wav
from tests.nodes.stream.streams import Clip, bound, problem_of

try:
    from PIL import Image
except ModuleNotFoundError:
    Image = None
needs_pillow = pytest.mark.skipif(Image is None, reason='needs Pillow: pip install "flow-research[image]"')


class Picture(Message):
    image: UInt8[Array, "height width ..."]


class Figures(Message):
    loss: float
    frames: int
    returns: Float32[Array, "rows"]
    counts: Int64[Array, "others"]
    name: str


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("files")


def fresh(folder: Path) -> Path:
    made = folder / str(len(list(folder.iterdir())))
    made.mkdir()
    return made


def sound(path: Path) -> tuple[np.ndarray, int]:
    with wave.open(str(path)) as file:
        assert file.getsampwidth() == 2
        pcm = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return pcm.reshape(-1, file.getnchannels()), file.getframerate()


@given(
    clips=st.lists(
        npst.arrays(
            np.float32,
            npst.array_shapes(min_dims=1, max_dims=2, max_side=5),
            elements=st.floats(-2, 2, width=32),
        ),
        max_size=4,
    ),
    rate=st.sampled_from([8_000, 44_100]),
)
async def test_a_wav_file_holds_the_sound_to_half_a_step(folder, clips, rate):
    place = fresh(folder)
    result = await drive(wav, clips=[Audio(samples, rate) for samples in clips], folder=str(place))
    assert sorted(path.name for path in place.iterdir()) == [f"{n:06}.wav" for n in range(len(clips))]
    for number, samples in enumerate(clips):
        pcm, found_rate = sound(place / f"{number:06}.wav")
        assert found_rate == rate
        expected = np.clip(samples.reshape(len(samples), -1), -1, 1) * 32767
        assert np.abs(pcm - expected).max() <= 0.51
    clipped = sum(int((np.abs(samples) > 1).sum()) for samples in clips)
    assert result.metrics.counters.get("clipped", 0) == clipped


@pytest.mark.parametrize(
    ("audio", "text"),
    [
        (Audio(np.zeros((1, 1, 1), np.float32), 8), r"expected \(time,\) or \(time, channels\), found \(1, 1, 1\)"),
        (Audio(np.array([np.nan], np.float32), 8), "one of them is not finite, and no sound"),
        (Audio(np.zeros(1, np.float32), 0), "field rate: 0 Hz is no sampling rate"),
    ],
)
async def test_what_is_no_sound_is_refused(tmp_path, audio, text):
    with pytest.raises(MessageError, match=text):
        await drive(wav, clips=[audio], context=Context("wav", directory=tmp_path))
    assert not list(tmp_path.iterdir())


@given(count=st.integers(0, 9), every=st.integers(1, 3), most=st.integers(1, 3))
async def test_some_of_the_clips_are_kept_and_the_newest_take_the_place_of_the_oldest(folder, count, every, most):
    place = fresh(folder)
    sent = [Audio(np.full(1, n / 10, np.float32), 8) for n in range(count)]
    context = Context("wav", directory=place)
    await drive(wav, clips=sent, context=context, every=every, most=most)
    kept = list(range(0, count, every))[-most:]
    found = sorted(round(float(sound(path)[0][0, 0]) / 32767 * 10) for path in place.iterdir())
    assert found == kept


@needs_pillow
@given(
    pixels=npst.arrays(
        np.uint8,
        st.tuples(st.integers(1, 4), st.integers(1, 4)).flatmap(
            lambda size: st.sampled_from([size, (*size, 1), (*size, 3), (*size, 4)])
        ),
    )
)
async def test_a_png_file_holds_the_image(folder, pixels):
    place = fresh(folder)
    await drive(bound(image, Picture), items=[Picture(pixels)], folder=str(place))
    found = np.asarray(Image.open(place / "000000.png"))
    np.testing.assert_array_equal(found, pixels[..., 0] if pixels.ndim == 3 and pixels.shape[2] == 1 else pixels)


@given(values=npst.arrays(np.float32, (2, 3), elements=st.floats(-1, 2, width=32) | st.just(np.nan)))
def test_floats_are_brightness_from_0_to_1(values):
    found = pixels_of(values).astype(float) / 255
    np.testing.assert_allclose(found, np.clip(np.nan_to_num(values), 0, 1), atol=0.5 / 255 + 1e-6)


@given(count=st.integers(1, 10), shape=st.sampled_from([(2, 5), (2, 5, 3)]))
def test_a_sheet_holds_every_image_once(count, shape):
    images = np.arange(1, count + 1, dtype=np.uint8).reshape(-1, *[1] * len(shape)) * np.ones(shape, np.uint8)
    made = sheet(images)
    area = shape[0] * shape[1] * (shape[2] if len(shape) == 3 else 1)
    values, areas = np.unique(made[made > 0], return_counts=True)
    assert list(values) == list(range(1, count + 1))
    assert (areas == area).all()
    assert pixels_of(images).shape == made.shape


def test_what_is_no_image_is_refused():
    assert "no field 'imag'; did you mean 'image'?" in problem_of(image, Picture, field="imag")
    assert "field = 'loss' is float, no image; expected uint8" in problem_of(image, Figures, field="loss")
    with pytest.raises(MessageError, match=r"expected an image of uint8 or floats.* found int64 \(2, 2\)"):
        pixels_of(np.zeros((2, 2), np.int64))


@given(
    sent=st.lists(
        st.builds(
            Figures,
            loss=st.floats(-9, 9),
            frames=st.integers(0, 9),
            returns=npst.arrays(np.float32, st.integers(0, 3), elements=st.floats(-9, 9, width=32)),
            counts=npst.arrays(np.int64, st.integers(0, 3), elements=st.integers(0, 9)),
            name=st.just(""),
        ),
        max_size=5,
    )
)
async def test_metrics_say_what_passed(sent):
    settings = {"series": ["loss", "returns"], "gauges": ["loss"], "counters": ["frames", "counts"], "prefix": "my_"}
    found = (await drive(bound(metrics, Figures, **settings), items=sent, **settings)).metrics
    assert found.series.get("my_loss", []) == [each.loss for each in sent]
    assert found.series.get("my_returns", []) == [float(value) for each in sent for value in each.returns]
    assert found.gauges.get("my_loss") == (sent[-1].loss if sent else None)
    assert found.counters.get("my_frames", 0) == sum(each.frames for each in sent)
    assert found.counters.get("my_counts", 0) == sum(int(each.counts.sum()) for each in sent)


class Strange(Message):
    anything: Shaped[Array, "..."]


async def test_what_is_no_metric_is_refused():
    assert "no field 'los'; did you mean 'loss'?" in problem_of(metrics, Figures, series=["los"])
    assert "gauges = 'name' is str, which is no number" in problem_of(metrics, Figures, gauges=["name"])
    assert "series = 'tensors' is {name: int16" in problem_of(metrics, Clip, series=["tensors"])
    assert 'nothing is written; name fields, as in series = ["loss"]' in problem_of(metrics, Figures)
    with pytest.raises(MessageError, match="field anything of a Strange holds no numbers for a metric"):
        await drive(metrics, items=[Strange(np.zeros(1, np.complex64))], series=["anything"])


def test_a_disk_that_fails_leaves_no_half_file(tmp_path):
    def full(file: Path) -> None:
        file.write_text("half")
        raise OSError(28, "No space left on device")

    with pytest.raises(DiskFullError, match=r"a.png: no space is left for it; free some"):
        files.write_whole(tmp_path / "a.png", full)
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"cannot be written: Not a directory|cannot be written: File exists"):
        files.write_whole(tmp_path / "file" / "a.png", lambda file: None)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


async def test_replicas_have_a_folder_each(tmp_path):
    for replica in range(2):
        context = Context("wav", replica=replica, replicas=2)
        await drive(wav, clips=[Audio(np.zeros(1, np.float32), 8)], context=context, folder=str(tmp_path))
    assert sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.wav")) == [
        "0/000000.wav",
        "1/000000.wav",
    ]


def test_settings_that_do_not_fit_are_refused():
    with pytest.raises(SettingError):
        image.settings["every"].accept(0)
