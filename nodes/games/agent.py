"""A trained network that plays: MuZero's search of some positions, in one process and without messages.

The same trees as the planner's (`nodes.plan.muzero`), with the hidden states in a table beside them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from flow import Array
from nodes.algo.puct import Rules, Trees, kernel_named
from nodes.algo.root import priors_of

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Found:
    """What a search found. visits: (B, A). values: (B,) of the roots, from the view of who moves. priors: (B, A), what
    the policy says without it."""

    visits: NDArray[np.int32]
    values: NDArray[np.float64]
    priors: Array


class Agent:
    """A network and how it searches.

    Args:
      network: a `nodes.nets.muzero.MuZeroNetwork`.
      rules: of the search; discount -1 where two players alternate.
      simulations: of each search.

    Raises:
      SettingError: simulations below 1, at the first search.
    """

    def __init__(self, network: Any, rules: Rules, simulations: int) -> None:
        self._network, self._rules, self._simulations = network.eval(), rules, simulations
        self._kernel = kernel_named("auto")

    def search(self, observations: Array, legal: NDArray[np.bool_]) -> Found:
        """Search positions, without noise. observations: (B, ...). legal: (B, A)."""
        import torch

        from nodes.algo.value_transform import read

        rows = torch.arange(len(legal))
        with torch.inference_mode():
            root = self._network.represent(torch.from_numpy(observations))
            logits, _ = self._network.predict(root)
            priors = priors_of(_array(logits), legal)
            trees = Trees(priors, self._simulations, self._rules, self._kernel)
            hidden = root.new_empty(len(legal), self._simulations + 1, *root.shape[1:])
            hidden[:, 0] = root
            while not trees.full:
                parents, actions = (torch.from_numpy(each.astype(np.int64)) for each in trees.select())
                after, rewards = self._network.dynamics(hidden[rows, parents], actions)
                hidden[:, trees.size] = after
                logits, values = self._network.predict(after)
                trees.expand(_array(read(rewards)), priors_of(_array(logits)), _array(read(values)))
        return Found(trees.root_visits(), trees.root_values(), np.maximum(priors, 0))


def _array(tensor: torch.Tensor) -> Array:
    found: Array = tensor.float().numpy()
    return found
