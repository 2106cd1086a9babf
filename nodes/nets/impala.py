"""IMPALA's deep network, which LASER uses on Atari: a residual torso and an LSTM.

    4x84x84 ─► 3 sections (conv, pool, 2 residual blocks) ─► linear 256 ┐
    last reward in [-1, 1], last action one-hot ────────────────────────┴─► LSTM 256 ─► logits A, value 1

Source: Espeholt et al., arXiv:1802.01561, fig. 3 right; 16, 32 and 32 channels. 1.6 M weights.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn
from torch.nn import functional as F

from nodes.nets.interface import Answer

CORE = 256
CHANNELS = (4, 16, 32, 32)


class Impala(nn.Module):
    """Frames, last reward and last action in; logits and value out; an LSTM between."""

    core_size = 2 * CORE  # h, then c

    def __init__(self, actions: int, *, bf16: bool = True) -> None:
        super().__init__()
        self.actions = actions
        self.bf16 = bf16
        self.sections = nn.Sequential(*map(_Section, CHANNELS[:-1], CHANNELS[1:]))
        self.torso = nn.Linear(CHANNELS[-1] * 11 * 11, 256)
        self.core = nn.LSTMCell(256 + 1 + actions, CORE)
        self.policy = nn.Linear(CORE, actions)
        self.value = nn.Linear(CORE, 1)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self,
        stacks: UInt8[Tensor, "T B 4 84 84"],
        last_reward: Float[Tensor, "T B"],
        last_action: Int[Tensor, "T B"],
        first: Bool[Tensor, "T B"],
        core: Float[Tensor, "B C"],
    ) -> Answer:
        """Answer for T observations of B lanes; see AtariNetwork."""
        times, batch = stacks.shape[:2]
        seen = self._look(stacks.flatten(0, 1)).view(times, batch, -1)
        # A first observation has no past: what the ignored step before it did says nothing.
        reward = last_reward.clamp(-1.0, 1.0).masked_fill(first, 0.0)[..., None]
        action = F.one_hot(last_action, self.actions).masked_fill(first[..., None], 0)
        features = torch.cat([seen, reward, action.to(seen.dtype)], -1)
        hidden, cell = core[:, :CORE], core[:, CORE:]
        outputs = []
        for feature, fresh in zip(features, first[..., None], strict=True):
            hidden, cell = self.core(feature, (hidden.masked_fill(fresh, 0.0), cell.masked_fill(fresh, 0.0)))
            outputs.append(hidden)
        output = torch.stack(outputs)
        return Answer(self.policy(output), self.value(output)[..., 0], torch.cat([hidden, cell], -1))

    def _look(self, pixels: UInt8[Tensor, "N 4 84 84"]) -> Float[Tensor, "N 256"]:
        dtype = torch.bfloat16 if self.bf16 else torch.float32
        image = pixels.to(dtype, memory_format=torch.channels_last).mul_(1 / 255)
        with torch.autocast(pixels.device.type, torch.bfloat16, enabled=self.bf16):
            hidden = F.relu(self.sections(image)).flatten(1)
            return F.relu(self.torso(hidden)).float()


class _Section(nn.Module):
    """Halve the image, change its channels, and refine it twice."""

    def __init__(self, channels_in: int, channels: int) -> None:
        super().__init__()
        self.widen = nn.Conv2d(channels_in, channels, 3, padding=1)
        self.blocks = nn.Sequential(_Residual(channels), _Residual(channels))

    def forward(self, image: Tensor) -> Tensor:
        halved = F.max_pool2d(self.widen(image), 3, stride=2, padding=1)
        refined: Tensor = self.blocks(halved)
        return refined


class _Residual(nn.Module):
    """x + conv(relu(conv(relu(x))))."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, image: Tensor) -> Tensor:
        change: Tensor = self.conv2(F.relu(self.conv1(F.relu(image))))
        return image + change
