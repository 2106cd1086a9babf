"""Small torch modules to be served."""

from __future__ import annotations

from contextlib import contextmanager
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


class Tight(Two):
    """On a device that has memory for so many rows; torch says it thus when a GPU has no more."""

    def __init__(self, hidden: int = 4, *, rows_max: int) -> None:
        super().__init__(hidden)
        self.rows_max = rows_max

    def forward(self, features: Tensor, scale: Tensor):
        if len(features) > self.rows_max:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {len(features)} rows")
        return super().forward(features, scale)


@contextmanager
def memory_for(rows_max: int | None):
    """All networks as if on a device whose memory holds so many rows."""

    def before(module, inputs):
        if isinstance(module, nn.Linear) and rows_max is not None and len(inputs[0]) > rows_max:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {len(inputs[0])} rows")

    hook = nn.modules.module.register_module_forward_pre_hook(before)
    try:
        yield
    finally:
        hook.remove()


def no_module() -> int:
    return 3
