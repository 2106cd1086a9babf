"""A split module answers as the whole, with several batches under way."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')

import trio  # noqa: E402
import trio.testing  # noqa: E402
from jaxtyping import Float32  # noqa: E402

from flow import Array, Context, Message  # noqa: E402
from flow.computing import current_threads  # noqa: E402
from flow.errors import MessageError, SettingError  # noqa: E402
from flow.testing import drive  # noqa: E402
from flow.testing.harness import InTheLoop  # noqa: E402
from flow.testing.memory_ports import call, newest  # noqa: E402
from nodes.learn.classifier import Logits, Pictures  # noqa: E402
from nodes.messages import Weights  # noqa: E402
from nodes.nets.perceptron import Perceptron  # noqa: E402
from nodes.nets.split import Shard, blocks_of, seeded  # noqa: E402
from nodes.nets.weights import weights_of  # noqa: E402
from nodes.serve.shard import Hidden, Outputs, first, inner, last  # noqa: E402

SETTINGS = {
    "module": "nodes.nets.perceptron:Perceptron",
    "arguments": ["inputs=6", "hidden=[5, 4]", "outputs=3"],
    "device": "cpu",
}
torch.set_num_threads(1)


class Six(Message):
    """What a first block that only reshapes answers."""

    logits: Float32[Array, "rows 6"]


def blocks():
    """Flatten, Linear, ReLU, Linear, ReLU, Linear, of other parameters than the nodes make."""
    with seeded("trained"):
        return blocks_of(Perceptron(6, [5, 4], 3))


def weights(begin, end):
    return Weights(weights_of(Shard(blocks()[begin:end], begin).network))


def pictures(rows, seed=0):
    return Pictures(np.random.default_rng(seed).normal(size=(rows, 2, 3)).astype(np.float32))


def whole(asked):
    return Shard(blocks(), 0).answer(torch.tensor(asked.image)).numpy()


@settings(max_examples=15)
@given(data=st.data(), rows=st.lists(st.integers(1, 4), min_size=1, max_size=5))
async def test_shards_in_a_row_answer_as_the_whole_module(data, rows):
    split = [0, *sorted(data.draw(st.sets(st.integers(1, 5), min_size=2, max_size=2), "split"))]
    ends = [*split[1:], 6]

    async def ask_last(hidden):
        told = await drive(last, requests=[hidden], weights=[weights(split[2], 6)], split=split, **SETTINGS)
        return Outputs(told.requests[0].values, 7)

    async def ask_inner(hidden):
        told = await drive(
            inner,
            requests=[hidden],
            rest=ask_last,
            weights=[weights(split[1], ends[1])],
            split=split,
            shard=1,
            **SETTINGS,
        )
        return told.requests[0]

    questions = [pictures(count, seed) for seed, count in enumerate(rows)]
    told = await drive(
        first, requests=questions, rest=ask_inner, weights=[weights(0, ends[0])], split=split,
        answers=["logits: float32 (rows, 3)", "version: int"], **SETTINGS,
    )  # fmt: skip
    for question, answer in zip(questions, told.requests, strict=True):
        np.testing.assert_allclose(answer.logits, whole(question), rtol=1e-5, atol=1e-6)
        assert answer.version == 0  # the oldest of the three


async def test_the_next_batch_is_run_while_one_is_with_the_shards_behind():
    """Block 0 only reshapes: its output would be the memory that the next batch is gathered into."""
    current_threads.set(InTheLoop("first"))
    (ask, requests), (rest, behind) = call(Pictures, Six, most=4), call(Hidden, Outputs, most=4)
    publish, latest = newest(Weights)
    publish.publish_nowait(weights(0, 1), 0)
    questions = [pictures(3, seed) for seed in range(2)]
    answers = {}

    async def answered(index):
        answers[index] = await ask(questions[index])

    async with trio.open_nursery() as nursery:
        settings = {**SETTINGS, "split": [0, 1], "context": Context("first")}
        nursery.start_soon(partial(first.function, requests, rest, latest, **settings))
        under_way = []
        for index in range(2):
            nursery.start_soon(answered, index)
            async for batch in behind.batches(buckets=()):
                under_way.append((batch, Outputs(batch.questions.values, 0)))
                break
        assert not answers  # both are with the shards behind
        for batch, outputs in under_way:
            batch.answer(outputs)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    for index, question in enumerate(questions):
        np.testing.assert_array_equal(answers[index].logits, question.image.reshape(3, 6))


async def test_answers_are_of_the_type_that_callers_expect():
    def rest(hidden):
        return Outputs(hidden.values, 0)

    told = await drive(
        first, requests=[pictures(3)], rest=rest, weights=[weights(0, 2)], split=[0, 2],
        answers=["logits: float32 (rows, 5)", "version: int"], **SETTINGS,
    )  # fmt: skip
    assert {field.name for field in told.requests[0].fields} == {field.name for field in Logits.fields}


@pytest.mark.parametrize(
    ("node", "given_", "problem"),
    [
        (first, {"split": [0]}, "this is the last shard; the node for it is nodes.serve.shard:last"),
        (first, {"split": [0, 2], "inputs": ["image", "more"]}, "a split module gets one field; join them in a node"),
        (inner, {"split": [0, 2], "shard": 1}, "the node for it is nodes.serve.shard:last"),
    ],
)
async def test_what_cannot_be_cut_so_is_refused(node, given_, problem):
    with pytest.raises(SettingError, match=problem):
        await drive(node, weights=[Weights({})], rest=lambda hidden: hidden, **given_, **SETTINGS)


async def test_rows_for_another_shard_are_refused():
    hidden = Hidden(np.zeros((2, 5), np.float32), np.array([2, 4]))
    with pytest.raises(MessageError, match="field blocks: expected 2, where this shard begins, found 4; give all"):
        await drive(last, requests=[hidden], weights=[weights(2, 6)], split=[0, 2], **SETTINGS)


async def test_without_weights_nobody_is_answered():
    told = await drive(last, requests=[], weights=[], split=[0, 2], **SETTINGS)
    assert told.requests == []
