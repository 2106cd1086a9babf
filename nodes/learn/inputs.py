"""Trajectories as the tensors that networks and losses take: time leading, stacks rebuilt from single frames."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from nodes.algo.frames import stack_frames
from nodes.algo.laser import Unrolls
from nodes.messages import Trajectories
from nodes.nets.weights import tensor_of


class Inputs(NamedTuple):
    """What a network sees of B unrolls of T steps: T+1 observations."""

    stacks: Tensor
    """(T+1, B, 4, 84, 84) uint8."""
    last_rewards: Tensor
    """(T+1, B) float32, 0 at first observations."""
    last_actions: Tensor
    """(T+1, B) int64, 0 at first observations."""
    first: Tensor
    """(T+1, B) bool."""


def network_inputs(unrolls: Trajectories, device: torch.device, out: Tensor | None = None) -> Inputs:
    """The network's inputs at all observations.

    Args:
      out: (T+1, B, 4, 84, 84), used again for the stacks: fresh memory of that size costs a page fault every 4 KiB.
    """
    frames = tensor_of(unrolls.frames, device)
    first = tensor_of(unrolls.first, device)
    stacks = stack_frames(frames, first, out=out)
    rewards = torch.cat([tensor_of(unrolls.last_rewards, device)[None], tensor_of(unrolls.rewards, device).T])
    actions = torch.cat([tensor_of(unrolls.last_actions, device)[None], tensor_of(unrolls.actions, device).T.long()])
    began = first.T
    return Inputs(stacks, rewards.masked_fill(began, 0), actions.masked_fill(began, 0), began)


def loss_inputs(unrolls: Trajectories, online: Tensor, device: torch.device, reward_max: float) -> Unrolls:
    """What the loss needs to know of what happened.

    Args:
      online: (B,) bool, which unrolls are fresh.
      reward_max: rewards are clipped to ± this.
    """
    return Unrolls(
        action=tensor_of(unrolls.actions, device).T.long(),
        reward=tensor_of(unrolls.rewards, device).T.clamp(-reward_max, reward_max),
        terminated=tensor_of(unrolls.terminated, device).T,
        first=tensor_of(unrolls.first, device).T,
        behaviour=tensor_of(unrolls.logits, device).transpose(0, 1),
        online=online,
    )
