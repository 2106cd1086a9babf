"""Samples and views of stored videos: every one once an epoch, the same for a seed, and exactly on after a kill."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from flow import Context
from flow.errors import SettingError
from flow.testing import drive
from tests.nodes.video.clips_for_tests import cv2

from nodes.algo.optical_flow import flow_stack, quantise, restore, trajectory_stack  # isort: skip
from nodes.given import video as made  # isort: skip
from nodes.recognition import Stored  # isort: skip
from nodes.video.flow import columns_of, pack_field, unpack_field  # isort: skip
from nodes.video.sample import samples, views  # isort: skip
from nodes.video.volume import COLOURS, DEVIATION, FLOW_SCALE, Augmentation, Reader, Volume, starts_of, volume_of  # isort: skip
from storage.dataset import Dataset  # isort: skip

VIDEOS = 7
assert cv2


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    path = tmp_path_factory.mktemp("dataset")
    with Dataset(path, create=True) as dataset:
        for number in range(VIDEOS):
            piece = made.pieces_of(6 + number % 2, number)
            dataset.put(piece.key, columns_of(piece))
            assert dataset.finish(piece.key, {n: int(c[0]) for n, c in piece.counts.items()}, {"name": piece.name})
    return path


def stored(part: str = "train") -> list[Stored]:
    frames = [made.frames_of(6 + number % 2, number) for number in range(VIDEOS)]
    return [Stored(each.key, f"video {number}", number % 3, 0, part) for number, each in enumerate(frames)]


async def sampled(place, order=None, **given_):
    settings_ = {"path": str(place), "kind": "flow", "length": 2, "crop": 12, "batch": 2, "updates": 14, **given_}
    videos = stored()
    return await drive(samples, stored=[videos[n] for n in order or range(VIDEOS)], **settings_)


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 99), order=st.permutations(range(VIDEOS)))
async def test_an_epoch_has_each_video_once_in_an_order_of_its_own_that_repeats_with_the_seed(place, seed, order):
    said = await sampled(place, order, context=Context("samples", seed=seed))
    seen = np.concatenate([batch.video for batch in said.batches]).tolist()
    epochs = [seen[start : start + VIDEOS] for start in range(0, 4 * VIDEOS, VIDEOS)]
    assert all(sorted(epoch) == list(range(VIDEOS)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) > 1
    # Whatever order they were stored in, which depends on who decodes faster.
    again = await sampled(place, None, context=Context("samples", seed=seed))
    assert np.concatenate([batch.video for batch in again.batches]).tolist() == seen
    for one, other in zip(said.batches, again.batches, strict=True):
        np.testing.assert_array_equal(one.bytes, other.bytes)
    other = await sampled(place, None, context=Context("samples", seed=seed + 1))
    assert np.concatenate([batch.video for batch in other.batches]).tolist() != seen


@settings(max_examples=6, deadline=None)
@given(cut=st.integers(1, 13))
async def test_killed_in_mid_epoch_it_goes_on_with_the_very_sample_that_would_have_come(place, cut):
    whole = await sampled(place)
    first = await sampled(place, updates=cut)
    settings_ = {"path": str(place), "kind": "flow", "length": 2, "crop": 12, "batch": 2, "updates": 14}
    rest = await drive(samples, stored=[], saved=first.saved, **settings_)
    both = [*first.batches, *rest.batches]
    assert len(both) == len(whole.batches)
    for one, other in zip(both, whole.batches, strict=True):
        for name in ("bytes", "scale", "shift", "label", "video"):
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


async def test_replicas_share_one_order(place):
    alone = await sampled(place, seed=5)
    parts = [
        (await sampled(place, seed=5, context=Context("samples", replica=n, replicas=3, seed=n))).batches
        for n in range(3)
    ]
    assert len(parts[0]) + len(parts[1]) + len(parts[2]) == len(alone.batches)
    for number, batch in enumerate(alone.batches):
        np.testing.assert_array_equal(batch.bytes, parts[number % 3][number // 3].bytes)


async def test_replicas_without_one_seed_are_refused(place):
    with pytest.raises(SettingError, match="has 3 replicas, which take turns in one order: give them one seed"):
        await sampled(place, context=Context("samples", replicas=3))


async def test_by_classes_each_class_is_drawn_as_often(place):
    by_class = await drive(
        samples, stored=[*stored()[:1], *[each for each in stored() if each.label]], path=str(place), kind="frame",
        crop=12, batch=100, updates=6, order="classes", length=2,
    )  # fmt: skip
    counts = Counter(np.concatenate([batch.label for batch in by_class.batches]).tolist())
    assert all(abs(count - 200) < 50 for count in counts.values()), counts


@pytest.mark.parametrize("kind", ["flow", "trajectories", "both_ways"])
@pytest.mark.parametrize("mean", [False, True])
def test_a_volume_is_the_papers_stack_of_the_stored_fields(place, kind, mean):
    with Dataset(place) as dataset:
        record = dataset.record(stored()[1].key)
        reader = Reader(dataset, kind, 4, mean)
        start = starts_of(record.counts["frames"], reader).start
        volume = reader.read(record, start)
        with dataset.reading(record) as value:
            if kind == "both_ways":
                places = [("flow", start), ("flow", start + 1), ("back", start - 1), ("back", start - 2)]
            else:
                places = [("flow", start + n) for n in range(4)]
            stored_fields = [unpack_field(value(*each)) for each in places]
    fields = [restore(each) for each in stored_fields]
    expected = trajectory_stack(fields) if kind == "trajectories" else flow_stack(fields)
    if mean:
        expected = expected - np.concatenate([each.mean for each in stored_fields])[:, None, None]
    found = meant(volume)
    steps = np.concatenate([each.high - each.low for each in stored_fields])[:, None, None] / 255
    assert np.all(np.abs(found / FLOW_SCALE - expected) <= 0.51 * steps + 1e-3)


FIELDS = npst.arrays(np.float32, (2, 5, 6), elements=st.floats(-30, 30, width=32))


def meant(volume: Volume) -> np.ndarray:
    return volume.bytes * volume.scale[:, None, None] + volume.shift[:, None, None]


@given(field=FIELDS, most=st.floats(0.25, 40))
def test_a_limited_volume_is_what_it_was_clipped_to_the_limit(field, most):
    stored_ = quantise(field)
    volume = Volume(stored_.bytes, (stored_.high - stored_.low) / 255, stored_.low)
    limited = volume.limited(most)
    assert np.abs(meant(limited)).max() <= most * (1 + 1e-5) + 1e-5
    # Half a step of what is left of the range is lost, and no more.
    step = limited.scale[:, None, None] * 0.51 + 1e-4
    assert np.all(np.abs(meant(limited) - meant(volume).clip(-most, most)) <= step)
    assert np.all(limited.scale <= volume.scale + 1e-7)


@pytest.mark.parametrize("kind", ["flow", "trajectories"])
@pytest.mark.parametrize(("mean", "expected"), [(True, 4.0), (False, 8.0)])
def test_flow_is_clipped_after_its_mean_is_subtracted(tmp_path, kind, mean, expected):
    """All moves by 20 pixels to the right, half of it by 4 more and half by 4 less."""
    field = np.full((2, 16, 16), 20, np.float32)
    field[:, :8] += 4
    field[:, 8:] -= 4
    with Dataset(tmp_path, create=True) as dataset:
        key = f"{7:032x}"
        dataset.put(key, {"frames": (0, [b"", b""]), "flow": (0, [pack_field(field, 100)])})
        dataset.finish(key, {"frames": 2, "flow": 1}, {"name": "by 20"})
        volume = Reader(dataset, kind, 1, mean, flow_max=8.0).read(dataset.record(key), 0)
    found = meant(volume) / FLOW_SCALE
    np.testing.assert_allclose(found[:, :6], expected, atol=0.1)
    np.testing.assert_allclose(found[:, 10:], -4 if mean else 8, atol=0.1)


def test_a_mirrored_volume_moves_the_other_way(place):
    with Dataset(place) as dataset:
        volume = Reader(dataset, "flow", 2, True).read(dataset.record(stored()[0].key), 0)
    mirrored = volume.mirrored(frames=False)
    one, other = meant(volume), meant(mirrored)
    np.testing.assert_allclose(other[0::2], -one[0::2, :, ::-1], atol=1e-5)
    np.testing.assert_allclose(other[1::2], one[1::2, :, ::-1], atol=1e-5)
    assert all(np.array_equal(a, b) for a, b in zip(mirrored.mirrored(frames=False), volume, strict=True))


@given(seed=st.integers(0, 99), strength=st.floats(0.01, 1))
def test_noise_of_colour_is_one_colour_for_all_of_a_sample_along_the_principal_axes(seed, strength):
    pixels = np.random.default_rng(seed).integers(0, 255, (2, 14, 14, 3), dtype=np.uint8)
    volume = volume_of(list(pixels))
    plain, noisy = (
        Augmentation(14, False, each)(volume, np.random.default_rng(seed), frames=True) for each in (0.0, strength)
    )
    np.testing.assert_array_equal(noisy.bytes, plain.bytes)
    added = meant(noisy) - meant(plain)
    np.testing.assert_allclose(added, np.broadcast_to(added[:, :1, :1], added.shape), atol=1e-5)
    np.testing.assert_allclose(added[:3, 0, 0], added[3:, 0, 0], atol=1e-5)
    rng = np.random.default_rng(seed)
    rng.integers(1, size=2)  # where it is cut
    drawn = COLOURS @ rng.normal(0, strength, 3)
    np.testing.assert_allclose(added[:3, 0, 0] * DEVIATION, drawn, rtol=1e-2, atol=1e-4)
    # Flow has no colour.
    fields = Volume(pixels[..., :2].transpose(0, 3, 1, 2).reshape(4, 14, 14), np.ones(4, np.float32), np.zeros(4))
    same = Augmentation(14, False, strength)(fields, np.random.default_rng(seed), frames=False)
    np.testing.assert_array_equal(meant(same), meant(fields))


def test_of_ten_views_five_are_corners_and_centre_and_five_their_mirror_images(place):
    with Dataset(place) as dataset:
        volume = Reader(dataset, "frame", 1, True).read(dataset.record(stored()[0].key), 0)
    found = volume.views(12, 10, frames=True)
    assert len(found) == 10
    np.testing.assert_array_equal(found[1].bytes, volume.bytes[:, :12, :12])
    np.testing.assert_array_equal(found[4].bytes, volume.bytes[:, -12:, -12:])
    np.testing.assert_array_equal(found[9].bytes, found[4].bytes[:, :, ::-1])


async def test_views_are_of_each_video_as_many_as_they_say(place):
    said = await drive(
        views, stored=stored("test"), path=str(place), kind="flow", length=2, crop=12, frames=3, crops="5", views_max=12
    )
    numbers = np.concatenate([batch.video for batch in said.views])
    counts = np.concatenate([batch.views for batch in said.views])
    assert Counter(numbers.tolist()) == dict.fromkeys(range(VIDEOS), 15)
    assert set(counts.tolist()) == {15}
    assert all(batch.test.all() for batch in said.views)
    assert all(batch.bytes.shape[1:] == (4, 12, 12) for batch in said.views)


def test_a_volume_longer_than_its_video_ends_with_its_last_field_again(place):
    with Dataset(place) as dataset:
        record = dataset.record(stored()[0].key)
        reader = Reader(dataset, "flow", 9, False)
        assert starts_of(record.counts["frames"], reader) == range(1)
        volume = reader.read(record, 0)
    np.testing.assert_array_equal(volume.bytes[-2:], volume.bytes[8:10])


def test_what_cannot_be_cut_or_is_not_stored_is_said(place):
    with Dataset(place) as dataset:
        record = dataset.record(stored()[0].key)
        volume = Reader(dataset, "frame", 1, True).read(record, 0)
        with pytest.raises(SettingError, match="crop = 17 is larger than the stored frames, 16x20"):
            Augmentation(17, False, 0.0)(volume, np.random.default_rng(0), frames=True)
        with pytest.raises(SettingError, match="length = 3: half of the fields go backwards"):
            Reader(dataset, "both_ways", 3, True)
        bare = type(record)(record.key, {"frames": 3, "times": 3, "flow": 2}, record.facts, 0)
        with pytest.raises(SettingError, match=r"needs the column 'back', which video 'video 0' does not have"):
            Reader(dataset, "both_ways", 2, True).read(bare, 1)
