"""Returns over n steps, for learning Q from windows of stored steps.

B is batch, n the steps of a window, t its first. A window may hold the end of an episode and the beginning of the
next; what counts are the steps up to the first end in it:

    G_t = Σ_{i=0}^{k} γ^i r_{t+i} + γ^{k+1} · V(what followed step t+k)     V is left out where nothing follows

Source: Watkins, Learning from Delayed Rewards, 1989; n steps as in Rainbow, arXiv:1710.02298.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from flow import Array


class Returns(NamedTuple):
    """What a window says of the value of its first action."""

    rewards: Array
    """(B,) Σ γ^i r_{t+i} up to step k, float32."""
    discounts: Array
    """(B,) γ^{k+1}, and 0 where the episode terminated at step k, float32."""
    last: Array
    """(B,) k, from 0 to n - 1, int64."""


def n_step_returns(rewards: Array, terminated: Array, truncated: Array, first: Array, *, discount: float) -> Returns:
    """Sum rewards up to the first end of an episode in each window.

    Args:
      rewards: (B, n) r of each step.
      terminated: (B, n) nothing follows the step.
      truncated: (B, n) the episode was cut short there; its value goes on.
      first: (B, n) the step is the first of an episode. One that begins without an end before it, since whoever
        played was restarted, cuts the window as a time limit does.
      discount: γ.

    Raises:
      ValueError: the shapes disagree, or n is 0.
    """
    shape = rewards.shape
    if len(shape) != 2 or not shape[1] or any(each.shape != shape for each in (terminated, truncated, first)):
        found = [tuple(each.shape) for each in (rewards, terminated, truncated, first)]
        raise ValueError(f"expected four arrays (B, n) with n of 1 or more, found {found}")
    ends = terminated | truncated
    ends[:, :-1] |= first[:, 1:]
    ends[:, -1] = True
    last = ends.argmax(1)
    steps = np.arange(shape[1])
    counted = np.where(steps <= last[:, None], rewards, 0)
    summed = (counted * discount**steps).sum(1)
    goes_on = ~terminated[np.arange(shape[0]), last]
    return Returns(summed.astype(np.float32), (goes_on * discount ** (last + 1)).astype(np.float32), last)
