"""The scale of values and their two-hot bins."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')

from nodes.algo.value_transform import head_loss, mean_of, read, squash, two_hot, unsquash  # noqa: E402

reals = st.lists(st.floats(-1e5, 1e5), min_size=1, max_size=8)


@given(values=reals)
def test_unsquash_undoes_squash(values):
    x = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(unsquash(squash(x)), x, rtol=1e-9, atol=1e-7)


def test_squash_is_the_papers():
    assert squash(torch.tensor(8.0, dtype=torch.float64)).item() == pytest.approx(2 + 0.008)
    assert squash(torch.tensor(-3.0, dtype=torch.float64)).item() == pytest.approx(-1 - 0.003)


@given(values=st.lists(st.floats(-7, 7), min_size=1, max_size=8))
def test_two_hot_lies_on_two_neighbours_and_has_the_value_as_its_mean(values):
    x = torch.tensor(values, dtype=torch.float64)
    weights = two_hot(x, 5)
    assert weights.shape == (len(values), 11)
    torch.testing.assert_close(weights.sum(-1), torch.ones_like(x))
    torch.testing.assert_close(weights @ torch.arange(-5.0, 6.0, dtype=torch.float64), x.clamp(-5, 5))
    for row in weights:
        on = row.nonzero().flatten().tolist()
        assert len(on) == 1 or on[1] - on[0] == 1


def test_the_papers_example_of_two_hot():
    assert two_hot(torch.tensor(3.7), 300)[303:305].tolist() == pytest.approx([0.3, 0.7])


@given(values=st.lists(st.floats(-300, 300), min_size=1, max_size=8))
def test_what_a_head_was_trained_on_is_what_a_search_reads(values):
    x = torch.tensor(values, dtype=torch.float64)
    head = torch.log(two_hot(squash(x), 30).clamp(min=1e-30))
    torch.testing.assert_close(read(head), x, rtol=1e-6, atol=1e-6)
    assert (head_loss(head, x) <= head_loss(head.roll(1, -1), x) + 1e-9).all()
    # Cross-entropy is least where the softmax is the target, and its mean is then the target's.
    torch.testing.assert_close(mean_of(head), squash(x), rtol=1e-6, atol=1e-6)


@given(values=reals)
def test_a_head_of_one_number_is_that_number(values):
    x = torch.tensor(values, dtype=torch.float64)
    torch.testing.assert_close(read(x[:, None]), x)
    torch.testing.assert_close(head_loss(x[:, None] + 2, x), torch.full_like(x, 4), rtol=1e-6, atol=1e-4)
