"""LASER, exactly: V-trace's bias on other policies' data, and what mixing and the trust region mend.

    python -m tools.claims.laser_t1 [--quick]

Nothing is sampled or learned. First the paper's two examples (arXiv:1909.11583, Props. 1 to 3), then Garnet
MDPs, whose V-trace fixed point under a mix of behaviours is solved for:
it is the value of the policy proportional to α d_π π + (1−α)/K Σ_z d_z λ_z min(μ_z, π).
"""

from __future__ import annotations

import math
import sys
from itertools import pairwise

import torch
from torch import Tensor

from nodes.algo.laser import implied_policy, relevance
from tools.claims import report

STATES, ACTIONS, BRANCHING, DISCOUNT = 30, 4, 3, 0.97
NOISE = (0.3, 0.6, 1.0, 1.5, 2.0, 2.5, 3.0, 3.0, 3.0)  # of the nine behaviours' logits, around the target's
TRUST = (math.inf, 1.0, 0.3, 0.1, 0.03, 0.01)
TRUST_WITHOUT_ONLINE = (math.inf, 1.0, 0.3, 0.1)  # below, whole states are left without data
ALPHA = 1 / 8
BANDIT = {
    0.0: 0.75,
    1 / 8: 0.68,
    0.24: 0.525,
    0.26: 0.47,
    1 / 2: 0.0,
}  # online share: final π of the worse action


def main() -> int:
    """Print both tables; 1 unless the examples agree and every curve falls with b."""
    quick = report.ask("LASER, exactly: examples of Props. 1 to 3, and Garnet MDPs")
    return report.verdict({**examples(), **garnets(50 if quick else 100)})


def examples() -> dict[str, bool]:
    """Check the paper's examples against their values."""
    half = torch.tensor([0.5, 0.5], dtype=torch.float64)
    rare = torch.tensor([0.9, 0.1], dtype=torch.float64)
    uniform = all(
        torch.allclose(implied_policy(mu.flip(0).log(), mu.log()).exp(), half)
        for phi in (0.05, 0.2, 0.5, 0.9)
        for mu in [torch.tensor([phi, 1 - phi], dtype=torch.float64)]
    )
    beta = relevance(half.log(), rare.log()).item()
    ends = {alpha: bandit_end(alpha) for alpha in BANDIT}
    report.table(
        ["online share", "π of the worse action", "expected"],
        [[f"{alpha:.3f}", f"{end:.4f}", f"{BANDIT[alpha]}"] for alpha, end in ends.items()],
    )
    return {
        "Prop. 1: opposite policies imply the uniform one": uniform,
        f"Prop. 2: relevance of the example is 0.2939 ({beta:.4f})": abs(beta - 0.2939) < 1e-4,
        "Prop. 2, 3: the gradient ends where it should, at every online share": all(
            abs(end - BANDIT[alpha]) < 0.005 for alpha, end in ends.items()
        ),
    }


def bandit_end(alpha: float) -> float:
    """Follow the exact gradient without a baseline, Q = (2, 5), μ = (0.9, 0.1), from π = (½, ½).

    In logits preconditioned by 1/π (the natural gradient): with two actions it points the same way and ends
    at the same place, but does not slow down near the corners.
    """
    q = torch.tensor([2.0, 5.0], dtype=torch.float64)
    mu = torch.tensor([0.9, 0.1], dtype=torch.float64)
    logits = torch.zeros(2, dtype=torch.float64)
    for _ in range(5000):
        pi = logits.softmax(0)
        omega = (mu / pi).clamp(max=1.0)
        effective = q * (alpha + (1 - alpha) * omega)
        logits += 0.02 * (effective - pi @ effective)
    return logits.softmax(0)[0].item()


def garnets(count: int) -> dict[str, bool]:
    """Solve `count` MDPs for every b, with and without online data; print and judge the errors."""
    online: dict[float, list[float]] = {b: [] for b in TRUST}
    without: dict[float, list[float]] = {b: [] for b in TRUST_WITHOUT_ONLINE}
    rejected: dict[float, list[float]] = {b: [] for b in TRUST}
    for seed in range(count):
        garnet = Garnet(seed)
        for b in TRUST:
            online[b].append(garnet.error(ALPHA, b))
            rejected[b].append(garnet.rejected(b))
        for b in TRUST_WITHOUT_ONLINE:
            without[b].append(garnet.error(0.0, b))
    report.table(
        ["b", f"error at α={ALPHA}", "error at α=0", "replay rejected"],
        [
            [
                f"{b}",
                _mean(online[b]),
                _mean(without[b]) if b in without else "-",
                f"{_average(rejected[b]):.0%}",
            ]
            for b in TRUST
        ],
    )
    means = [_average(online[b]) for b in TRUST]
    means_without = [_average(without[b]) for b in TRUST_WITHOUT_ONLINE]
    return {
        f"Garnet, {count} MDPs: a smaller b never makes the error larger, with online data": _falls(means),
        "Garnet: nor without": _falls(means_without),
        "Garnet: an eighth online is better than none at every b": all(
            mixed < alone for mixed, alone in zip(means, means_without, strict=False)
        ),
    }


class Garnet:
    """A random MDP, a target policy and nine behaviours; all float64."""

    def __init__(self, seed: int) -> None:
        draw = torch.Generator().manual_seed(seed)

        def normal(*shape: int) -> Tensor:
            return torch.randn(*shape, generator=draw, dtype=torch.float64)

        self.step = torch.zeros(STATES, ACTIONS, STATES, dtype=torch.float64)
        for state in range(STATES):
            for action in range(ACTIONS):
                following = torch.randperm(STATES, generator=draw)[:BRANCHING]
                cuts = torch.rand(BRANCHING - 1, generator=draw, dtype=torch.float64).sort().values
                edges = torch.cat([cuts.new_zeros(1), cuts, cuts.new_ones(1)])
                self.step[state, action, following] = edges.diff()
        self.reward = normal(STATES, ACTIONS)
        logits = 1.5 * normal(STATES, ACTIONS)
        self.pi = logits.softmax(-1)
        self.mu = torch.stack([(logits + noise * normal(STATES, ACTIONS)).softmax(-1) for noise in NOISE])
        self.visits = self._visits(self.pi)
        self.mu_visits = torch.stack([self._visits(mu) for mu in self.mu])
        self.beta = relevance(self.pi.log(), self.mu.log())

    def _visits(self, policy: Tensor) -> Tensor:
        """How often each state is seen: the stationary distribution."""
        moves = torch.einsum("sa,sax->sx", policy, self.step)
        # A little restart, for a chain may have states it never leaves or never comes back to.
        moves = 0.999 * moves + 0.001 / STATES
        system = torch.cat([(moves.T - torch.eye(STATES, dtype=torch.float64))[1:], torch.ones_like(moves[:1])])
        right = torch.zeros(STATES, dtype=torch.float64)
        right[-1] = 1.0
        visits: Tensor = torch.linalg.solve(system, right)
        return visits

    def value(self, mass: Tensor) -> Tensor:
        """Value of the policy proportional to mass (S, A); a state without any is never updated, so 0."""
        total = mass.sum(-1, keepdim=True)
        policy = torch.where(total > 0, mass / total.clamp(min=1e-300), 0.0)
        moves = torch.einsum("sa,sax->sx", policy, self.step)
        gain = (policy * self.reward).sum(-1)
        value: Tensor = torch.linalg.solve(torch.eye(STATES, dtype=torch.float64) - DISCOUNT * moves, gain)
        return value

    def error(self, alpha: float, b: float) -> float:
        """RMSE of the V-trace fixed point to V^π, over the standard deviation of V^π, over all states."""
        accepted = (self.mu_visits * (self.beta < b))[..., None] * torch.minimum(self.mu, self.pi)
        mass = alpha * self.visits[:, None] * self.pi + (1 - alpha) * accepted.mean(0)
        truth = self.value(self.pi)
        return ((self.value(mass) - truth).square().mean().sqrt() / truth.std()).item()

    def rejected(self, b: float) -> float:
        """Share of replayed states outside the trust region."""
        return (self.mu_visits * (self.beta >= b)).sum(-1).mean().item()


def _average(values: list[float]) -> float:
    return sum(values) / len(values)


def _mean(values: list[float]) -> str:
    error = torch.tensor(values).std().item() / math.sqrt(len(values))
    return f"{_average(values):.3f} ± {error:.3f}"


def _falls(values: list[float]) -> bool:
    return all(later <= earlier for earlier, later in pairwise(values))


if __name__ == "__main__":
    sys.exit(main())
