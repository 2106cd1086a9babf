"""The loss beside the sum of eq. 1, and what gradients its scaling lets through."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from nodes.algo.muzero_loss import Targets, Unroll, halve_gradient, muzero_loss  # noqa: E402
from nodes.algo.value_transform import head_loss  # noqa: E402
from nodes.nets.muzero import unroll  # noqa: E402


def drawn(seed: int, rows: int, steps: int, actions: int, bins: int) -> tuple[Unroll, Targets]:
    draw = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*shape, generator=draw, dtype=torch.float64)

    said = Unroll(
        normal(steps + 1, rows, actions), normal(steps + 1, rows, 2 * bins + 1), normal(steps, rows, 2 * bins + 1)
    )
    real = torch.rand(rows, steps + 1, generator=draw) < 0.7
    targets = Targets(
        normal(rows, steps + 1, actions).softmax(-1),
        normal(rows, steps + 1),
        normal(rows, steps),
        real,
        torch.rand(rows, generator=draw, dtype=torch.float64),
    )
    return said, targets


@given(
    seed=st.integers(0, 999),
    rows=st.integers(1, 4),
    steps=st.integers(1, 4),
    bins=st.sampled_from([0, 3]),
    value_cost=st.sampled_from([1.0, 0.25]),
)
def test_the_loss_is_the_sum_of_equation_1(seed, rows, steps, bins, value_cost):
    said, targets = drawn(seed, rows, steps, 3, bins)
    loss = muzero_loss(said, targets, value_cost=value_cost)
    total = 0.0
    for row in range(rows):
        for k in range(steps + 1):
            share = (1 if k == 0 else 1 / steps) * float(targets.weights[row]) / rows
            chances = said.logits[k, row].softmax(-1)
            policy = -sum(float(p) * float(q.log()) for p, q in zip(targets.policies[row, k], chances, strict=True))
            total += share * policy * bool(targets.real[row, k])
            total += share * value_cost * float(head_loss(said.values[k, row], targets.values[row, k]))
            if k:  # the reward of the move that led to step k
                total += share * float(head_loss(said.rewards[k - 1, row], targets.rewards[row, k - 1]))
    assert float(loss.total) == pytest.approx(total)


@pytest.mark.parametrize("field", ["policies", "values", "rewards", "real", "weights"])
def test_a_shape_that_does_not_fit_is_refused_by_name(field):
    said, targets = drawn(0, 3, 2, 4, 0)
    with pytest.raises(ValueError, match=f"{field}: expected shape"):
        muzero_loss(said, targets._replace(**{field: getattr(targets, field)[:2]}))


def test_a_halved_gradient_leaves_the_value():
    x = torch.randn(5, requires_grad=True)
    y = halve_gradient(x)
    torch.testing.assert_close(y, x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, torch.full((5,), 0.5))


class Chain:
    """A model that is one number: s⁰ = w·o, s' = s, and heads that say s. Gradients can be counted by hand."""

    hidden_shape = (1,)

    def __init__(self) -> None:
        self.weight = torch.ones((), requires_grad=True)

    def represent(self, observations):
        return self.weight * observations

    def dynamics(self, hidden, actions):
        return hidden, hidden

    def predict(self, hidden):
        return hidden, hidden


def test_heads_get_the_whole_gradient_and_each_dynamics_step_halves_what_passes():
    model = Chain()
    said = unroll(model, torch.ones(1, 1), torch.zeros(1, 2, dtype=torch.int64))
    for step, share in enumerate([1.0, 0.5, 0.25]):
        (gradient,) = torch.autograd.grad(said.values[step].sum(), model.weight, retain_graph=True)
        assert float(gradient) == share
