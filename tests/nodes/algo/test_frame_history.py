"""What is seen of a game with its history: as it is played, and rebuilt from what was kept of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import SettingError
from nodes.algo.frame_history import History, action_bytes, planes, rebuilt


def seen_by_definition(frames, actions, t, history, count):
    """The last frames oldest first, then the actions that led to them as shares of `count`, one place at a time."""
    side = frames.shape[-1]
    shown = [frames[i] if i >= 0 else np.zeros_like(frames[0]) for i in range(t - history + 1, t + 1)]
    led = [round(255 / count * actions[i - 1]) if i >= 1 else 0 for i in range(t - history + 1, t + 1)]
    return np.concatenate([*shown, *(np.full((1, side, side), byte, np.uint8) for byte in led)])


@given(seed=st.integers(0, 999), length=st.integers(1, 12), history=st.integers(1, 5), channels=st.sampled_from([1, 3]))
def test_what_is_rebuilt_is_what_was_seen_when_it_was_played(seed, length, history, channels):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 19))
    frames = rng.integers(1, 256, (length, channels, 4, 4), dtype=np.uint8)
    actions = rng.integers(0, count, length)
    live = History(frames[:1], history, count)
    again = rebuilt(frames, actions, np.arange(length), history, count)
    for t in range(length):
        expected = seen_by_definition(frames, actions, t, history, count)
        np.testing.assert_array_equal(live.observations()[0], expected)
        np.testing.assert_array_equal(again[t], expected)
        np.testing.assert_array_equal(live.newest[0], frames[t])
        if t + 1 < length:
            live.add(frames[t + 1 : t + 2], actions[t : t + 1], np.zeros(1, bool))


@given(seed=st.integers(0, 999))
def test_nothing_of_the_game_before_is_seen_in_the_next_nor_of_another_lane(seed):
    rng = np.random.default_rng(seed)
    frames = rng.integers(1, 256, (6, 2, 1, 4, 4), dtype=np.uint8)
    begins = rng.random((6, 2)) < 0.4
    live = History(frames[0], 3, 4)
    actions = rng.integers(1, 4, (6, 2))
    for t in range(1, 6):
        live.add(frames[t], actions[t - 1], begins[t])
        for lane in range(2):
            start = max([0, *(np.flatnonzero(begins[: t + 1, lane]))])
            expected = seen_by_definition(frames[start : t + 1, lane], actions[start:, lane], t - start, 3, 4)
            np.testing.assert_array_equal(live.observations()[lane], expected)


@pytest.mark.parametrize("count", [1, 6, 18, 255])
def test_different_actions_are_different_bytes(count):
    found = action_bytes(np.arange(count), count)
    assert len(set(found.tolist())) == count
    np.testing.assert_allclose(found / 255, np.arange(count) / count, atol=0.5 / 255)


def test_more_actions_than_bytes_are_refused():
    with pytest.raises(SettingError, match="256 actions as planes of bytes, which tell 255 apart"):
        action_bytes(np.arange(256), 256)


def test_frames_come_before_actions_oldest_first():
    frames = np.arange(1, 7, dtype=np.uint8).reshape(1, 3, 2, 1, 1)
    assert planes(frames, np.array([[7, 8, 9]], np.uint8)).ravel().tolist() == [1, 2, 3, 4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize("observations", [np.zeros((3, 15), np.float32), np.zeros((3, 1, 4, 4), np.float32)])
def test_what_is_no_frames_has_no_history(observations):
    with pytest.raises(SettingError, match=r"history=2 is for games observed as frames.*set history = 0"):
        rebuilt(observations, np.zeros(3, np.int64), np.arange(3), 2, 12)
