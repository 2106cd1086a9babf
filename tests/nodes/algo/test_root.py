"""Priors, noise and moves at the root."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nodes.algo.puct import NEVER
from nodes.algo.root import choose, policy_target, priors_of, with_noise

seeds = st.integers(0, 99999)


def drawn(seed: int, rows: int = 4, actions: int = 5) -> tuple[np.random.Generator, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    legal = rng.random((rows, actions)) < 0.5
    legal[0] = False  # padding
    return rng, rng.normal(size=(rows, actions)).astype(np.float32) * 10, legal


@given(seed=seeds)
def test_priors_are_the_softmax_over_legal_moves(seed):
    _, logits, legal = drawn(seed)
    priors = priors_of(logits, legal)
    for row in range(len(logits)):
        weights = [np.exp(float(x)) for x, ok in zip(logits[row], legal[row], strict=True) if ok]
        np.testing.assert_allclose(priors[row][legal[row]], np.array(weights) / (sum(weights) or 1), rtol=1e-4)
    assert (priors[~legal] == NEVER).all()
    everywhere = np.where(legal, logits, -np.inf).astype(np.float32)
    np.testing.assert_array_equal(priors_of(everywhere), priors)


@given(seed=seeds, alpha=st.sampled_from([0.001, 0.03, 0.3, 10.0]), share=st.sampled_from([0.0, 0.25, 1.0]))
def test_noise_keeps_a_distribution_over_legal_moves_and_touches_named_rows_alone(seed, alpha, share):
    rng, logits, legal = drawn(seed)
    priors = priors_of(logits, legal)
    rows = rng.random(len(priors)) < 0.5
    noisy = with_noise(priors, rows, alpha, share, rng)
    np.testing.assert_array_equal(noisy[~rows], priors[~rows])
    assert (noisy[~legal] == NEVER).all()
    sums = np.where(legal, noisy, 0).sum(1)
    np.testing.assert_allclose(sums[legal.any(1)], 1, atol=1e-5)
    assert (noisy[legal] >= (1 - share) * priors[legal] - 1e-6).all()


def test_the_noise_is_a_symmetric_dirichlet():
    rng = np.random.default_rng(0)
    priors = np.full((20_000, 3), 1 / 3, np.float32)
    noise = with_noise(priors, np.ones(len(priors), bool), 0.5, 1.0, rng)
    # Dir(α, α, α): mean 1/3, variance (1/3)(2/3)/(3α + 1).
    np.testing.assert_allclose(noise.mean(0), 1 / 3, atol=0.01)
    np.testing.assert_allclose(noise.var(0), 2 / 9 / 2.5, atol=0.004)


def test_moves_are_drawn_in_proportion_to_the_visits_to_the_power_of_one_over_t():
    rng = np.random.default_rng(0)
    visits = np.tile([0, 1, 2, 5], (20_000, 1))
    for temperature, weights in ((1.0, np.array([0, 1, 2, 5])), (0.5, np.array([0, 1, 4, 25]))):
        moves = choose(visits, np.full(len(visits), temperature), rng)
        np.testing.assert_allclose(np.bincount(moves, minlength=4) / len(moves), weights / weights.sum(), atol=0.015)


@given(seed=seeds, temperature=st.sampled_from([0.0, 1e-3, 1e-12]))
def test_at_a_temperature_near_zero_the_most_visited_move_is_taken(seed, temperature):
    rng = np.random.default_rng(seed)
    visits = np.array([rng.permutation(6) * 100 for _ in range(5)])
    moves = choose(visits, np.full(5, temperature), rng)
    assert moves.tolist() == visits.argmax(1).tolist()


@given(seed=seeds)
def test_the_policy_target_sums_to_one_over_all_actions(seed):
    visits = np.random.default_rng(seed).integers(0, 3, (6, 4))
    target = policy_target(visits)
    np.testing.assert_allclose(target.sum(1), (visits.sum(1) > 0).astype(float), atol=1e-6)
    np.testing.assert_allclose(target * visits.sum(1, keepdims=True), visits, atol=1e-5)
