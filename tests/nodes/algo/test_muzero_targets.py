"""Targets beside loops written from the definition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import SettingError
from nodes.algo.muzero_targets import n_step_values, record, unrolled

discounts = st.sampled_from([1.0, -1.0, 0.9, -0.97])
moves = st.integers(1, 9)


def drawn(seed: int, length: int, actions: int = 3) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        "actions": rng.integers(0, actions, length),
        "rewards": rng.normal(size=length),
        "policies": rng.dirichlet(np.ones(actions), length),
        "root_values": rng.normal(size=length),
    }


@given(seed=st.integers(0, 999), length=moves, discount=discounts, steps=st.integers(1, 12))
def test_values_are_the_sum_of_the_definition(seed, length, discount, steps):
    game = drawn(seed, length)
    values = n_step_values(game["rewards"], game["root_values"], discount, steps)
    for t in range(length):
        z = 0.0
        for i in range(1, steps + 1):
            if t + i <= length:
                z += discount ** (i - 1) * game["rewards"][t + i - 1]
        if t + steps < length:
            z += discount**steps * game["root_values"][t + steps]
        np.testing.assert_allclose(values[t], z, rtol=1e-5, atol=1e-6)


@given(length=moves)
def test_in_a_game_of_two_the_outcome_alternates(length):
    rewards = np.zeros(length)
    rewards[-1] = 1.0
    values = n_step_values(rewards, np.zeros(length), -1.0, length)
    assert values.tolist() == [(-1.0) ** (length - 1 - t) for t in range(length)]


@given(
    seed=st.integers(0, 999),
    lengths=st.lists(moves, min_size=1, max_size=4),
    unroll=st.integers(1, 6),
    discount=st.sampled_from([1.0, -1.0]),
    beyond=st.sampled_from(["zero", "outcome"]),
)
def test_a_stretch_holds_the_moves_from_its_start_and_what_stands_past_the_end(seed, lengths, unroll, discount, beyond):
    rng = np.random.default_rng(seed)
    games = [drawn(seed + n, length) for n, length in enumerate(lengths)]
    for game in games:
        game["rewards"][:-1] = 0  # a board game
    records = [record(**game, discount=discount, steps=99, unroll=unroll, beyond=beyond) for game in games]
    starts = [int(rng.integers(length)) for length in lengths]
    found = unrolled(records, starts, unroll, rng)
    for row, (game, start) in enumerate(zip(games, starts, strict=True)):
        length, outcome = len(game["actions"]), game["rewards"][-1]
        for k in range(unroll + 1):
            t = start + k
            assert found.real[row, k] == (t < length)
            # The outcome from the view of who moves at t; who moved last, at length - 1, has it as it is.
            value = outcome * discount ** abs(length - 1 - t) if t < length or beyond == "outcome" else 0.0
            np.testing.assert_allclose(found.values[row, k], value, rtol=1e-5, atol=1e-6)
            np.testing.assert_allclose(found.policies[row, k], game["policies"][t] if t < length else 0, rtol=1e-6)
            if k < unroll:
                if t < length:
                    assert found.actions[row, k] == game["actions"][t]
                paid = outcome if t == length - 1 and beyond == "zero" else 0
                np.testing.assert_allclose(found.rewards[row, k], paid, rtol=1e-6)
                assert 0 <= found.actions[row, k] < 3


def test_an_outcome_that_fades_cannot_stay():
    with pytest.raises(SettingError, match=r'beyond="outcome" needs a discount of 1, found 0\.9; set beyond = "zero"'):
        record(**drawn(0, 3), discount=-0.9, steps=9, unroll=2, beyond="outcome")
