"""Cutting a row of blocks: balanced as well as can be, and the parts make the whole."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')

from torch import nn  # noqa: E402

from flow.errors import SettingError  # noqa: E402
from nodes.nets.perceptron import Perceptron  # noqa: E402
from nodes.nets.split import Shard, balanced, blocks_of, costs, seeded  # noqa: E402


@given(costs=st.lists(st.integers(0, 9), min_size=1, max_size=7), data=st.data())
def test_no_other_cut_has_a_cheaper_dearest_shard(costs, data):
    shards = data.draw(st.integers(1, len(costs)))

    def dearest(begins):
        return max(sum(costs[a:b]) for a, b in itertools.pairwise([*begins, len(costs)]))

    found = balanced(costs, shards)
    every = [(0, *rest) for rest in itertools.combinations(range(1, len(costs)), shards - 1)]
    assert tuple(found) in every
    assert dearest(found) == min(map(dearest, every))


def test_flops_count_what_parameters_do_not():
    """Two convolutions of as many parameters, one on a quarter of the pixels."""
    blocks = [nn.Conv2d(4, 4, 3, padding=1), nn.AvgPool2d(2), nn.Conv2d(4, 4, 3, padding=1)]
    assert costs(blocks, "parameters") == [148, 0, 148]
    first, pool, second = costs(blocks, "flops", [4, 8, 8])
    assert (first, pool) == (4 * second, 0)
    assert first == 2 * 4 * 4 * 9 * 64


def test_counting_leaves_running_statistics_alone():
    block = nn.BatchNorm1d(3)
    costs([block], "flops", [3])
    assert int(block.num_batches_tracked) == 0


@given(cut=st.integers(1, 4))
def test_shards_in_a_row_answer_as_the_whole(cut):
    with seeded("a"):
        whole = Perceptron(4, [5, 5], 3)
    blocks = blocks_of(whole)
    values = torch.arange(8.0).reshape(2, 4)
    answer = Shard(blocks[cut:], cut).answer(Shard(blocks[:cut], 0).answer(values))
    assert torch.equal(answer, whole.eval()(values))


def test_names_are_those_of_the_whole_row():
    blocks = blocks_of(Perceptron(4, [5], 3))
    names = [name for shard in (Shard(blocks[:2], 0), Shard(blocks[2:], 2)) for name in shard.network.state_dict()]
    assert names == list(nn.Sequential(*blocks).state_dict())


def test_what_works_in_place_leaves_its_input_alone():
    values = torch.tensor([[-1.0, 1.0]])
    shard = Shard([nn.ReLU(inplace=True)], 0)
    assert shard.answer(values).tolist() == [[0.0, 1.0]]
    assert shard.forward(values, 0, 0).tolist() == [[0.0, 1.0]]
    assert values.tolist() == [[-1.0, 1.0]]


def test_drawing_by_a_seed_leaves_other_draws_alone():
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    with seeded("other"):
        torch.rand(5)
    assert torch.equal(torch.rand(2), expected)


def test_blocks_that_share_parameters_are_refused():
    shared = nn.Linear(3, 3)
    with pytest.raises(SettingError, match=r"module Sequential: blocks 0 and 2 share parameters, which two shards"):
        blocks_of(nn.Sequential(shared, nn.ReLU(), shared))
