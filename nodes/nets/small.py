"""A feed-forward Atari network that two CPU cores can train: the first DQN's, with the actor-critic's heads.

    newest frame, 3 differences ─► conv 8x8/4 16 ─► conv 4x4/2 32 ─► linear 256 ─► logits A, value 1

A third of Nature-CNN's work an observation (3.0 against 9.3 million multiplications), 0.7 M weights, and
enough for Pong. What moves is a few pixels on a large grey ground, so the ground is taken away first: frames
enter as differences from the newest, which enters less its mean. Explained variance of Pong's value passed
0.7 after 30,000 steps; on raw frames, at half the learning rate, after 220,000.
Source: Mnih et al., arXiv:1312.5602, §5.1; orthogonal weights as in arXiv:2006.05990, decision C56.
"""

from __future__ import annotations

from typing import TypeVar

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from nodes.nets.interface import Answer

Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)


class Small(nn.Module):
    """Four frames in, logits and value out; no memory."""

    core_size = 0

    def __init__(self, actions: int, *, bf16: bool = True) -> None:
        super().__init__()
        self.bf16 = bf16
        self.conv1 = _orthogonal(nn.Conv2d(4, 16, 8, stride=4), 2**0.5)
        self.conv2 = _orthogonal(nn.Conv2d(16, 32, 4, stride=2), 2**0.5)
        self.torso = _orthogonal(nn.Linear(32 * 9 * 9, 256), 2**0.5)
        # Nearly uniform at first: exploration does not depend on the seed.
        self.policy = _orthogonal(nn.Linear(256, actions), 0.01)
        self.value = _orthogonal(nn.Linear(256, 1), 1.0)

    def forward(
        self,
        stacks: UInt8[Tensor, "T B 4 84 84"],
        last_reward: Float[Tensor, "T B"],
        last_action: Int[Tensor, "T B"],
        first: Bool[Tensor, "T B"],
        core: Float[Tensor, "B 0"],
    ) -> Answer:
        """Answer for T observations of B lanes; see AtariNetwork. Only the stacks are looked at."""
        times, batch = stacks.shape[:2]
        pixels = self._prepare(stacks.flatten(0, 1))
        with torch.autocast(stacks.device.type, torch.bfloat16, enabled=self.bf16):
            hidden = F.relu(self.conv2(F.relu(self.conv1(pixels))))
            hidden = F.relu(self.torso(hidden.flatten(1)))
        hidden = hidden.float()
        logits = self.policy(hidden).unflatten(0, (times, batch))
        return Answer(logits, self.value(hidden).view(times, batch), core)

    def _prepare(self, stacks: UInt8[Tensor, "N 4 84 84"]) -> Float[Tensor, "N 4 84 84"]:
        """Older frames less the newest, the newest less its mean; all about as large as 1."""
        # Differences of bytes are exact in bfloat16; of scaled bytes they would not be.
        pixels = stacks.to(torch.bfloat16 if self.bf16 else torch.float32)
        newest = pixels[:, 3:]
        pixels[:, :3].sub_(newest)
        newest.sub_(newest.mean((2, 3), keepdim=True))
        return pixels.mul_(1 / 128)


def _orthogonal(layer: Layer, gain: float) -> Layer:
    nn.init.orthogonal_(layer.weight, gain)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer
