"""n-step returns beside their definition as a loop."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from nodes.algo.q_learning import n_step_returns


@st.composite
def windows(draw):
    shape = draw(st.tuples(st.integers(0, 4), st.integers(1, 6)))
    rewards = draw(arrays(np.float32, shape, elements=st.floats(-100, 100, width=32)))
    flags = [draw(arrays(bool, shape, elements=st.sampled_from([False, False, True]))) for _ in range(3)]
    return (rewards, *flags)


@given(windows(), st.floats(0, 1))
def test_returns_are_what_the_definition_says(given_, discount):
    rewards, terminated, truncated, first = given_
    before = [array.copy() for array in given_]
    found = n_step_returns(*given_, discount=discount)
    for row in range(len(rewards)):
        total, k = 0.0, 0
        for i in range(rewards.shape[1]):
            total, k = total + discount**i * float(rewards[row, i]), i
            begins_next = i + 1 < rewards.shape[1] and first[row, i + 1]
            if terminated[row, i] or truncated[row, i] or begins_next:
                break
        assert found.rewards[row] == pytest.approx(total, rel=1e-5, abs=1e-4)
        assert found.last[row] == k
        assert found.discounts[row] == pytest.approx(0 if terminated[row, k] else discount ** (k + 1), rel=1e-5)
    for array, same in zip(given_, before, strict=True):
        np.testing.assert_array_equal(array, same)


def test_shapes_that_disagree_are_refused():
    flags = np.zeros((2, 3), bool)
    with pytest.raises(ValueError, match=r"expected four arrays \(B, n\)"):
        n_step_returns(np.zeros((2, 4), np.float32), flags, flags, flags, discount=0.9)
    with pytest.raises(ValueError, match="n of 1 or more"):
        n_step_returns(np.zeros((2, 0), np.float32), flags[:, :0], flags[:, :0], flags[:, :0], discount=0.9)
