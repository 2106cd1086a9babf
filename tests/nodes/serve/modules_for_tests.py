"""Small torch modules to be served."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn


class Both(NamedTuple):
    logits: Tensor
    values: Tensor


class Two(nn.Module):
    """Logits and a value of two inputs; dropout and batch norm tell training from evaluation."""

    def __init__(self, hidden: int = 4, *, form: str = "tuple") -> None:
        super().__init__()
        torch.manual_seed(hidden)
        self.hidden = nn.Linear(3, hidden)
        self.norm = nn.BatchNorm1d(hidden)
        self.drop = nn.Dropout(0.5)
        self.logits = nn.Linear(hidden, 2)
        self.value = nn.Linear(hidden + 1, 1)
        self.form = form

    def forward(self, features: Tensor, scale: Tensor):
        hidden = self.drop(self.norm(self.hidden(features)))
        logits = self.logits(hidden)
        values = self.value(torch.cat([hidden, scale[:, None]], 1))[:, 0]
        if self.form == "dict":
            return {"values": values, "logits": logits, "hidden": hidden}
        return Both(logits, values) if self.form == "named" else (logits, values)


def no_module() -> int:
    return 3
