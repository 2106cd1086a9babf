"""The loops of the tree search, compiled: the same operations in the same order as `puct_numpy`, a tree at a time."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numba import njit

if TYPE_CHECKING:
    from nodes.algo.puct import Floats, Ints, Trees


def select(trees: Trees, parents: Ints, actions: Ints) -> None:
    """As `puct_numpy.select`."""
    _select(
        trees.prior,
        trees.child,
        trees.visits,
        trees.total,
        trees.reward,
        trees.low,
        trees.high,
        trees.explore,
        trees.rules.discount,
        parents,
        actions,
    )


def back_up(trees: Trees, values: Floats) -> None:
    """As `puct_numpy.back_up`."""
    _back_up(
        trees.visits,
        trees.total,
        trees.reward,
        trees.parent,
        trees.low,
        trees.high,
        trees.rules.discount,
        trees.rules.bounds is None,
        trees.size,
        values,
    )


def _select_loop(
    prior: Any,
    child: Any,
    visits: Any,
    total: Any,
    reward: Any,
    low: Any,
    high: Any,
    explore: Any,
    discount: float,
    parents: Any,
    actions: Any,
) -> None:
    for row in range(prior.shape[0]):
        span = high[row] - low[row]
        node = 0
        while True:
            factor = explore[visits[row, node] - (1 if node > 0 else 0)]
            best, best_score = 0, -np.inf
            for action in range(prior.shape[2]):
                chance = prior[row, node, action]
                if chance < 0:
                    continue
                to = child[row, node, action]
                if to >= 0:
                    n = visits[row, to]
                    score = reward[row, to] + discount * (total[row, to] / n)
                    if span > 0:
                        score = (score - low[row]) / span
                    score += chance * factor / (1 + n)
                else:
                    score = chance * factor
                if score > best_score:
                    best, best_score = action, score
            to = child[row, node, best]
            if to < 0:
                break
            node = to
        parents[row], actions[row] = node, best


def _back_up_loop(
    visits: Any,
    total: Any,
    reward: Any,
    parent: Any,
    low: Any,
    high: Any,
    discount: float,
    tracked: bool,
    newest: int,
    values: Any,
) -> None:
    for row in range(len(values)):
        node, value = newest, values[row]
        while True:
            visits[row, node] += 1
            total[row, node] += value
            if node == 0:
                break
            if tracked:
                q = reward[row, node] + discount * (total[row, node] / visits[row, node])
                low[row] = min(low[row], q)
                high[row] = max(high[row], q)
            value = reward[row, node] + discount * value
            node = parent[row, node]


# Without the GIL, so that the loop of the worker goes on; no fast-math, which would reorder sums.
_select = njit(cache=True, nogil=True)(_select_loop)
_back_up = njit(cache=True, nogil=True)(_back_up_loop)
