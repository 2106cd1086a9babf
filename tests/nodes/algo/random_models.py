"""Models that are tables: what each action gives in each state, where it leads, and what is thought of it there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nodes.algo.puct import Kernel, Rules, Trees
from nodes.algo.root import priors_of
from tests.nodes.algo.slow_tree import Search, State


@dataclass
class Table:
    """to, reward, prior: (states, actions); value: (states,)."""

    to: np.ndarray
    reward: np.ndarray
    prior: np.ndarray
    value: np.ndarray

    def model(self, state: object, action: int) -> tuple[float, object, list[float], float]:
        """As the oracle asks for it."""
        assert isinstance(state, int)
        after = int(self.to[state, action])
        return float(self.reward[state, action]), after, self.prior[after].tolist(), float(self.value[after])


def random_table(rng: np.random.Generator, states: int, actions: int, *, rewards: bool = True) -> Table:
    return Table(
        rng.integers(0, states, (states, actions)),
        rng.normal(size=(states, actions)) * rewards,
        priors_of(rng.normal(size=(states, actions)) * 2),
        rng.normal(size=states),
    )


def search(table: Table, roots: np.ndarray, legal: np.ndarray, simulations: int, rules: Rules, kernel: Kernel) -> Trees:
    """Search from several states at once; `legal` (B, A) masks the roots."""
    hidden = np.zeros((len(roots), simulations + 1), np.int64)
    hidden[:, 0] = roots
    trees = Trees(np.where(legal, table.prior[roots], -1).astype(np.float32), simulations, rules, kernel)
    rows = np.arange(len(roots))
    while not trees.full:
        parents, actions = trees.select()
        before = hidden[rows, parents]
        after = table.to[before, actions]
        hidden[:, trees.size] = after
        trees.expand(table.reward[before, actions], table.prior[after], table.value[after])
    return trees


def slow_search(table: Table, root: int, legal: np.ndarray, simulations: int, rules: Rules) -> tuple[Search, State]:
    """The same search by the oracle, one position."""
    slow = Search(abs(rules.discount), rules.discount < 0, rules.c1, rules.c2, rules.bounds)
    priors = np.where(legal, table.prior[root], -1).tolist()
    return slow, slow.run(root, priors, table.model, simulations)
