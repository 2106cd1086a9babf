"""V-trace: returns for data that another policy made, cut where it must not be trusted.

    log_rho, discount, reward, value, bootstrap, keep ──► vtrace ──► target v_t, advantage

The recursion is short, so it runs backwards over T with whole rows of B: on CPU and GPU alike its cost is
lost beside the network's.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor


class VTrace(NamedTuple):
    """What a learner regresses on and follows; neither carries a gradient."""

    target: Float[Tensor, "T B"]
    """v_t, the value to regress V(x_t) on; V(x_t) itself where keep is False."""
    advantage: Float[Tensor, "T B"]
    """ρ_t (r_t + γ_t v_{t+1} − V(x_t)), the weight of ∇ log π(a_t|x_t); 0 where keep is False."""
    rho: Float[Tensor, "T B"]
    """ρ_t, the truncated importance weight min(ρ̄, π/μ)."""


@torch.no_grad()
def vtrace(
    log_rho: Float[Tensor, "T B"],
    discount: Float[Tensor, "T B"],
    reward: Float[Tensor, "T B"],
    value: Float[Tensor, "T B"],
    bootstrap: Float[Tensor, " B"],
    keep: Bool[Tensor, "T B"] | None = None,
    *,
    rho_max: float = 1.0,
    c_max: float = 1.0,
) -> VTrace:
    """Compute V-trace targets (IMPALA, arXiv:1802.01561, eq. 1) with LASER's mask λ (arXiv:1909.11583, §5).

        v_t − V(x_t) = λ_t [ρ_t δ_t + γ_t c_t (v_{t+1} − V(x_{t+1}))],   δ_t = r_t + γ_t V(x_{t+1}) − V(x_t)

    T is time, B is batch. Time is the leading axis, as it is in replay.

    Args:
      log_rho: log π(a|x) − log μ(a|x), learner over behaviour.
      discount: γ, and 0 where the episode terminated at that step.
      reward: r_t, received after a_t.
      value: V(x_t) of the learner.
      bootstrap: V(x_T).
      keep: λ_t; a return stops and bootstraps with V(x_t) at a step that is not kept. All of them when None.
      rho_max, c_max: truncation levels ρ̄ and c̄; ρ̄ sets the fixed point, c̄ the speed.

    Raises:
      ValueError: two shapes disagree.
    """
    keep = torch.ones_like(value, dtype=torch.bool) if keep is None else keep
    _check_shapes(value, bootstrap, log_rho=log_rho, discount=discount, reward=reward, keep=keep)
    ratio = log_rho.exp()
    rho = ratio.clamp(max=rho_max)
    trace = discount * ratio.clamp(max=c_max)
    next_value = torch.cat([value[1:], bootstrap[None]])
    correction = rho * (reward + discount * next_value - value)
    excess = torch.empty_like(value)
    later = torch.zeros_like(bootstrap)
    for t in reversed(range(len(value))):
        # where, not a product: an infinite ratio in a rejected row must not become NaN.
        later = torch.where(keep[t], correction[t] + trace[t] * later, 0.0)
        excess[t] = later
    target = value + excess
    next_target = torch.cat([target[1:], bootstrap[None]])
    advantage = torch.where(keep, rho * (reward + discount * next_target - value), 0.0)
    return VTrace(target, advantage, rho)


def _check_shapes(value: Tensor, bootstrap: Tensor, **others: Tensor) -> None:
    """Raise ValueError, naming the argument, unless all are (T, B) as value is and bootstrap is (B,)."""
    if value.ndim != 2 or bootstrap.shape != value.shape[1:]:
        raise ValueError(
            f"value must be (T, B) and bootstrap (B,), but they are {tuple(value.shape)} and {tuple(bootstrap.shape)}"
        )
    for name, tensor in others.items():
        if tensor.shape != value.shape:
            raise ValueError(f"{name} is {tuple(tensor.shape)}, but value is (T, B) = {tuple(value.shape)}")
