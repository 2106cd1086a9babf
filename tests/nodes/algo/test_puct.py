"""The array search beside a tree written from the equations, beside mctx, and against exact play."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import MissingError, SettingError
from nodes.algo import puct, puct_numpy
from nodes.algo.puct import Rules, Trees, kernel_named
from tests.nodes.algo.random_models import Table, random_table, search, slow_search

NUMBA = importlib.util.find_spec("numba") is not None
KERNELS = ["numpy", pytest.param("numba", marks=pytest.mark.skipif(not NUMBA, reason=puct.NO_NUMBA))]

rules = st.builds(
    Rules,
    discount=st.sampled_from([1.0, -1.0, 0.997, -0.9]),
    c1=st.sampled_from([1.25, 0.3]),
    c2=st.sampled_from([19652.0, 20.0]),
    bounds=st.sampled_from([None, (-3.0, 3.0)]),
)


def masks(rng: np.random.Generator, count: int, actions: int) -> np.ndarray:
    legal = rng.random((count, actions)) < 0.6
    legal[np.arange(count), rng.integers(0, actions, count)] = True
    return legal


@pytest.mark.parametrize("kernel", KERNELS)
@given(
    seed=st.integers(0, 9999),
    count=st.integers(1, 4),
    actions=st.integers(1, 5),
    simulations=st.integers(1, 40),
    rules=rules,
    rewards=st.booleans(),
)
def test_visits_and_values_are_those_of_a_tree_written_from_the_equations(
    kernel, seed, count, actions, simulations, rules, rewards
):
    rng = np.random.default_rng(seed)
    table = random_table(rng, 30, actions, rewards=rewards)
    roots, legal = rng.integers(0, 30, count), masks(rng, count, actions)
    trees = search(table, roots, legal, simulations, rules, kernel_named(kernel))
    for row in range(count):
        slow, root = slow_search(table, int(roots[row]), legal[row], simulations, rules)
        assert trees.root_visits()[row].tolist() == [edge.visits for edge in root.edges]
        np.testing.assert_allclose(trees.root_q()[row], [edge.q for edge in root.edges], atol=1e-9)
        np.testing.assert_allclose(trees.root_values()[row], np.mean(slow.returns), atol=1e-9)
        if rules.bounds is None:
            np.testing.assert_allclose((trees.low[row], trees.high[row]), (slow.low, slow.high), atol=1e-9)


@pytest.mark.skipif(not NUMBA, reason=puct.NO_NUMBA)
@given(seed=st.integers(0, 9999), count=st.integers(1, 5), simulations=st.integers(1, 60), rules=rules)
def test_the_compiled_loops_give_what_numpy_gives_to_the_last_bit(seed, count, simulations, rules):
    rng = np.random.default_rng(seed)
    table = random_table(rng, 20, 4)
    roots, legal = rng.integers(0, 20, count), masks(rng, count, 4)
    reference, compiled = (
        search(table, roots, legal, simulations, rules, kernel_named(name)) for name in ("numpy", "numba")
    )
    np.testing.assert_array_equal(compiled.parent[:, 1:], reference.parent[:, 1:])
    for name in ("child", "visits", "total", "reward", "low", "high"):
        np.testing.assert_array_equal(getattr(compiled, name), getattr(reference, name), err_msg=name)


@pytest.mark.parametrize("kernel", KERNELS)
@given(seed=st.integers(0, 9999), simulations=st.integers(1, 30), rules=rules)
def test_a_position_is_searched_as_if_it_were_alone(kernel, seed, simulations, rules):
    rng = np.random.default_rng(seed)
    table = random_table(rng, 25, 4)
    roots, legal = rng.integers(0, 25, 4), masks(rng, 4, 4)
    together = search(table, roots, legal, simulations, rules, kernel_named(kernel)).root_visits()
    for row in range(4):
        one = slice(row, row + 1)
        alone = search(table, roots[one], legal[one], simulations, rules, kernel_named(kernel)).root_visits()
        np.testing.assert_array_equal(alone[0], together[row])


@given(seed=st.integers(0, 9999), simulations=st.integers(1, 50), rules=rules)
def test_visits_sum_to_the_simulations_and_lie_on_legal_moves_alone(seed, simulations, rules):
    rng = np.random.default_rng(seed)
    table = random_table(rng, 25, 5)
    roots, legal = rng.integers(0, 25, 3), masks(rng, 3, 5)
    trees = search(table, roots, legal, simulations, rules, puct_numpy)
    assert trees.root_visits().sum(1).tolist() == [simulations] * 3
    assert not trees.root_visits()[~legal].any()
    if rules.bounds is None:
        visited = trees.root_visits() > 0
        q = trees.root_q()
        assert (q >= trees.low[:, None] - 1e-12)[visited].all()
        assert (q <= trees.high[:, None] + 1e-12)[visited].all()


@given(seed=st.integers(0, 9999), scale=st.sampled_from([0.5, 4.0, 1024.0]), discount=st.sampled_from([1.0, -1.0]))
def test_known_bounds_take_the_unit_of_values_away(seed, scale, discount):
    # A power of two, so that scaling rounds nothing.
    rng = np.random.default_rng(seed)
    table = random_table(rng, 20, 3)
    visits = []
    for factor in (1.0, scale):
        scaled = Table(table.to, table.reward * factor, table.prior, table.value * factor)
        known = Rules(discount, bounds=(-8 * factor, 8 * factor))
        visits.append(search(scaled, np.zeros(1, np.int64), np.ones((1, 3), bool), 30, known, puct_numpy))
    np.testing.assert_array_equal(visits[0].root_visits(), visits[1].root_visits())


def test_no_simulations_are_refused():
    with pytest.raises(SettingError, match="simulations=0: a search takes 1 or more"):
        Trees(np.ones((1, 2), np.float32), 0, Rules(1.0), puct_numpy)


def test_no_actions_are_refused():
    with pytest.raises(SettingError, match="a search over no actions"):
        Trees(np.ones((1, 0), np.float32), 1, Rules(1.0), puct_numpy)


def test_an_unknown_kernel_is_refused():
    with pytest.raises(SettingError, match="kernel='cuda' is none of 'auto', 'numpy', 'numba'"):
        kernel_named("cuda")


def test_numba_that_is_not_installed_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r'pip install "flow-research\[numba\]"'):
        kernel_named("numba")
    assert kernel_named("auto") is puct_numpy
