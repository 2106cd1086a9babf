"""Values as distributions over bins, on a scale that large ones do not swamp (arXiv:1911.08265, appendix F).

    x ── h ──► two-hot over 2n+1 whole bins -n … n        what a head is trained on
    h⁻¹ of the mean of a softmax over the bins ──► x      what a search reads

h(x) = sign(x)(√(|x|+1) - 1) + ε x (Pohlen et al., arXiv:1805.11593).
"""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 0.001


def squash(x: Tensor) -> Tensor:
    """h, elementwise."""
    return x.sign() * ((x.abs() + 1).sqrt() - 1) + EPSILON * x


def unsquash(x: Tensor) -> Tensor:
    """h⁻¹, elementwise."""
    root = (1 + 4 * EPSILON * (x.abs() + 1 + EPSILON)).sqrt()
    return x.sign() * (((root - 1) / (2 * EPSILON)) ** 2 - 1)


def two_hot(x: Tensor, bins: int) -> Tensor:
    """Weights (..., 2·bins + 1) on the two bins next to x (...), whose mean is x; beyond ±bins the last bin."""
    x = x.clamp(-bins, bins)
    low = x.floor().clamp(max=bins - 1)
    above = x - low
    at = (low + bins).long()[..., None]
    weights = torch.zeros(*x.shape, 2 * bins + 1, dtype=x.dtype, device=x.device)
    return weights.scatter(-1, at, (1 - above)[..., None]).scatter(-1, at + 1, above[..., None])


def mean_of(logits: Tensor) -> Tensor:
    """The mean of the softmax over bins -n … n, (..., 2n+1) to (...)."""
    bins = logits.shape[-1] // 2
    support = torch.arange(-bins, bins + 1, dtype=logits.dtype, device=logits.device)
    return (logits.softmax(-1) * support).sum(-1)


def read(head: Tensor) -> Tensor:
    """What a head says in units of reward, (..., 2n+1) to (...); a head of one number is that number."""
    return head[..., 0] if head.shape[-1] == 1 else unsquash(mean_of(head))


def head_loss(head: Tensor, target: Tensor) -> Tensor:
    """How far a head (..., 2n+1) is from targets (...), in units of reward: cross-entropy, or squared error where the
    head is one number."""
    if head.shape[-1] == 1:
        return (head[..., 0] - target) ** 2
    weights = two_hot(squash(target), head.shape[-1] // 2)
    return -(weights * head.log_softmax(-1)).sum(-1)
