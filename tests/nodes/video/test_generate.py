"""The generated data set: real files of many kinds, the same whoever makes them, a class in neither part alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow import Context
from flow.testing import drive
from tests.nodes.video.clips_for_tests import av

pytest.importorskip("sklearn", reason='needs scikit-learn: pip install "flow-research[video]"')

from nodes.algo import moving_digits  # isort: skip
from nodes.algo.moving_digits import MOTIONS, Scene, path, render  # isort: skip
from nodes.video import codec  # isort: skip
from nodes.video.flow import fields  # isort: skip
from nodes.video.generate import clips  # isort: skip


@settings(max_examples=40)
@given(motion=st.integers(0, len(MOTIONS) - 1), seed=st.integers(0, 999))
def test_each_motion_moves_as_its_name_says(motion, seed):
    places = path(motion, 40, np.random.default_rng(seed))
    spread = np.ptp(places, axis=0)
    name = MOTIONS[motion]
    if name == "left and right":
        assert spread[1] == 0 < spread[0]
    elif name == "up and down":
        assert spread[0] == 0 < spread[1]
    else:
        steps = np.diff(places, axis=0)
        turns = steps[:-1, 0] * steps[1:, 1] - steps[:-1, 1] * steps[1:, 0]
        # y points down: to turn from x to y is clockwise for who looks at it.
        assert np.all(turns > 0) if name == "clockwise" else np.all(turns < 0)
    assert np.all(np.abs(places) <= 8 + 9)


def test_a_clip_is_drawn_from_its_seed_alone():
    scene = Scene(3, 1, True, 64, 80, 5)
    one, other, third = (render(scene, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, other)
    assert one.shape == (5, 64, 80, 3)
    assert not np.array_equal(one, third)


def test_the_mean_of_a_field_is_most_of_the_cameras_motion(monkeypatch):
    """What mean subtraction takes away: of a background without texture no flow can be told, and it is nothing."""
    original, seen = moving_digits._camera, []

    def noted(frames, rng):
        seen.append(original(frames, rng))
        return seen[-1]

    monkeypatch.setattr(moving_digits, "_camera", noted)
    off, moved = [], []
    for number in range(20):
        images = render(Scene(number % 5, number % 4, False, 64, 64, 6), np.random.default_rng(number))
        mean = fields(images, "dis", False)[0].mean((2, 3))
        camera = -np.diff(sum(seen[-1]), axis=0)
        off.append(np.abs(mean - camera).mean())
        moved.append(np.abs(camera).mean())
    assert np.mean(off) < 0.4 * np.mean(moved)


def test_what_the_camera_sways_moves_sprite_and_background_alike(monkeypatch):
    """A sprite that stays in the frame whatever the camera does is one that the camera's mean is no part of."""
    speed = 1.25 / moving_digits.SWAY  # pixels a frame
    paths = [speed * np.arange(6)[:, None] * [1.0, 0.0], np.zeros((6, 2))]  # the camera's, the sprite's
    monkeypatch.setattr(moving_digits, "path", lambda motion, frames, rng: paths.pop(0))
    monkeypatch.setattr(moving_digits, "PAN", 0.0)
    monkeypatch.setattr(moving_digits, "SHAKE", 0.0)
    images = render(Scene(4, 0, False, 64, 64, 6), np.random.default_rng(0))
    for x, y in fields(images, "dis", False)[0][:, :, 6:-6, 6:-6]:
        assert np.abs(x + 1.25).mean() < 0.1
        assert np.abs(y).mean() < 0.1
        assert np.abs(x + 1.25).max() < 0.8


def written_at(files) -> dict[str, int]:
    return {each.path: Path(each.path).stat().st_mtime_ns for each in files}


async def test_files_are_of_many_kinds_and_are_made_once(tmp_path):
    given_ = {"folder": str(tmp_path), "train": 2, "test": 1, "frames": 3}
    said = await drive(clips, **given_)
    assert len(said.files) == 60
    assert [each.label for each in said.files[:20]] == list(range(20))
    assert [each.part for each in said.files].count("test") == 20
    kinds, sizes, rates = set(), set(), set()
    for each in said.files:
        with av.open(each.path) as container:
            stream = container.streams.video[0]
            kinds.add((stream.codec_context.name, Path(each.path).suffix))
            sizes.add((stream.height, stream.width))
            rates.add(stream.average_rate)
        assert len(list(codec.frames(Path(each.path)))) == 3
    assert len(kinds) == 4
    assert len(sizes) >= 4
    assert len(rates) >= 3
    before = written_at(said.files)
    again = await drive(clips, **given_)
    assert [each.path for each in again.files] == [each.path for each in said.files]
    assert written_at(again.files) == before


@pytest.mark.parametrize(("label", "classes"), [("digit and motion", 20), ("motion", 4), ("digit", 5)])
async def test_a_class_is_the_pair_or_either_part(tmp_path, label, classes):
    context = Context("clips", directory=tmp_path)
    said = await drive(clips, train=1, test=0, frames=2, label=label, context=context)
    assert sorted({each.label for each in said.files}) == list(range(classes))
    assert all(Path(each.path).is_relative_to(tmp_path) for each in said.files)
