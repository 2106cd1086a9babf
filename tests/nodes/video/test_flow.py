"""Optical flow: its direction and size, how it is stored, and what stacks of it are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from flow.errors import SettingError
from flow.testing import drive
from tests.nodes.video.clips_for_tests import cv2, texture

from nodes.algo import optical_flow as of  # isort: skip
from nodes.given.video import frames_of  # isort: skip
from nodes.video.flow import columns_of, fields, flow, pack, pack_field, pack_frame, unpack_field, unpack_frame  # isort: skip

FIELDS = npst.arrays(np.float32, (2, 6, 7), elements=st.floats(-20, 20, width=32))
METHODS = [method for method in of.METHODS if method != "tvl1" or hasattr(cv2, "optflow")]


@pytest.mark.parametrize("method", [*METHODS, of.TORCH])
def test_flow_of_a_texture_that_moves_is_how_it_moves(method):
    """The window moves by (2, 1), so what is seen in it moves by (-2, -1); backwards it is the opposite."""
    if method == of.TORCH:
        pytest.importorskip("torch", reason='needs torch: pip install "flow-research[torch]"')
    forward, backward = fields(np.stack(texture(3)), method, True)
    assert forward.shape == backward.shape == (2, 2, 48, 64)
    inner = np.s_[:, 12:-12, 12:-12]
    for field in forward:
        np.testing.assert_allclose(np.median(field[inner], (1, 2)), [-2, -1], atol=0.15)
    for field in backward:
        np.testing.assert_allclose(np.median(field[inner], (1, 2)), [2, 1], atol=0.15)


def test_flow_between_frames_is_opencvs():
    images = of.grey(np.stack(texture(2)))
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM).calc(images[0], images[1], None)
    np.testing.assert_array_equal(fields(np.stack(texture(2)), "dis", False)[0][0], dis.transpose(2, 0, 1))


@pytest.mark.skipif(not hasattr(cv2, "optflow"), reason="OpenCV's TV-L1 is in opencv-contrib-python-headless")
def test_tv_l1_in_torch_is_opencvs_and_does_not_depend_on_what_else_is_computed_at_once():
    pytest.importorskip("torch", reason='needs torch: pip install "flow-research[torch]"')
    images = np.stack(texture(3))
    ours, theirs = (fields(images, method, False)[0][:, :, 8:-8, 8:-8] for method in (of.TORCH, "tvl1"))
    assert np.abs(ours - theirs).mean() < 0.05
    alone = fields(images[1:], of.TORCH, False)[0]
    np.testing.assert_allclose(fields(images, of.TORCH, False)[0][1:], alone, atol=1e-3)


def test_a_method_that_there_is_not_is_named_with_those_that_are():
    with pytest.raises(
        SettingError, match=r"flow = 'brox': .* there are dis, dis_fast, tvl1, farneback, tvl1_torch and none"
    ):
        fields(np.stack(texture(2)), "brox", False)


@given(field=FIELDS)
def test_a_field_in_bytes_is_off_by_half_a_step_at_most(field):
    stored = of.quantise(field)
    step = (stored.high - stored.low)[:, None, None] / 255
    assert np.all(np.abs(of.restore(stored) - field) <= 0.5 * step + 1e-4)
    np.testing.assert_allclose(stored.mean, field.mean((1, 2)), rtol=1e-4, atol=1e-4)


def test_a_packed_field_is_off_by_little_and_a_packed_frame_looks_the_same():
    images = np.stack(texture(2))
    field = fields(images, "dis", False)[0][0]
    stored = unpack_field(pack_field(field, 90))
    assert np.abs(of.restore(stored) - field).mean() < 0.02 * (field.max() - field.min())
    np.testing.assert_allclose(stored.mean, field.mean((1, 2)), rtol=1e-5)
    assert np.abs(unpack_frame(pack_frame(images[0], 95)).astype(int) - images[0]).mean() < 8


def slow_trajectories(stack):
    """Equation 2 by its words, pixel by pixel."""

    def at(field, x, y):
        _, height, width = field.shape
        x, y = min(max(x, 0), width - 1), min(max(y, 0), height - 1)
        left, top = int(x), int(y)
        right, bottom = min(left + 1, width - 1), min(top + 1, height - 1)
        u, v = x - left, y - top
        above = field[:, top, left] * (1 - u) + field[:, top, right] * u
        below = field[:, bottom, left] * (1 - u) + field[:, bottom, right] * u
        return above * (1 - v) + below * v

    _, height, width = stack[0].shape
    said = np.zeros((2 * len(stack), height, width))
    for row in range(height):
        for column in range(width):
            x, y = float(column), float(row)
            for number, field in enumerate(stack):
                moved = at(field, x, y)
                said[2 * number : 2 * number + 2, row, column] = moved
                x, y = x + moved[0], y + moved[1]
    return said


@settings(max_examples=10)
@given(seed=st.integers(0, 99), count=st.integers(1, 4))
def test_trajectories_are_read_along_the_path(seed, count):
    rng = np.random.default_rng(seed)
    stack = [rng.uniform(-2, 2, (2, 5, 6)).astype(np.float32) for _ in range(count)]
    # OpenCV reads between pixels in steps of 1/32.
    np.testing.assert_allclose(of.trajectory_stack(stack), slow_trajectories(stack), atol=0.15)


@given(x=st.floats(-3, 3, width=32), y=st.floats(-3, 3, width=32), count=st.integers(1, 4))
def test_of_flow_that_is_the_same_everywhere_both_stacks_are_one(x, y, count):
    stack = [np.stack([np.full((4, 5), x), np.full((4, 5), y)]).astype(np.float32) for _ in range(count)]
    np.testing.assert_allclose(of.trajectory_stack(stack), of.flow_stack(stack), atol=1e-5)


async def test_a_video_in_pieces_packs_to_the_same_values_as_in_one():
    whole = frames_of(7, 3)
    said = vars(whole)

    def cut(start: int, stop: int, total: int):
        part = {"frames": whole.frames[start:stop], "times": whole.times[start:stop], "start": start, "total": total}
        return type(whole)(**{**said, **part})

    async def columns(pieces):
        flows = (await drive(flow, frames=pieces)).flows
        found: dict[str, dict[int, bytes]] = {}
        for piece in (await drive(pack, flows=flows)).pieces:
            for name, (first, values) in columns_of(piece).items():
                assert not set(found.setdefault(name, {})) & set(range(first, first + len(values)))
                found[name] |= {first + n: bytes(value) for n, value in enumerate(values)}
        return found

    in_one = await columns([whole])
    assert {name: sorted(values) for name, values in in_one.items()} == {
        "frames": [*range(7)], "times": [*range(7)], "flow": [*range(6)], "back": [*range(6)]
    }  # fmt: skip
    assert await columns([cut(0, 3, 0), cut(2, 5, 0), cut(4, 7, 7)]) == in_one
