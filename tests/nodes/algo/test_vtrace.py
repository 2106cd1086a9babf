"""V-trace against its definition, its limits, and what it must not depend on."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nodes.algo.vtrace import vtrace


def data(seed, times, batch):
    """A random problem in float64: log_rho, discount, reward, value, bootstrap, keep."""
    draw = np.random.default_rng(seed)
    shape = (times, batch)
    discount = np.where(draw.random(shape) < 0.2, 0.0, draw.uniform(0.5, 1.0, shape))
    arrays = (draw.normal(0, 1, shape), discount, draw.normal(size=shape), draw.normal(size=shape))
    return (
        *map(torch.tensor, arrays),
        torch.tensor(draw.normal(size=batch)),
        torch.tensor(draw.random(shape) < 0.7),
    )


problems = st.builds(data, st.integers(0, 2**32 - 1), st.integers(1, 8), st.integers(1, 4))


def as_defined(log_rho, discount, reward, value, bootstrap, keep, rho_max, c_max):
    """V-trace as the sum of eq. 1 with λ (the sheet's G_t), term by term."""
    times, batch = value.shape
    values = torch.cat([value, bootstrap[None]])
    target = torch.zeros_like(value)
    for b in range(batch):
        for t in range(times):
            total = values[t, b].item()
            for k in range(times - t):
                weight = 1.0
                for i in range(k):
                    c = min(c_max, math.exp(log_rho[t + i, b]))
                    weight *= keep[t + i, b].item() * c * discount[t + i, b].item()
                s = t + k
                delta = reward[s, b] + discount[s, b] * values[s + 1, b] - values[s, b]
                rho = min(rho_max, math.exp(log_rho[s, b]))
                total += weight * keep[s, b].item() * rho * delta.item()
            target[t, b] = total
    following = torch.cat([target[1:], bootstrap[None]])
    rho = log_rho.exp().clamp(max=rho_max)
    return target, keep * rho * (reward + discount * following - value)


@given(problems, st.sampled_from([1.0, 2.0]), st.sampled_from([0.8, 1.0]))
def test_vtrace_is_the_sum_that_defines_it(problem, rho_max, c_max):
    target, advantage = as_defined(*problem, rho_max, c_max)
    v = vtrace(*problem, rho_max=rho_max, c_max=c_max)
    torch.testing.assert_close(v.target, target)
    torch.testing.assert_close(v.advantage, advantage)


@given(problems)
def test_on_policy_it_is_the_n_step_return(problem):
    log_rho, discount, reward, value, bootstrap, _ = problem
    v = vtrace(torch.zeros_like(log_rho), discount, reward, value, bootstrap)
    later = bootstrap
    for t in reversed(range(len(value))):
        later = reward[t] + discount[t] * later
        torch.testing.assert_close(v.target[t], later)


@given(problems)
def test_where_nothing_is_kept_the_target_is_the_value_and_nothing_is_learned(problem):
    *rest, keep = problem
    v = vtrace(*rest, torch.zeros_like(keep))
    assert torch.equal(v.target, rest[3])
    assert not v.advantage.any()


@given(problems)
def test_what_lies_after_a_rejected_step_or_an_end_does_not_matter(problem):
    log_rho, discount, reward, value, bootstrap, keep = problem
    cut = len(value) // 2
    for rejected, ended in ((keep.clone(), discount), (keep, discount.clone())):
        rejected[cut] = rejected is keep
        ended[cut] = 0.0 if rejected is keep else ended[cut]
        now = vtrace(log_rho, ended, reward, value, bootstrap, rejected).target[: cut + 1]
        louder = reward.clone()
        louder[cut + 1 :] += 100.0
        then = vtrace(log_rho, ended, louder, value, bootstrap, rejected).target[: cut + 1]
        torch.testing.assert_close(now, then)


@given(problems, st.integers(1, 7))
def test_lanes_are_alone(problem, seed):
    order = torch.from_numpy(np.random.default_rng(seed).permutation(problem[3].shape[1]))
    v = vtrace(*problem)
    moved = vtrace(*(tensor[..., order] for tensor in problem))
    torch.testing.assert_close(moved.target, v.target[:, order])
    torch.testing.assert_close(moved.advantage, v.advantage[:, order])


def test_ground_truth_of_the_reference_implementation_s_case():
    """The inputs of scalable_agent's vtrace_test, T=5 B=10, with its ρ̄=3.7 and c̄=1; outputs recomputed."""
    times, batch = 5, 10
    ramp = torch.arange(times * batch, dtype=torch.float64).view(times, batch) / (times * batch)
    problem = (
        2.5 * (2 * ramp - 1) * 2,  # log ρ over [-5, 5), so both clips bite
        torch.full((times, batch), 0.9, dtype=torch.float64),
        torch.arange(times, dtype=torch.float64)[:, None].expand(times, batch).contiguous(),
        torch.arange(batch, dtype=torch.float64).expand(times, batch).contiguous() / batch,
        torch.arange(batch, dtype=torch.float64) + 1.0,
        torch.ones(times, batch, dtype=torch.bool),
    )
    target, advantage = as_defined(*problem, 3.7, 1.0)
    v = vtrace(*problem, rho_max=3.7, c_max=1.0)
    torch.testing.assert_close(v.target, target)
    torch.testing.assert_close(v.advantage, advantage)


def test_worked_by_hand():
    """π/μ=(½, 2): δ_1 = 1+½·4−2 = 1, v_1 = 2+1 = 3; δ_0 = 1+½·2−1 = 1, v_0 = 1+½(1+½·1) = 1.75."""
    column = [[0.5], [2.0]]
    v = vtrace(
        torch.tensor(column).log(),
        torch.full((2, 1), 0.5),
        torch.ones(2, 1),
        torch.tensor([[1.0], [2.0]]),
        torch.tensor([4.0]),
    )
    torch.testing.assert_close(v.target, torch.tensor([[1.75], [3.0]]))
    torch.testing.assert_close(v.advantage, torch.tensor([[0.75], [1.0]]))  # ½(1+½·3−1), 1(1+½·4−2)


def test_an_impossible_action_in_a_rejected_row_is_no_nan():
    log_rho = torch.tensor([[0.0], [torch.inf]])
    zeros = torch.zeros(2, 1)
    v = vtrace(log_rho, zeros, zeros, zeros, zeros[0], torch.tensor([[True], [False]]))
    assert torch.isfinite(v.target).all()
    assert torch.isfinite(v.advantage).all()


def test_shapes_that_disagree_are_named():
    ones = torch.ones(3, 2)
    with pytest.raises(ValueError, match=r"reward is \(2, 2\), but value is \(T, B\) = \(3, 2\)"):
        vtrace(ones, ones, ones[:2], ones, ones[0])
    with pytest.raises(ValueError, match=r"bootstrap \(B,\)"):
        vtrace(ones, ones, ones, ones, ones)
