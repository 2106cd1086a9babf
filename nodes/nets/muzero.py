"""MuZero's three functions as one module, and its unroll; the small one, of fully connected layers.

    observation ── h ──► s⁰ ── f ──► policy, value
                         s, a ── g ──► s', reward

Hidden states are scaled to [0, 1] by their own extremes, after h and after g (appendix G): what the dynamics takes has
the range of what it gives, however often it is applied.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Protocol

import numpy as np
import torch
from jaxtyping import Float, Int
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from nodes.algo.muzero_loss import Unroll, halve_gradient

RANGE_MIN = 1e-5


class MuZeroNetwork(Protocol):
    """h, g and f. All of them are torch modules too. Heads are one number, or 2n+1 bins; `value_transform.read` reads
    both."""

    hidden_shape: tuple[int, ...]

    def represent(self, observations: Float[Tensor, "B ..."]) -> Float[Tensor, "B ..."]:
        """h: hidden states s⁰ of observations."""
        ...

    def dynamics(
        self, hidden: Float[Tensor, "B ..."], actions: Int[Tensor, "B"]
    ) -> tuple[Float[Tensor, "B ..."], Float[Tensor, "B R"]]:
        """g: the hidden states that actions lead to, and the reward head."""
        ...

    def predict(self, hidden: Float[Tensor, "B ..."]) -> tuple[Float[Tensor, "B A"], Float[Tensor, "B V"]]:
        """f: logits of the policy, and the value head."""
        ...


def build(
    name: str,
    observation_shape: Sequence[int],
    actions: int,
    *,
    width: int = 64,
    blocks: int = 2,
    bins: int = 0,
    action_planes: NDArray[np.uint8] | None = None,
) -> nn.Module:
    """Make a freshly initialised network; each is a MuZeroNetwork.

    Args:
      name: "mlp"; "board" for convolutions over planes; "atari" for those over frames, which are made smaller first.
      observation_shape: without the batch.
      actions: A.
      width: units of a layer, or planes.
      blocks: residual blocks of h and of g; "mlp" has none.
      bins: n of the value and reward heads; 0: one number each.
      action_planes: (A, Q, H, W), how an action enters the dynamics of "board" and "atari"; None: its own way.

    Raises:
      ValueError: no network has that name, or it does not take such observations.
    """
    # Imported here: each architecture imports this file.
    from nodes.nets.muzero_atari import Atari
    from nodes.nets.muzero_board import Board

    shape = tuple(observation_shape)
    if name == "mlp":
        return Mlp(shape, actions, width=width, blocks=blocks, bins=bins)
    planes = None if action_planes is None else torch.from_numpy(action_planes)
    if name == "board":
        return Board(shape, actions, width=width, blocks=blocks, bins=bins, action_planes=planes)
    if name == "atari":
        return Atari(shape, actions, width=width, blocks=blocks, bins=bins, action_planes=planes)
    raise ValueError(f"no network is named {name!r}; there are 'mlp', 'board', 'atari'")


def unroll(network: MuZeroNetwork, observations: Tensor, actions: Tensor) -> Unroll:
    """Apply the model along stretches of moves.

    Args:
      observations: (B, ...) of the first positions.
      actions: (B, K).
    """
    hidden = network.represent(observations)
    said = [network.predict(hidden)]
    rewards = []
    for action in actions.T:
        # After the heads have used it: what they learn from it counts in full.
        hidden, reward = network.dynamics(halve_gradient(hidden), action)
        rewards.append(reward)
        said.append(network.predict(hidden))
    logits, values = (torch.stack(each) for each in zip(*said, strict=True))
    return Unroll(logits, values, torch.stack(rewards))


def as_numbers(observations: Tensor) -> Tensor:
    """Bytes as shares of 255, numbers as they are."""
    return observations.float() / 255 if observations.dtype == torch.uint8 else observations


def scaled(hidden: Tensor) -> Tensor:
    """Each row to [0, 1] by its least and largest unit."""
    flat = hidden.flatten(1)
    low, high = flat.amin(1, keepdim=True), flat.amax(1, keepdim=True)
    return ((flat - low) / (high - low).clamp(min=RANGE_MIN)).view_as(hidden)


class Mlp(nn.Module):
    """One hidden layer in each of h, g and f; hidden states of half the width."""

    def __init__(
        self, observation_shape: tuple[int, ...], actions: int, *, width: int = 64, blocks: int = 0, bins: int = 0
    ) -> None:
        super().__init__()
        hidden, head = width // 2, 2 * bins + 1
        self.actions = actions
        self.hidden_shape = (hidden,)
        self.representation = _two_layers(prod(observation_shape), width, hidden)
        self.transition = _two_layers(hidden + actions, width, width)
        self.next_hidden, self.reward = nn.Linear(width, hidden), nn.Linear(width, head)
        self.torso = nn.Linear(hidden, width)
        self.policy, self.value = nn.Linear(width, actions), nn.Linear(width, head)

    def represent(self, observations: Tensor) -> Tensor:
        """See MuZeroNetwork."""
        return scaled(self.representation(as_numbers(observations).flatten(1)))

    def dynamics(self, hidden: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """See MuZeroNetwork."""
        action = F.one_hot(actions, self.actions).to(hidden.dtype)
        moved = F.relu(self.transition(torch.cat([hidden, action], 1)))
        return scaled(self.next_hidden(moved)), self.reward(moved)

    def predict(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """See MuZeroNetwork."""
        seen = F.relu(self.torso(hidden))
        return self.policy(seen), self.value(seen)


def _two_layers(inputs: int, width: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, outputs))
