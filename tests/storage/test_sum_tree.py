"""Draws in proportion to weights, beside a plain array of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import MissingError
from storage.sum_tree import SumTree, loops_named

weights = st.lists(st.sampled_from([0.0, 0.5, 1.0, 3.0, 1e-9, 1e9]), min_size=1, max_size=20)


@given(weights=weights, seed=st.integers(0, 999))
def test_sums_are_those_of_a_plain_array_and_nothing_without_weight_is_drawn(weights, seed):
    rng = np.random.default_rng(seed)
    tree, plain = SumTree(len(weights)), np.zeros(len(weights))
    for _ in range(4):
        numbers = rng.choice(len(weights), rng.integers(1, len(weights) + 1), replace=False)
        plain[numbers] = np.array(weights)[numbers]
        tree.set(numbers, plain[numbers])
        np.testing.assert_allclose(tree.total, plain.sum(), rtol=1e-12)
        np.testing.assert_array_equal(tree[np.arange(len(weights))], plain)
        if plain.any():
            assert (plain[tree.draw(rng, 50)] > 0).all()


@given(size=st.integers(1, 9))
def test_a_weight_that_is_set_twice_in_one_call_is_the_last(size):
    tree = SumTree(size)
    tree.set(np.array([size - 1, size - 1]), np.array([5.0, 2.0]))
    assert tree.total == 2.0


def test_numbers_are_drawn_as_often_as_their_weight_says():
    tree = SumTree(5)
    tree.set(np.arange(5), np.array([1.0, 0.0, 4.0, 2.0, 3.0]))
    counts = np.bincount(tree.draw(np.random.default_rng(0), 50_000), minlength=5)
    np.testing.assert_allclose(counts / 50_000, [0.1, 0, 0.4, 0.2, 0.3], atol=0.01)


@given(weights=weights, seed=st.integers(0, 999))
def test_both_kernels_hold_and_draw_the_same(weights, seed):
    pytest.importorskip("numba")
    found = []
    for kernel in ("numpy", "numba"):
        rng = np.random.default_rng(seed)
        tree = SumTree(len(weights), kernel)
        for _ in range(3):
            numbers = rng.integers(0, len(weights), rng.integers(0, len(weights) + 1))
            tree.set(numbers, np.array(weights)[numbers])
        found.append((tree.total, tree.draw(rng, 30).tolist() if tree.total else []))
    assert found[0] == found[1]


def test_a_kernel_that_is_not_installed_is_told(monkeypatch):
    loops_named.cache_clear()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MissingError, match="numba is not installed; install it with: pip install"):
        SumTree(3, "numba")
    assert loops_named("auto").__name__.endswith("_numpy")
    loops_named.cache_clear()
