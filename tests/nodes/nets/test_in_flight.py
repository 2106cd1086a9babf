"""Batches under way: buffers are used again and never under a batch's feet, answers are the module's own.

Run on the CPU, which shares slots, buffers and order with CUDA; streams and graphs are CUDA's alone.
"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')

from torch import nn  # noqa: E402

from nodes.nets.in_flight import SLOTS, InFlight, key_of  # noqa: E402

CPU = torch.device("cpu")
torch.set_num_threads(1)


def values(rows, seed=0, width=4):
    return np.random.default_rng(seed).normal(size=(rows, width)).astype(np.float32)


@given(rows=st.lists(st.sampled_from([1, 2, 4]), min_size=1, max_size=12), ahead=st.integers(1, SLOTS))
def test_each_batch_is_answered_as_if_it_were_alone_however_many_are_under_way(rows, ahead):
    runner = InFlight(lambda x: (x * 2, x.sum(-1)), CPU)
    gathered = np.zeros((4, 4), np.float32)  # as batches are: into one memory, again and again
    waiting, found = deque(), []
    for seed, count in enumerate(rows):
        gathered[:count] = values(count, seed)
        waiting.append(runner.begin([gathered[:count]], version=seed))
        gathered[:] = -1
        if len(waiting) == ahead:
            ticket = waiting.popleft()
            found.append((ticket.version, runner.finish(ticket)))
    found += [(ticket.version, runner.finish(ticket)) for ticket in waiting]
    assert [version for version, _ in found] == list(range(len(rows)))
    for seed, (twice, total) in found:
        expected = values(rows[seed], seed)
        np.testing.assert_array_equal(twice.numpy(), 2 * expected)
        np.testing.assert_allclose(total.numpy(), expected.sum(-1), rtol=1e-5)
    assert not any(slot.busy for slot in runner.slots)


def test_buffers_are_made_once_for_each_bucket():
    runner = InFlight(lambda x: x + 1, CPU)
    for number in range(10):
        runner.finish(runner.begin([values(4 if number % 2 else 8)]))
    assert sum(len(slot._buffers) for slot in runner.slots) == 4  # of two buckets, what goes in and what comes out


def test_a_batch_without_rows_is_answered_with_none():
    runner = InFlight(lambda x: (x * 2, x.sum(-1)), CPU)
    twice, total = runner.finish(runner.begin([values(0)]))
    assert twice.shape == (0, 4)
    assert total.shape == (0,)


def test_more_batches_than_slots_are_refused_and_a_batch_that_fails_frees_its_slot():
    def fails(x):
        if len(x) == 3:
            raise ValueError("no three")
        return x

    runner = InFlight(fails, CPU)
    for _ in range(2 * SLOTS):
        with pytest.raises(ValueError, match="no three"):
            runner.begin([values(3)])
    tickets = [runner.begin([values(2)]) for _ in range(SLOTS)]
    with pytest.raises(RuntimeError, match=f"all {SLOTS} slots are under way; finish a batch first"):
        runner.begin([values(2)])
    runner.finish(tickets[1])  # in any order
    runner.finish(runner.begin([values(2)]))


class Named(NamedTuple):
    logits: torch.Tensor
    value: torch.Tensor


@pytest.mark.parametrize(
    ("returned", "form"),
    [
        (lambda x: x, lambda found: [found]),
        (lambda x: (x, x + 1), list),
        (lambda x: {"a": x, "b": x + 1}, lambda found: [found["a"], found["b"]]),
        (lambda x: Named(x, x + 1), lambda found: [found["logits"], found["value"]]),
    ],
)
def test_what_comes_out_has_the_form_of_what_the_module_returns(returned, form):
    runner = InFlight(returned, CPU)
    asked = values(2)
    for plus, tensor in enumerate(form(runner.finish(runner.begin([asked])))):
        np.testing.assert_array_equal(tensor.numpy(), asked + plus)


@given(rows=st.integers(1, 8))
def test_bfloat16_answers_are_float32_within_a_hundredth(rows):
    torch.manual_seed(0)
    module = nn.Sequential(nn.Linear(4, 32), nn.Tanh(), nn.Linear(32, 3)).eval()
    exact, lower = (InFlight(module, CPU, bf16=bf16) for bf16 in (False, True))
    asked = [values(rows, rows)]
    one, two = exact.finish(exact.begin(asked)), lower.finish(lower.begin(asked))
    assert two.dtype == torch.float32
    np.testing.assert_allclose(two.numpy(), one.numpy(), rtol=0.02, atol=0.02)
    assert not torch.equal(one, two)


def test_what_differs_in_shape_or_dtype_has_another_graph():
    keys = [
        key_of([torch.zeros(shape, dtype=kind)]) for shape in ((2, 4), (4, 4)) for kind in (torch.uint8, torch.int8)
    ]
    assert len(set(keys)) == 4
