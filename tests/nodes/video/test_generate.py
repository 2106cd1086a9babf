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

from nodes.algo.moving_digits import MOTIONS, Scene, path, render  # isort: skip
from nodes.video import codec  # isort: skip
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
