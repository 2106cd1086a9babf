"""LASER's trust region and loss: the paper's examples, the sheet's properties, and ends within an unroll."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nodes.algo.laser import Unrolls, implied_policy, laser_loss, relevance, transitions
from nodes.algo.vtrace import vtrace

seeds = st.integers(0, 2**32 - 1)
T, B, A = 6, 4, 3


def log(*probabilities):
    return torch.tensor(probabilities, dtype=torch.float64).log()


def distributions(seed, spread=2.0):
    """Log-probabilities of a target and a behaviour, (T, B, A)."""
    draw = torch.Generator().manual_seed(seed)
    pi, mu = torch.randn(2, T, B, A, generator=draw, dtype=torch.float64) * spread
    return pi.log_softmax(-1), mu.log_softmax(-1)


def batch(seed, *, on_policy=False, online=(True, True, False, False)):
    """A network's answers and unrolls with ends of both kinds: logits, value, unrolls."""
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    logits, value, behaviour = normal(T + 1, B, A), normal(T + 1, B), normal(T, B, A)
    ended = torch.rand(T, B, generator=draw) < 0.3
    ended[1:] &= ~ended[:-1]  # the step after an end is ignored, it can't end anything
    unrolls = Unrolls(
        action=torch.randint(A, (T, B), generator=draw),
        reward=normal(T, B),
        terminated=ended & (torch.rand(T, B, generator=draw) < 0.5),
        first=torch.cat([torch.zeros(2, B, dtype=torch.bool), ended[:-1]]),
        behaviour=logits[:-1].clone() if on_policy else behaviour,
        online=torch.tensor(online),
    )
    return logits.requires_grad_(), value.requires_grad_(), unrolls


def gradients(logits, value, unrolls, **settings):
    return torch.autograd.grad(laser_loss(logits, value, unrolls, **settings).total, (logits, value))


@pytest.mark.parametrize("phi", [0.1, 0.25, 0.4, 0.5])
def test_proposition_1_opposite_policies_imply_the_uniform_one(phi):
    implied = implied_policy(log(1 - phi, phi), log(phi, 1 - phi))
    torch.testing.assert_close(implied, log(0.5, 0.5))


def test_proposition_2_s_example_has_the_sheet_s_relevance():
    """π=(½, ½), μ=(0.9, 0.1): π̃=(5/6, 1/6), β = ½ ln 0.6 + ½ ln 3 = 0.2939, between b=0.1 and 0.3."""
    pi, mu = log(0.5, 0.5), log(0.9, 0.1)
    torch.testing.assert_close(implied_policy(pi, mu).exp(), torch.tensor([5 / 6, 1 / 6], dtype=torch.float64))
    assert relevance(pi, mu).item() == pytest.approx(0.5 * math.log(0.6) + 0.5 * math.log(3))


@given(seeds)
def test_the_implied_policy_is_a_policy_that_never_exceeds_its_share_of_either(seed):
    pi, mu = distributions(seed)
    implied = implied_policy(pi, mu).exp()
    torch.testing.assert_close(implied.sum(-1), torch.ones(T, B, dtype=torch.float64))
    overlap = torch.minimum(pi.exp(), mu.exp())
    torch.testing.assert_close(implied * overlap.sum(-1, keepdim=True), overlap)


@given(seeds, st.permutations(range(A)))
def test_renaming_actions_renames_the_implied_policy_and_leaves_relevance(seed, order):
    pi, mu = distributions(seed)
    moved = pi[..., order], mu[..., order]
    torch.testing.assert_close(implied_policy(*moved), implied_policy(pi, mu)[..., order])
    torch.testing.assert_close(relevance(*moved), relevance(pi, mu))


@given(seeds)
def test_relevance_is_zero_for_oneself_and_where_rho_max_lets_everything_through(seed):
    pi, mu = distributions(seed)
    zeros = torch.zeros(T, B, dtype=torch.float64)
    torch.testing.assert_close(relevance(pi, pi), zeros)
    torch.testing.assert_close(relevance(pi, mu, rho_max=math.inf), zeros)


def test_an_action_the_behaviour_never_takes_makes_relevance_infinite_not_nan():
    assert relevance(log(0.5, 0.5), log(1.0, 0.0)).item() == math.inf
    assert relevance(log(1.0, 0.0), log(0.0, 1.0)).item() == math.inf
    assert relevance(log(1.0, 0.0), log(0.5, 0.5)).item() == 0.0


def test_several_episodes_in_one_unroll_with_a_termination_and_a_truncation():
    """One lane, ten observations: an episode ends after row 1 (terminated), another after row 5 (truncated).

    observation   0  1  2*  3f  4  5  6*  7f  8  9        * last of its episode, f first
    row             0  1  x   3  4  5   x   7  8          x ignored by the emulator
    """
    gamma = 0.5
    terminated = torch.zeros(9, 1, dtype=torch.bool)
    terminated[1] = True
    first = torch.zeros(10, 1, dtype=torch.bool)
    first[[3, 7]] = True
    discount, real = transitions(terminated, first, gamma)
    reward = torch.tensor([1.0, 2, 99, 3, 4, 5, 99, 6, 7], dtype=torch.float64)[:, None]
    value = torch.tensor([10.0, 20, 30, 40, 50, 60, 70, 80, 90], dtype=torch.float64)[:, None]
    v = vtrace(torch.zeros(9, 1).double(), discount.double(), reward, value, torch.tensor([100.0]).double(), real)
    expected = [
        1 + gamma * 2,  # to the end, where nothing follows: V(x2) = 30 plays no part
        2.0,
        30.0,  # no transition: V itself
        3 + gamma * (4 + gamma * (5 + gamma * 70)),  # bootstraps from the last true observation, V(x6)
        4 + gamma * (5 + gamma * 70),
        5 + gamma * 70,
        70.0,  # no transition, and the reward 99 of no step is seen by none
        6 + gamma * (7 + gamma * 100),
        7 + gamma * 100,
    ]
    torch.testing.assert_close(v.target[:, 0], torch.tensor(expected, dtype=torch.float64))
    advantage = torch.tensor(expected, dtype=torch.float64) - value[:, 0]  # on-policy: v_t − V
    torch.testing.assert_close(v.advantage[:, 0], advantage)
    assert v.advantage[2] == 0
    assert v.advantage[6] == 0


def test_an_unroll_may_begin_at_a_last_observation():
    """The cut fell between the end and the reset: row 0 leads into a first observation."""
    _, real = transitions(torch.zeros(2, 1, dtype=torch.bool), torch.tensor([[False], [True], [False]]), 0.99)
    assert real[:, 0].tolist() == [False, True]


@given(seeds)
def test_rows_that_are_no_transition_give_no_gradient(seed):
    logits, value, unrolls = batch(seed)
    to_logits, to_value = gradients(logits, value, unrolls, trust=math.inf)
    ignored = unrolls.first[1:]
    assert not to_logits[:-1][ignored].any()
    assert not to_value[:-1][ignored].any()
    louder = unrolls.reward + 100.0 * ignored
    again = gradients(logits, value, _with(unrolls, reward=louder), trust=math.inf)
    torch.testing.assert_close(again, (to_logits, to_value))


@given(seeds)
def test_a_trust_region_without_bound_is_plain_vtrace(seed):
    logits, value, unrolls = batch(seed)
    replayed = laser_loss(logits, value, unrolls, trust=math.inf, entropy_cost=0.0)
    forced = laser_loss(
        logits, value, _with(unrolls, online=torch.ones(B, dtype=torch.bool)), trust=0.0, entropy_cost=0.0
    )
    torch.testing.assert_close(replayed.total, forced.total)
    assert replayed.statistics.reject_fraction == 0


@given(seeds)
def test_a_trust_region_of_nothing_learns_from_the_online_part_alone(seed):
    logits, value, unrolls = batch(seed)
    to_logits, to_value = gradients(logits, value, unrolls, trust=0.0)
    assert not to_logits[:, ~unrolls.online].any()
    assert not to_value[:, ~unrolls.online].any()
    fresh = _with(
        unrolls,
        **{name: getattr(unrolls, name)[:, :2] for name in ("action", "reward", "terminated", "first")},
    )
    fresh = _with(fresh, behaviour=unrolls.behaviour[:, :2], online=unrolls.online[:2])
    alone = gradients(logits[:, :2], value[:, :2], fresh)
    torch.testing.assert_close(to_logits[:, :2], alone[0] * 2 / B)
    torch.testing.assert_close(to_value[:, :2], alone[1] * 2 / B)


@given(seeds, st.permutations(range(A)))
def test_renaming_actions_leaves_the_loss(seed, order):
    logits, value, unrolls = batch(seed)
    inverse = torch.tensor(np.argsort(order))
    moved = _with(unrolls, action=inverse[unrolls.action], behaviour=unrolls.behaviour[..., order])
    torch.testing.assert_close(laser_loss(logits[..., order], value, moved), laser_loss(logits, value, unrolls))


@given(seeds)
def test_on_policy_nothing_is_rejected(seed):
    statistics = laser_loss(*batch(seed, on_policy=True, online=(False,) * B), trust=1e-6).statistics
    assert statistics.reject_fraction == 0
    torch.testing.assert_close(statistics.rho, torch.ones_like(statistics.rho))


@given(seeds)
def test_the_entropy_bonus_is_of_the_online_part_alone(seed):
    logits, value, unrolls = batch(seed, online=(False,) * B)
    priced, free = (gradients(logits, value, unrolls, entropy_cost=cost) for cost in (1.0, 0.0))
    torch.testing.assert_close(priced, free)


def test_a_batch_twice_over_has_the_same_loss():
    logits, value, unrolls = batch(7)
    names = ("action", "reward", "terminated", "first", "behaviour")
    twice = Unrolls(
        **{name: torch.cat([getattr(unrolls, name)] * 2, 1) for name in names},
        online=unrolls.online.repeat(2),
    )
    doubled = laser_loss(torch.cat([logits] * 2, 1), torch.cat([value] * 2, 1), twice)
    torch.testing.assert_close(doubled, laser_loss(logits, value, unrolls))


def test_first_must_have_a_row_for_every_observation():
    with pytest.raises(ValueError, match="first needs T\\+1 = 6 rows"):
        transitions(torch.zeros(5, 1, dtype=torch.bool), torch.zeros(5, 1, dtype=torch.bool), 0.99)


def _with(unrolls, **changes):
    return Unrolls(**{**vars(unrolls), **changes})
