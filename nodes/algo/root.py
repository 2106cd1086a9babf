"""What surrounds a search: priors from logits, noise at the root, and a move from the visits (arXiv:1911.08265, A, B).

Legal moves are known at the root alone; inside the tree the model is asked about any.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nodes.algo.puct import NEVER

Bools = NDArray[np.bool_]


def priors_of(logits: NDArray[Any], legal: Bools | None = None) -> NDArray[np.float32]:
    """Softmax of policy logits (B, A); NEVER where a move is not legal or its logit is -inf.

    A row without any legal move is NEVER throughout: padding, or a position that is over.
    """
    open_ = np.isfinite(logits) if legal is None else legal & np.isfinite(logits)
    if open_.all():  # inside a tree: always, and this runs once a simulation
        weights = np.exp(logits - logits.max(1, keepdims=True))
        return np.asarray(weights / weights.sum(1, keepdims=True), np.float32)
    top = np.where(open_, logits, -np.inf).max(1, keepdims=True)
    weights = np.where(open_, np.exp(np.where(open_, logits - np.where(np.isfinite(top), top, 0), 0)), 0)
    total = weights.sum(1, keepdims=True)
    return np.where(open_, weights / np.where(total > 0, total, 1), NEVER).astype(np.float32)


def with_noise(
    priors: NDArray[np.float32], rows: Bools, alpha: float, share: float, rng: np.random.Generator
) -> NDArray[np.float32]:
    """P ← (1 - share) P + share · Dir(alpha) over the legal moves of each row that `rows` names.

    Args:
      priors: (B, A), NEVER where a move is not legal.
      rows: (B,), true where noise is wanted: in self-play, never in evaluation.
      alpha: of the Dirichlet; 0.03 for Go, 0.3 for chess, 0.25 for Atari.
      share: of the noise; 0.25 in the paper.
    """
    legal = priors >= 0
    drawn = np.where(legal, rng.standard_gamma(alpha, priors.shape), 0.0)
    total = drawn.sum(1, keepdims=True)
    # Gammas of a small alpha underflow; a row of zeros would be no distribution, and such a row keeps its priors.
    noisy = (1 - share) * priors + share * drawn / np.where(total > 0, total, 1)
    return np.where(rows[:, None] & legal & (total > 0), noisy, priors).astype(np.float32)


def policy_target(visits: NDArray[Any]) -> NDArray[np.float32]:
    """π = N / Σ N over all A actions, (B, A); zeros where nothing was visited."""
    return np.asarray(visits / np.maximum(visits.sum(1, keepdims=True), 1), np.float32)


def choose(visits: NDArray[Any], temperature: NDArray[Any], rng: np.random.Generator) -> NDArray[np.int64]:
    """Draw p_a ~ N_a^(1/T) in each row, (B,); T = 0 takes the most visited, the first of them where they tie.

    Args:
      visits: (B, A) counts.
      temperature: (B,).
    """
    greedy: NDArray[np.int64] = visits.argmax(1)
    hot = temperature > 0
    if not hot.any():
        return greedy
    with np.errstate(divide="ignore"):
        # In logarithms: N^(1/T) overflows as T nears 0.
        weights = np.log(visits.astype(np.float64)) / np.where(hot, temperature, 1.0)[:, None]
    gumbel = -np.log(rng.standard_exponential(visits.shape))
    drawn: NDArray[np.int64] = (weights + gumbel).argmax(1)
    return np.where(hot, drawn, greedy)
