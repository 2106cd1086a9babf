"""A small torch module to be served."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Plain(nn.Module):
    """Logits and a value, in a form that TorchScript and torch.export take."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.inner = nn.Linear(3, 2)

    def forward(self, features: Tensor, scale: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.inner(features)
        return logits, logits.sum(1) * scale
