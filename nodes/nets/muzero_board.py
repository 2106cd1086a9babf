"""MuZero for boards: residual towers over planes, as in the paper with fewer and narrower blocks.

    planes ─► conv 3x3 ─► blocks ─► s⁰        s, one plane an action kind ─► conv 3x3 ─► blocks ─► s'
    s ─► conv 1x1 ─► linear: policy, value    s' ─► conv 1x1 ─► linear: reward

An action enters the dynamics as planes (arXiv:1911.08265, appendix E): those that the game has for it; else, where
actions are as many as squares, one plane with its square set; where they are as many as columns, one with its column
set; else a constant plane an action.
GroupNorm stands for BatchNorm, whose running statistics an actor would need too.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nodes.nets.muzero import as_numbers, scaled

HEAD_PLANES = 4


class Board(nn.Module):
    """Planes (C, H, W) in; see MuZeroNetwork for what comes out."""

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        actions: int,
        *,
        width: int = 64,
        blocks: int = 2,
        bins: int = 0,
        action_planes: Tensor | None = None,
    ) -> None:
        if len(observation_shape) != 3:
            raise ValueError(f'network "board" takes planes (C, H, W), found {observation_shape}; set network = "mlp"')
        super().__init__()
        channels, height, columns = observation_shape
        squares, head = height * columns, 2 * bins + 1
        self.hidden_shape = (width, height, columns)
        self.represented = nn.Sequential(convolved(channels, width), *(Residual(width) for _ in range(blocks)))
        self.action_planes: Tensor
        if action_planes is None:
            action_planes = _action_planes(actions, height, columns)
        # The game says what they are; they are no weights, and would be most of what is published.
        self.register_buffer("action_planes", action_planes, persistent=False)
        planes = width + self.action_planes.shape[1]
        self.moved = nn.Sequential(convolved(planes, width), *(Residual(width) for _ in range(blocks)))
        self.policy = _head(width, squares, actions)
        self.value, self.reward = _head(width, squares, head), _head(width, squares, head)

    def represent(self, observations: Tensor) -> Tensor:
        """See MuZeroNetwork."""
        return scaled(self.represented(as_numbers(observations)))

    def dynamics(self, hidden: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """See MuZeroNetwork."""
        moved = self.moved(torch.cat([hidden, self.action_planes[actions].to(hidden.dtype)], 1))
        return scaled(moved), self.reward(moved)

    def predict(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """See MuZeroNetwork."""
        return self.policy(hidden), self.value(hidden)


def _action_planes(actions: int, height: int, columns: int) -> Tensor:
    """(A, Q, H, W)."""
    if actions == height * columns:
        return torch.eye(actions).view(actions, 1, height, columns)
    if actions == columns:
        return torch.eye(actions)[:, None, None].expand(actions, 1, height, columns).clone()
    return torch.eye(actions)[..., None, None].expand(actions, actions, height, columns).clone()


def convolved(channels_in: int, channels: int, stride: int = 1) -> nn.Sequential:
    """A normalised 3x3 convolution with its ReLU."""
    return nn.Sequential(
        nn.Conv2d(channels_in, channels, 3, stride, padding=1, bias=False), nn.GroupNorm(1, channels), nn.ReLU()
    )


def _head(width: int, squares: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(width, HEAD_PLANES, 1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(HEAD_PLANES * squares, width),
        nn.ReLU(),
        nn.Linear(width, outputs),
    )


class Residual(nn.Module):
    """relu(x + conv(relu(conv(x)))), each convolution normalised."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = convolved(channels, channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.GroupNorm(1, channels)

    def forward(self, image: Tensor) -> Tensor:
        return F.relu(image + self.norm(self.second(self.first(image))))
