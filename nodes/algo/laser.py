"""LASER's loss: an actor-critic on a mix of online and replayed unrolls (arXiv:1909.11583).

    logits, value ─┐
                   ├─► trust region λ ─► vtrace ─► value + policy loss, entropy of the online part
    unrolls ───────┘

V-trace learns the value not of π but of the *implied policy* π̃_μ, which is what is left of π where μ dares
to go (Prop. 1). States where that is far from π are rejected whole: they stop returns and give no gradient.

Unrolls follow the emulator's NEXT_STEP autoreset. When an episode ends, its last observation is in the
unroll; the action chosen there is ignored, and the next observation is the first of a new episode. So

    observation    x5      x6 last   x0 first   x1
    row                t       t+1        t+2           row t+1 is no transition: `transitions` says so

and an episode that was cut short (truncated) bootstraps from V(x6), one that terminated from nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from nodes.algo.vtrace import vtrace


@dataclass(frozen=True)
class Unrolls:
    """B unrolls of T steps, time leading; online and replayed ones side by side."""

    action: Int[Tensor, "T B"]
    """The action taken at observation t."""
    reward: Float[Tensor, "T B"]
    """What came of it, already clipped or scaled."""
    terminated: Bool[Tensor, "T B"]
    """The step ended the episode for good: nothing follows. A time limit is not that."""
    first: Bool[Tensor, "T+1 B"]
    """Observation t is the first of an episode."""
    behaviour: Float[Tensor, "T B A"]
    """Logits of μ; −inf for an action that μ never takes."""
    online: Bool[Tensor, " B"]
    """The unroll is fresh: always trusted, and alone in the entropy bonus."""


class Statistics(NamedTuple):
    """What to watch while the loss falls; means over real transitions, as 0-d tensors."""

    policy_loss: Tensor
    """Per unroll."""
    value_loss: Tensor
    """Per unroll, before c_v."""
    entropy: Tensor
    """Of π on the online part, nats per state."""
    reject_fraction: Tensor
    """Of the replayed part, outside the trust region."""
    relevance: Tensor
    """β of the replayed part, nats; each state's counted as 10 at most, for it may be infinite."""
    rho: Tensor
    """ρ of all that was kept."""
    explained_variance: Tensor
    """1 − var(v − V) / var(v) over all that was kept."""


class LaserLoss(NamedTuple):
    """The loss to differentiate, and what to log."""

    total: Tensor
    statistics: Statistics


def transitions(
    terminated: Bool[Tensor, "T B"], first: Bool[Tensor, "T+1 B"], discount: float
) -> tuple[Float[Tensor, "T B"], Bool[Tensor, "T B"]]:
    """Tell discounts γ_t, and which rows are real transitions, under NEXT_STEP autoreset.

    Args:
      terminated: the step ended the episode for good.
      first: observation t is the first of an episode.
      discount: γ of a step after which the episode goes on.

    Returns:
      γ_t, 0 where the episode terminated, (T, B); and False where row t leads into a first observation
      (its action was ignored), (T, B). A truncated episode keeps its γ: the row after it is not real, so its
      target is V of the true last observation, and that is what the row before it bootstraps from.
    """
    if len(first) != len(terminated) + 1:
        raise ValueError(f"first needs T+1 = {len(terminated) + 1} rows, one an observation; it has {len(first)}")
    return torch.where(terminated, 0.0, discount), ~first[1:]


def implied_policy(
    log_pi: Float[Tensor, "*state A"], log_mu: Float[Tensor, "*state A"], *, rho_max: float = 1.0
) -> Float[Tensor, "*state A"]:
    """Compute log π̃_μ, the policy whose value V-trace finds (§4.1, Prop. 1).

        π̃_μ(a) = min(ρ̄ μ(a), π(a)) / Σ_b min(ρ̄ μ(b), π(b))

    Args:
      log_pi, log_mu: log-probabilities; −inf is allowed.
      rho_max: ρ̄.

    Returns:
      Log-probabilities; all −inf where π and μ share no action, and no such policy exists.
    """
    shared = torch.minimum(log_pi, log_mu + math.log(rho_max))
    return (shared - shared.logsumexp(-1, keepdim=True)).nan_to_num(nan=-torch.inf, neginf=-torch.inf)


def relevance(
    log_pi: Float[Tensor, "*state A"], log_mu: Float[Tensor, "*state A"], *, rho_max: float = 1.0
) -> Float[Tensor, " *state"]:
    """Compute the behaviour relevance β = KL(π ‖ π̃_μ) of each state, nats (§5); +inf is a valid answer.

    The KL is to the implied policy, not to μ: with μ = π, or wherever ρ̄ μ ≥ π, it is 0.
    """
    terms = log_pi.exp() * (log_pi - implied_policy(log_pi, log_mu, rho_max=rho_max))
    return torch.where(log_pi > -torch.inf, terms, 0.0).sum(-1).clamp(min=0.0)


def laser_loss(
    logits: Float[Tensor, "T+1 B A"],
    value: Float[Tensor, "T+1 B"],
    unrolls: Unrolls,
    *,
    discount: float = 0.99,
    trust: float = 0.3,
    value_cost: float = 0.5,
    entropy_cost: float = 0.01,
    rho_max: float = 1.0,
    c_max: float = 1.0,
) -> LaserLoss:
    """Compute the loss of one update: summed over time, divided by the number of unrolls.

        Σ λ_t [−A_t log π(a_t) + ½ c_v (v_t − V)²] − c_H Σ_online H(π)

    Dividing by B, never by how many states were accepted, keeps the meaning of the learning rate.

    Args:
      logits, value: the network at all T+1 observations; the last only bootstraps.
      unrolls: what happened.
      discount: γ.
      trust: b; a replayed state is used while β < b. math.inf is plain V-trace on the whole mix.
      value_cost, entropy_cost: c_v and c_H.
      rho_max, c_max: ρ̄ and c̄.

    Raises:
      ValueError: two shapes disagree.
    """
    gamma, real = transitions(unrolls.terminated, unrolls.first, discount)
    log_pi = logits[:-1].log_softmax(-1)
    log_mu = unrolls.behaviour.log_softmax(-1)
    with torch.no_grad():
        beta = relevance(log_pi, log_mu, rho_max=rho_max)
        keep = real & (unrolls.online | (beta < trust))
    taken = unrolls.action[..., None]
    log_taken = log_pi.gather(-1, taken)[..., 0]
    log_rho = log_taken.detach() - log_mu.gather(-1, taken)[..., 0]
    known = value.detach()
    v = vtrace(log_rho, gamma, unrolls.reward, known[:-1], known[-1], keep, rho_max=rho_max, c_max=c_max)

    count = unrolls.online.numel()
    policy_loss = -(v.advantage * log_taken).sum() / count
    # A rejected row has target V, so its error, and its gradient, are exactly 0.
    value_loss = 0.5 * (v.target - value[:-1]).square().sum() / count
    entropy = torch.where(real & unrolls.online, -(log_pi.exp() * log_pi).sum(-1), 0.0)
    total = policy_loss + value_cost * value_loss - entropy_cost * entropy.sum() / count

    replayed = real & ~unrolls.online
    statistics = Statistics(
        policy_loss=policy_loss.detach(),
        value_loss=value_loss.detach(),
        entropy=entropy.detach().sum() / (real & unrolls.online).sum().clamp(min=1),
        reject_fraction=_mean((beta >= trust).to(known), replayed),
        relevance=_mean(beta.clamp(max=10.0), replayed),
        rho=_mean(v.rho, keep),
        explained_variance=_explained_variance(v.target, known[:-1], keep),
    )
    return LaserLoss(total, statistics)


def _mean(tensor: Tensor, where: Tensor) -> Tensor:
    """Mean over where; 0 if that is nowhere."""
    return torch.where(where, tensor, 0.0).sum() / where.sum().clamp(min=1)


def _explained_variance(target: Tensor, value: Tensor, where: Tensor) -> Tensor:
    spread = _variance(target, where)
    return 1.0 - _variance(target - value, where) / spread.clamp(min=1e-8)


def _variance(tensor: Tensor, where: Tensor) -> Tensor:
    return _mean((tensor - _mean(tensor, where)).square(), where)
