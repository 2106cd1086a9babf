"""Replay of transitions: samples hold what was stored, in order, at the pace asked for, also after a restart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow import Context
from flow.errors import SettingError
from flow.testing import drive
from nodes.experience import Transitions
from nodes.messages import Priorities
from nodes.replay.transitions import replay, samples_of


def messages_of(lanes: int, steps: int, count: int, begin: int = 0, first: int = 7) -> list[Transitions]:
    """Steps whose numbers tell where they belong: lane · 1000 + step; an episode begins every `first` steps."""
    made = []
    for number in range(begin, begin + count):
        at = number * steps + np.arange(steps) + 1000 * np.arange(lanes)[:, None]
        made.append(
            Transitions(
                observations=at[..., None].astype(np.float32),
                actions=at % 5,
                rewards=at.astype(np.float32),
                next_observations=at[..., None].astype(np.float32) + 1,
                terminated=(at % first) == first - 1,
                truncated=np.zeros(at.shape, bool),
                first=(at % first) == 0,
                lane_ids=np.arange(lanes),
            )
        )
    return made


async def replayed(tmp_path, inserts, **given_):
    context = Context("replay", directory=tmp_path, seed=given_.pop("seed", 1))
    said = given_.pop("priorities", [])
    return await drive(replay, inserts=inserts, priorities=said, context=context, **{"least": 1, "rows": 4, **given_})


@settings(max_examples=15)
@given(lanes=st.integers(1, 3), steps=st.integers(1, 4), window=st.integers(1, 3), ratio=st.floats(0.5, 8))
async def test_a_sample_is_what_happened(tmp_path_factory, lanes, steps, window, ratio):
    inserts = messages_of(lanes, steps, 12)
    said = await replayed(tmp_path_factory.mktemp("replay"), inserts, steps=window, ratio=ratio)
    drawn = 0
    for sample in said.samples:
        drawn += len(sample.lane_ids)
        at = sample.rewards.astype(int)
        assert sample.rewards.shape == (4, window)
        assert (np.diff(at, axis=1) == 1).all()
        assert (at // 1000 == sample.lane_ids[:, None]).all()
        np.testing.assert_array_equal(sample.actions, at % 5)
        np.testing.assert_array_equal(sample.observations[..., 0], at)
        np.testing.assert_array_equal(sample.next_observations[..., 0], at + 1)
        np.testing.assert_array_equal(sample.first, at % 7 == 0)
        np.testing.assert_array_equal(sample.terminated, at % 7 == 6)
    counts = said.saved["counts"]
    assert 0 <= ratio * (counts["inserted"] - counts["begun"]) - drawn < 4
    assert counts["sampled"] == drawn


async def test_every_stored_step_is_drawn(tmp_path):
    said = await replayed(tmp_path, messages_of(2, 4, 10), steps=1, ratio=40.0)
    seen = {int(value) for sample in said.samples for value in sample.rewards.ravel()}
    # The last step of a lane waits for the one behind it; what came last was drawn from least.
    assert seen >= {lane * 1000 + step for lane in range(2) for step in range(35)}


async def test_the_same_seed_draws_the_same(tmp_path):
    one = await replayed(tmp_path / "one", messages_of(2, 4, 6))
    again = await replayed(tmp_path / "again", messages_of(2, 4, 6))
    other = await replayed(tmp_path / "other", messages_of(2, 4, 6), seed=2)
    rewards = [np.concatenate([sample.rewards for sample in each.samples]) for each in (one, again, other)]
    np.testing.assert_array_equal(rewards[0], rewards[1])
    assert (rewards[0] != rewards[2][: len(rewards[0])]).any()


async def test_a_replay_that_is_started_again_goes_on_with_what_it_stored(tmp_path):
    begun = await replayed(tmp_path, messages_of(1, 4, 8))
    rest = await replayed(tmp_path, messages_of(1, 4, 2, begin=8), saved=begun.saved, ratio=100.0)
    seen = {int(value) for sample in rest.samples for value in sample.rewards.ravel()}
    assert min(seen) < 16
    assert max(seen) > 32
    assert rest.saved["counts"]["inserted"] == 40


async def test_nothing_is_drawn_before_least(tmp_path):
    said = await replayed(tmp_path, messages_of(1, 4, 5), least=100)
    assert said.samples == []


async def test_capacity_that_holds_no_window_is_an_error(tmp_path):
    with pytest.raises(SettingError, match="a window of steps=6 and one more do not fit capacity=5; raise capacity"):
        await replayed(tmp_path, messages_of(1, 4, 9), steps=6, capacity=5)
    with pytest.raises(SettingError, match="has steps=6 and one more; raise capacity"):
        await replayed(tmp_path / "lanes", messages_of(4, 1, 30), steps=6, capacity=20)
    with pytest.raises(SettingError, match="least=9 is more than capacity=5"):
        await replayed(tmp_path, [], least=9, capacity=5)


@pytest.mark.parametrize("how", ["uniform", "recent", "0.5 uniform + 0.5 recent"])
async def test_what_is_drawn_alike_counts_alike_and_every_sample_can_be_answered(tmp_path, how):
    said = await replayed(tmp_path, messages_of(2, 4, 10), how=how, newest=1000, ratio=4.0)
    for sample in said.samples:
        np.testing.assert_allclose(sample.weights, 1)
        # One message is 2 lanes of 4 steps, lane by lane: a handle says which of all steps it is.
        message, rest = np.divmod(sample.handles, 8)
        lane, step = np.divmod(rest, 4)
        np.testing.assert_array_equal(sample.rewards[:, 0], lane * 1000 + message * 4 + step)


async def test_lightzero_490_an_error_that_is_said_of_a_window_makes_that_window_come_up(tmp_path):
    inserts = [(0.0, messages_of(1, 32, 1)[0]), (1.0, messages_of(1, 1, 1, begin=32)[0])]
    known = np.delete(np.arange(31), 2)
    errors = [
        # Of step 2, and of one that is not there yet; all others are known.
        (0.5, Priorities(np.array([2, 10_000]), np.array([1e4, 5.0], np.float32))),
        (0.5, Priorities(known, np.zeros(30, np.float32))),
    ]
    said = await replayed(tmp_path, inserts, how="prioritised", alpha=1.0, beta=1.0, priorities=errors, ratio=200.0)
    seen = np.concatenate([sample.rewards[:, 0] for sample in said.samples])
    weights = np.concatenate([sample.weights for sample in said.samples])
    # Nothing was said of step 31, which had no successor yet: it has the priority that new steps had.
    assert set(seen) <= {2, 31}
    assert (seen == 2).mean() > 0.9
    assert said.metrics.counters["late_priorities"] == 1
    assert weights.max() == 1


async def test_priorities_go_on_from_a_checkpoint(tmp_path):
    errors = [(0.5, Priorities(np.arange(1, 30), np.zeros(29, np.float32)))]
    begun = await replayed(
        tmp_path, [(0.0, messages_of(1, 32, 1)[0]), (1.0, messages_of(1, 1, 1, begin=32)[0])],
        how="prioritised", alpha=1.0, priorities=errors, ratio=1.0,
    )  # fmt: skip
    assert len(begun.saved["priorities"]["priorities"]) == 33
    rest = await replayed(
        tmp_path, messages_of(1, 1, 1, begin=33), saved=begun.saved, how="prioritised", alpha=1.0, ratio=100.0
    )
    seen = {int(value) for sample in rest.samples[1:] for value in sample.rewards.ravel()}
    assert seen <= {0, 30, 31, 32, 33}


def test_a_field_that_samples_have_of_their_own_is_told():
    sampled = samples_of(Transitions, 4, 2)
    with pytest.raises(SettingError, match="has a field 'handles', which samples have of their own"):
        samples_of(sampled, 4, 2)
