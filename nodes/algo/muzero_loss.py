"""MuZero's loss over an unroll of K steps (arXiv:1911.08265, eq. 1, appendices F and G)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nodes.algo.value_transform import head_loss, read


class Unroll(NamedTuple):
    """What the model says along B stretches of K moves; step k is after k of them."""

    logits: Tensor
    """(K+1, B, A) of the policy."""
    values: Tensor
    """(K+1, B, V) heads; V is 1, or 2n+1 bins."""
    rewards: Tensor
    """(K, B, R) heads, of each move."""


class Targets(NamedTuple):
    """What it should have said; see `nodes.algo.muzero_targets.Unrolled`."""

    policies: Tensor
    """(B, K+1, A)."""
    values: Tensor
    """(B, K+1)."""
    rewards: Tensor
    """(B, K)."""
    real: Tensor
    """(B, K+1) bool."""
    weights: Tensor
    """(B,) importance of each stretch."""


class Loss(NamedTuple):
    """total: what is descended. policy, value, reward: its parts, detached. priorities: (B,) |v - z| at step 0."""

    total: Tensor
    policy: Tensor
    value: Tensor
    reward: Tensor
    priorities: Tensor


def muzero_loss(said: Unroll, targets: Targets, *, value_cost: float = 1.0) -> Loss:
    """Σ_k l^p + l^v + l^r, the mean over the batch; steps after the first weigh 1/K.

    Args:
      value_cost: of l^v; 1 in the paper, 1/4 with Reanalyze.

    Raises:
      ValueError: two shapes disagree.
    """
    steps, rows = said.rewards.shape[:2]
    shapes = {
        "policies": (rows, steps + 1, said.logits.shape[2]),
        "values": (rows, steps + 1),
        "rewards": (rows, steps),
    }
    for name, shape in {**shapes, "real": (rows, steps + 1), "weights": (rows,)}.items():
        if tuple(getattr(targets, name).shape) != shape:
            raise ValueError(f"{name}: expected shape {shape}, found {tuple(getattr(targets, name).shape)}")
    share = torch.full((steps + 1, 1), 1 / steps, device=said.logits.device)
    share[0] = 1
    share = share * targets.weights / rows
    cross = -(targets.policies.transpose(0, 1) * said.logits.log_softmax(-1)).sum(-1)
    policy = (share * cross * targets.real.T).sum()
    value = (share * head_loss(said.values, targets.values.T)).sum()
    reward = (share[1:] * head_loss(said.rewards, targets.rewards.T)).sum()
    with torch.no_grad():
        priorities = (read(said.values[0]) - targets.values[:, 0]).abs()
    return Loss(policy + value_cost * value + reward, policy.detach(), value.detach(), reward.detach(), priorities)


def halve_gradient(x: Tensor) -> Tensor:
    """x, with half its gradient: put where a hidden state enters the dynamics (appendix G)."""
    return 0.5 * x + 0.5 * x.detach()
