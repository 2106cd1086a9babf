"""A module split over shards learns what the unsplit one learns, whatever the split, and goes on when a shard dies."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')

import trio  # noqa: E402

from flow.errors import MessageError, SettingError  # noqa: E402
from flow.testing import drive  # noqa: E402
from nodes.learn.pipeline import Activations, Gradients, in_parts  # noqa: E402
from nodes.learn.shard import first, inner, last  # noqa: E402
from tests.nodes.learn.row_of_shards import (  # noqa: E402
    MODULES,
    Drawing,
    Mlp,
    Normalised,
    Row,
    batches,
    named,
    trained,
    whole,
)


@st.composite
def splits(draw, blocks):
    """Where two to four shards begin, each with a block that learns."""
    learns = [index for index, block in enumerate(blocks) if any(True for _ in block.parameters())]
    count = draw(st.integers(2, min(4, len(learns))))
    firsts = draw(st.permutations(learns[1:]).map(lambda order: sorted(order[: count - 1])))
    return [0, *firsts]


async def learned(kind, split, given_, **settings):
    row = Row(named(kind), split, settings)
    with trio.fail_after(60):
        async with row.running():
            for batch in given_:
                await row.feed.send(batch)
    return row.weights()


def assert_close(found, expected, tolerance=2e-5):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=tolerance, atol=tolerance, err_msg=name)


@settings(max_examples=12)
@given(data=st.data(), name=st.sampled_from(sorted(MODULES)), optimiser=st.sampled_from(["sgd", "adam"]))
async def test_twenty_steps_of_shards_are_twenty_steps_of_the_unsplit_module(data, name, optimiser):
    kind = MODULES[name]
    split = data.draw(splits(whole(kind)), "split")
    parts, rows = data.draw(st.integers(1, 9), "parts"), data.draw(st.integers(1, 12), "rows")
    given_ = batches(20, rows, data.draw(st.integers(0, 99)))
    found = await learned(kind, split, given_, micro_batches=parts, optimiser=optimiser)
    # Adam divides by the gradient's size: where that is nothing but rounding, so is the step
    assert_close(found, trained(whole(kind), given_, optimiser, 1e-2), 2e-5 if optimiser == "sgd" else 2e-3)


@settings(max_examples=8)
@given(data=st.data(), parts=st.integers(1, 5))
async def test_dropout_draws_the_same_masks_whatever_the_split(data, parts):
    given_ = batches(5, 6)
    one, two = [
        await learned(Drawing, data.draw(splits(whole(Drawing))), given_, micro_batches=parts) for _ in range(2)
    ]
    for name, value in one.items():
        np.testing.assert_array_equal(value, two[name])


@settings(max_examples=8)
@given(data=st.data(), split=st.sampled_from([[0, 5], [0, 2, 5], [0, 2, 5, 7]]))
async def test_after_a_shard_was_started_again_all_go_on_and_take_no_step_twice(data, split):
    """The one that died may have lost the step in its hands: it had sent the last gradients, and not stepped yet."""
    place = data.draw(st.integers(1, len(split) - 1), "killed")
    turns = data.draw(st.integers(0, 60), "turns of the loop until then")
    given_ = batches(6, 8)
    row = Row(named(Mlp), split, {"micro_batches": 4, "optimiser": "sgd"})
    with trio.fail_after(60):
        async with row.running(), trio.open_nursery() as nursery:

            async def kill():
                for _ in range(turns):
                    await trio.lowlevel.checkpoint()
                row.kill(place)

            await row.feed.send(given_[0])
            nursery.start_soon(kill)
            for batch in given_[1:]:
                await row.feed.send(batch)
    steps = {shard: told[-1][0] for shard, told in row.told.items()}
    assert steps.pop(place) in (5, 6)
    assert set(steps.values()) == {6}
    assert_close(row.weights(), trained(whole(Mlp), given_, "sgd", 1e-2), 1e-2)


def seen(part=0, parts=1, step=0, block=2, width=7, era=0):
    rng = np.random.default_rng(part)
    values = rng.normal(size=(2, width)).astype(np.float32)
    return Activations(values, np.array([0, 1]), era, step, 0, part, parts, 1 / parts, block)


async def test_the_last_shard_answers_each_part_before_it_takes_the_next():
    told = await drive(last, activations=[seen(n, 3) for n in range(3)], module=named(Mlp), split=[0, 2], device="cpu")
    assert [message.part for message in told.gradients] == [0, 1, 2]
    assert [message.values.shape for message in told.gradients] == [(2, 7)] * 3
    assert [value.version for value in told.weights] == [1]


async def test_a_step_that_comes_again_is_taken_once():
    again = [seen(step=0), seen(step=0), seen(step=1)]
    told = await drive(last, activations=again, module=named(Mlp), split=[0, 2], device="cpu")
    assert told.metrics.counters["updates"] == 2
    assert len(told.gradients) == 3


async def test_parts_of_an_older_attempt_are_dropped():
    """The first shard was started again in mid-step: what it sent before counts no more."""
    cut_off = [seen(0, 2), seen(0, 1, step=0, era=1)]
    told = await drive(last, activations=cut_off, module=named(Mlp), split=[0, 2], device="cpu", optimiser="sgd")
    alone = await drive(last, activations=cut_off[1:], module=named(Mlp), split=[0, 2], device="cpu", optimiser="sgd")
    for name, value in alone.weights[-1].message.tensors.items():
        np.testing.assert_array_equal(value, told.weights[-1].message.tensors[name])


async def test_the_first_shard_holds_no_more_parts_than_keep_those_behind_it_busy():
    told = await drive(first, batches=batches(1, 8), gradients=[], module=named(Mlp), split=[0, 2, 5], device="cpu")
    assert len(told.activations) == 4  # of 8: it waits for gradients then


@pytest.mark.parametrize(
    ("node", "given_", "problem"),
    [
        (first, {"split": [1, 2]}, r"split = \[1, 2\] of 8 blocks: write where each shard begins"),
        (first, {"split": [0, 4, 4]}, "from 0 on and growing"),
        (first, {"split": [0, 9]}, r"as in split = \[0, 4\]"),
        (first, {"split": [0]}, "this is the last shard; the node for it is nodes.learn.shard:last"),
        (first, {"shards": 9}, "shards=9: the module has 8 blocks, and each shard needs one"),
        (first, {"balance": "flops", "shape": [5]}, r"shape = \[5\]: block 0, a Linear, does not take it"),
        (first, {"module": "torch.nn:Lnear"}, "no class 'Lnear'; did you mean 'Linear'?"),
        (first, {"module": "torch.nn:ReLU"}, "module ReLU is no row of blocks: make it an nn.Sequential"),
        (first, {"split": [0, 1]}, None),
        (last, {"split": [0, 6, 7]}, None),
        (last, {"split": [0, 2], "loss": "torch.nn.functional:cros_entropy"}, "did you mean 'cross_entropy'"),
        (inner, {"split": [0, 2], "shard": 2}, r"shard=2: split = \[0, 2\] has 2 shards, the last of which is 1"),
        (inner, {"split": [0, 2], "shard": 1}, "the node for it is nodes.learn.shard:last"),
        (inner, {"split": [0, 1, 2], "shard": 1}, r"shard 1 of split = \[0, 1, 2\] has no parameters to learn"),
        (first, {"module": named(Normalised), "split": [0, 2]}, "block 1, a BatchNorm1d, normalises over the batch"),
        (first, {"module": named(Normalised), "split": [0, 2], "micro_batches": 1}, None),
    ],
)
async def test_what_cannot_be_cut_so_is_refused(node, given_, problem):
    settings = {"module": named(Mlp), "device": "cpu", **given_}
    if problem is None:
        await drive(node, **settings)
        return
    with pytest.raises(SettingError, match=problem):
        await drive(node, **settings)


async def test_shards_that_are_cut_differently_say_so():
    with pytest.raises(MessageError, match="field block: expected 4, where this shard begins, found 2; give all"):
        await drive(last, activations=[seen(block=2)], module=named(Mlp), split=[0, 4], device="cpu")


async def test_parts_that_are_missing_are_said():
    with pytest.raises(MessageError, match="step 0: expected part 1 of 3, found part 2 of 3"):
        await drive(last, activations=[seen(0, 3), seen(2, 3)], module=named(Mlp), split=[0, 2], device="cpu")
    early = Gradients(np.zeros((1, 7), np.float32), 0, 0, 0, 1)
    with pytest.raises(MessageError, match="step 0: expected the gradients of part 0, found those of part 1"):
        await drive(first, batches=batches(1, 8), gradients=[early], module=named(Mlp), split=[0, 2], device="cpu")


@given(rows=st.integers(0, 20), most=st.integers(1, 8))
def test_parts_hold_all_rows_in_order_and_none_is_empty(rows, most):
    batch = batches(1, rows)[0]
    parts = in_parts(batch, most)
    assert len(parts) == min(rows, most)
    assert all(len(part.label) for part in parts)
    np.testing.assert_array_equal(np.concatenate([batch.image[:0], *(part.image for part in parts)]), batch.image)


async def test_shards_of_a_resumed_run_drop_what_was_under_way_of_a_step_that_is_sent_again():
    row = Row(named(Mlp), [0, 2], {"micro_batches": 4, "optimiser": "sgd"}, rewound=True)
    given_ = batches(3, 8)
    with trio.fail_after(60):
        async with row.running():
            stale = [Gradients(np.zeros((2, 1), np.float32), 0, 0, 0, -1)] * 6  # wishes for steps of before the kill
            row._back[0][1]._mailbox.restore([(0, each) for each in stale])
            for batch in given_:
                await row.feed.send(batch)
    assert_close(row.weights(), trained(whole(Mlp), given_, "sgd", 1e-2))
