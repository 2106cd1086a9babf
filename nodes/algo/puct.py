"""MuZero's tree search over many positions at once, as arrays (arXiv:1911.08265, appendix B).

    trees = Trees(priors, simulations, rules)            B roots, their legal moves in the priors
    while not trees.full:
        parents, actions = trees.select()                (B,) an edge a tree that leads out of it
        ...                                              the model: what the action gives, and what follows
        trees.expand(rewards, priors, values)            a node a tree, and the values on the way back up

Nobody's rules are needed: what lies behind an edge is what the caller says. All trees grow in step, one node each a
simulation, so that a model can answer for all of them at once.

Letters: B trees, M = 1 + simulations nodes of a tree, A actions. Node 0 is the root; node m is made by simulation m.

Of an edge (s, a) the paper keeps N, Q, P, R and S. Here they lie at the node it leads to, child[s, a]: its visits are
N(s, a), its reward R, and Q(s, a) = R + d · (mean of the values that came back through it). d is the discount γ, or -γ
where two players alternate: each value is from the view of who moves there, each reward from that of who moved.

The loops exist twice: vectorised over the trees in numpy, which is the reference, and compiled (`puct_numba`). Both do
the same operations in the same order, so their results are equal to the last bit.
"""

from __future__ import annotations

import importlib
import importlib.util
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from flow.errors import MissingError, SettingError

Ints = NDArray[np.int32]
Floats = NDArray[np.float64]
NEVER = -1.0
"""The prior of an action that is not there: it is never chosen."""
NO_NUMBA = 'numba is not installed; install it with: pip install "flow-research[numba]", or set kernel = "numpy"'


@dataclass(frozen=True)
class Rules:
    """How a tree is searched.

    discount: γ, or -γ where two players alternate. c1, c2: of pUCT. bounds: the least and the largest value there can
    be, where that is known; None: the extremes of Q that the tree has seen so far, as in the paper.
    """

    discount: float
    c1: float = 1.25
    c2: float = 19652.0
    bounds: tuple[float, float] | None = None


class Kernel(Protocol):
    """The two loops; see `nodes.algo.puct_numpy` for what each takes."""

    def select(self, trees: Trees, parents: Ints, actions: Ints) -> None:
        """Write the edge that each tree is left by."""
        ...

    def back_up(self, trees: Trees, values: Floats) -> None:
        """Carry the values of the newest nodes up to the roots."""
        ...


def kernel_named(name: str) -> Kernel:
    """A kernel: "numpy", "numba", or "auto", which is numba where it is installed.

    Raises:
      MissingError: numba is named and not installed.
      SettingError: there is no such kernel.
    """
    if name not in ("auto", "numpy", "numba"):
        raise SettingError(f"kernel={name!r} is none of 'auto', 'numpy', 'numba'")
    installed = name != "numpy" and importlib.util.find_spec("numba") is not None
    if name == "numba" and not installed:
        raise MissingError(NO_NUMBA)
    kernel: Any = importlib.import_module("nodes.algo.puct_numba" if installed else "nodes.algo.puct_numpy")
    made: Kernel = kernel
    return made


class Trees:
    """B trees that grow by a node each a simulation.

    Args:
      priors: (B, A) float32 of the roots, NEVER where an action is not legal; see `nodes.algo.root`.
      simulations: how many there will be, 1 or more.
      rules: discount and constants.
      kernel: what runs the loops.

    Raises:
      SettingError: no simulations, or no action.
    """

    def __init__(self, priors: NDArray[np.float32], simulations: int, rules: Rules, kernel: Kernel) -> None:
        if simulations < 1:
            raise SettingError(f"simulations={simulations}: a search takes 1 or more")
        count, actions = priors.shape
        if actions < 1:
            raise SettingError("a search over no actions; the game must have 1 or more")
        nodes = simulations + 1
        self.rules, self.simulations, self._kernel = rules, simulations, kernel
        self.size = 1  # nodes of each tree
        self.parent = np.empty((count, nodes), np.int32)
        self.reward = np.zeros((count, nodes), np.float64)
        self.visits = np.zeros((count, nodes), np.int32)
        self.total = np.zeros((count, nodes), np.float64)  # of the values that came back
        # Rows of the two large tables are written when their node is made.
        self.prior = np.empty((count, nodes, actions), np.float32)
        self.child = np.empty((count, nodes, actions), np.int32)
        self.prior[:, 0], self.child[:, 0] = priors, -1
        low, high = rules.bounds if rules.bounds is not None else (np.inf, -np.inf)
        self.low, self.high = np.full(count, low), np.full(count, high)
        self.explore = exploration(simulations, rules)
        self._leaving = np.zeros(count, np.int32), np.zeros(count, np.int32)
        self._rows = np.arange(count)

    @property
    def full(self) -> bool:
        """Whether all simulations were done."""
        return self.size > self.simulations

    def select(self) -> tuple[Ints, Ints]:
        """Descend each tree by pUCT to an edge that leads out of it: its node and its action, (B,) each.

        The arrays are used again by the next call.
        """
        self._kernel.select(self, *self._leaving)
        return self._leaving

    def expand(self, rewards: NDArray[Any], priors: NDArray[np.float32], values: NDArray[Any]) -> None:
        """Put a node at the end of each edge that was selected, and carry its value up to the root.

        Args:
          rewards: (B,) of the edge's action, from the view of who took it.
          priors: (B, A) at the new node.
          values: (B,) of the new node, from the view of who moves there.
        """
        parents, actions = self._leaving
        new = self.size
        self.child[self._rows, parents, actions] = new
        self.parent[:, new] = parents
        self.reward[:, new] = rewards
        self.prior[:, new], self.child[:, new] = priors, -1
        self._kernel.back_up(self, np.asarray(values, np.float64))
        self.size = new + 1

    def root_visits(self) -> Ints:
        """N(s, a) at the roots, (B, A); each row sums to the simulations done."""
        child = self.child[:, 0]
        return np.where(child > 0, np.take_along_axis(self.visits, np.maximum(child, 0), 1), 0).astype(np.int32)

    def root_q(self) -> Floats:
        """Q(s, a) at the roots, (B, A); 0 where N is 0."""
        child = np.maximum(self.child[:, 0], 0)
        visits = np.take_along_axis(self.visits, child, 1)
        mean = np.take_along_axis(self.total, child, 1) / np.maximum(visits, 1)
        q = np.take_along_axis(self.reward, child, 1) + self.rules.discount * mean
        return np.where(self.child[:, 0] > 0, q, 0.0)

    def root_values(self) -> Floats:
        """ν, the mean of what came back to each root, (B,)."""
        return self.total[:, 0] / np.maximum(self.visits[:, 0], 1)


def exploration(simulations: int, rules: Rules) -> Floats:
    """sqrt(n) · (c1 + log((n + c2 + 1) / c2)) for n = Σ_b N(s, b) from 0 to `simulations`.

    With n = 0 all edges tie at 0; there the factor of n = 1 stands, so that the largest prior goes first.
    """
    n = np.arange(simulations + 1, dtype=np.float64)
    factor = np.sqrt(n) * (rules.c1 + np.log((n + rules.c2 + 1) / rules.c2))
    factor[0] = factor[1]
    return factor
