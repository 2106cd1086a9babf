"""The loops of the tree search, vectorised over the trees: the reference of `puct_numba`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from nodes.algo.puct import Floats, Ints, Trees


def select(trees: Trees, parents: Ints, actions: Ints) -> None:
    """Descend each tree to an edge that leads out of it.

    Args:
      parents, actions: (B,), written: the node that is left, and by which action.
    """
    rows = np.arange(len(parents))
    nodes = np.zeros(len(parents), np.int32)
    while rows.size:
        best = scores(trees, rows, nodes).argmax(1)
        parents[rows], actions[rows] = nodes, best
        child = trees.child[rows, nodes, best]
        inside = child >= 0
        rows, nodes = rows[inside], child[inside]


def scores(trees: Trees, rows: NDArray[np.int64], nodes: Ints) -> Floats:
    """What pUCT takes the largest of at node `nodes[i]` of tree `rows[i]`, (k, A): Q̄ + P · explore / (1 + N).

    An edge without a visit has Q̄ = 0, the worst there is once values are normalised; one that is not there has -inf.
    """
    child = trees.child[rows, nodes]
    prior = trees.prior[rows, nodes]
    seen = child >= 0
    child = np.maximum(child, 0)
    visits = np.where(seen, trees.visits[rows[:, None], child], 0)
    mean = trees.total[rows[:, None], child] / np.maximum(visits, 1)
    q = trees.reward[rows[:, None], child] + trees.rules.discount * mean
    low, high = trees.low[rows, None], trees.high[rows, None]
    known = high > low  # before that there is nothing to normalise by
    q = np.where(known, (q - np.where(known, low, 0.0)) / np.where(known, high - np.where(known, low, 0.0), 1.0), q)
    # The root's visits all went on to an edge; any other node's first visit made the node itself.
    through = trees.visits[rows, nodes] - (nodes > 0)
    score = np.where(seen, q, 0.0) + prior * trees.explore[through, None] / (1 + visits)
    return np.where(prior < 0, -np.inf, score)


def back_up(trees: Trees, values: Floats) -> None:
    """Carry the values of the newest nodes to the roots: G ← R + d · G, each into the mean of the node it comes to.

    Args:
      values: (B,) of node `trees.size` of each tree.
    """
    rows = np.arange(len(values))
    nodes = np.full(len(values), trees.size, np.int32)
    discount = trees.rules.discount
    tracked = trees.rules.bounds is None
    while rows.size:
        trees.visits[rows, nodes] += 1
        trees.total[rows, nodes] += values
        below = nodes > 0  # an edge leads here
        rows, nodes, values = rows[below], nodes[below], values[below]
        reward = trees.reward[rows, nodes]
        if tracked:
            q = reward + discount * (trees.total[rows, nodes] / trees.visits[rows, nodes])
            trees.low[rows] = np.minimum(trees.low[rows], q)
            trees.high[rows] = np.maximum(trees.high[rows], q)
        values = reward + discount * values
        nodes = trees.parent[rows, nodes]
