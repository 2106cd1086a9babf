"""A trained network that plays: MuZero's search of one position, in one process and without messages.

The same trees as the planner's (`nodes.plan.muzero`), with the hidden states in a list beside them.
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
    """What a search found. visits: (A,). value: of the root, from the view of who moves. prior: (A,), before it."""

    visits: NDArray[np.int32]
    value: float
    prior: Array


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

    def search(self, observation: Array, legal: NDArray[np.bool_]) -> Found:
        """Search a position, without noise. observation: without rows. legal: (A,)."""
        import torch

        from nodes.algo.value_transform import read

        with torch.inference_mode():
            hidden = [self._network.represent(torch.from_numpy(observation[None]))]
            logits, _ = self._network.predict(hidden[0])
            prior = priors_of(_array(logits), legal[None])
            trees = Trees(prior, self._simulations, self._rules, self._kernel)
            while not trees.full:
                parents, actions = trees.select()
                after, reward = self._network.dynamics(
                    hidden[int(parents[0])], torch.from_numpy(actions.astype(np.int64))
                )
                hidden.append(after)
                logits, value = self._network.predict(after)
                trees.expand(_array(read(reward)), priors_of(_array(logits)), _array(read(value)))
        return Found(trees.root_visits()[0], float(trees.root_values()[0]), np.maximum(prior[0], 0))


def _array(tensor: torch.Tensor) -> Array:
    found: Array = tensor.float().numpy()
    return found
