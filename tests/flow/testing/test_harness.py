"""The harness: what it feeds, serves, gathers, and says when a node waits for ever."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float32

from flow import Array, Call, Context, In, Latest, Message, Out, Publish, Saved, Serve, compute, node
from flow.errors import MessageError, SettingError
from flow.testing import drive, messages
from flow.testing.scheduler import run, scheduler_random


class Clip(Message):
    samples: Float32[Array, "time"]
    rate: int


class Rows(Message):
    values: Float32[Array, "rows 2"]


class Firsts(Message):
    firsts: Float32[Array, "rows"]


@dataclasses.dataclass
class Progress:
    seen: int = 0


@node
async def chunker(recordings: In[Clip], chunks: Out[Clip], *, seconds: float = 1.0) -> None:
    async for clip in recordings:
        size = round(seconds * clip.rate)
        for start in range(0, len(clip.samples) - size + 1, size):
            await chunks.send(Clip(clip.samples[start : start + size], clip.rate))


@node
async def first_of_each(questions: Serve[Rows, Firsts], weights: Latest[Clip], *, most: int = 4) -> None:
    await weights.wait()
    async for batch in questions.batches(most=most):
        batch.answer(Firsts(await compute(lambda x: x[:, 0], batch.questions.values)))


@node
async def asker(
    clips: In[Clip], model: Call[Rows, Firsts], best: Publish[Clip], context: Context, saved: Saved, *, scale: int
) -> None:
    progress = saved.keep("progress", Progress())
    async for clip in clips:
        answer = await model(Rows(np.full((1, 2), clip.rate * scale, np.float32)))
        progress.seen += 1
        context.metrics.record("first", float(answer.firsts[0]))
        await best.publish(clip, progress.seen)


@node
async def deaf(clips: In[Clip]) -> None:
    await trio.sleep_forever()


@node
async def endless(ticks: Out[Clip]) -> None:
    while True:
        await ticks.send(clip(1))


def clip(*samples: float, rate: int = 2) -> Clip:
    return Clip(np.array(samples, np.float32), rate)


@given(recordings=st.lists(messages(Clip, rate=st.integers(1, 3)), max_size=4))
async def test_a_node_says_all_it_has_to_say_before_the_drive_ends(recordings):
    result = await drive(chunker, recordings=recordings)
    assert [len(chunk.samples) for chunk in result.chunks] == [
        clip.rate for clip in recordings for _ in range(len(clip.samples) // clip.rate)
    ]


@given(rows=st.lists(messages(Rows, size_max=6), max_size=6), most=st.integers(1, 8))
async def test_answers_come_in_the_order_of_their_questions_whatever_the_batches(rows, most):
    result = await drive(first_of_each, questions=rows, weights=[clip(1)], most=most)
    for question, answer in zip(rows, result.questions, strict=True):
        np.testing.assert_array_equal(answer.firsts, question.values[:, 0])


async def test_calls_metrics_published_values_and_state_are_heard():
    result = await drive(
        asker,
        clips=[clip(rate=1), clip(rate=2)],
        model=lambda question: Firsts(question.values[:, 0]),
        saved={"progress": {"seen": 5}},
        scale=10,
    )
    assert [float(question.values[0, 0]) for question in result.model] == [10, 20]
    assert result.metrics.series == {"first": [10, 20]}
    assert [value.version for value in result.best] == [6, 7]
    assert result.saved == {"progress": {"seen": 7}}


async def test_a_call_may_be_served_by_an_async_function_and_its_error_is_raised_as_it_is():
    async def broken(question: Rows) -> Firsts:
        await trio.sleep(1)
        raise ZeroDivisionError("the model broke")

    with pytest.raises(ZeroDivisionError, match="the model broke"):
        await drive(asker, clips=[clip()], model=broken, scale=1)


async def test_values_and_messages_come_at_their_moments():
    began = trio.current_time()
    await drive(first_of_each, questions=[Rows(np.ones((1, 2), np.float32))], weights=[(5.0, clip(1))])
    assert trio.current_time() - began == 5


async def test_a_node_that_waits_for_ever_is_found_at_once_and_what_is_left_is_said():
    with pytest.raises(trio.TooSlowError, match=r"deaf waits for ever") as caught:
        await drive(deaf, clips=[clip(), clip(), clip()])
    assert caught.value.__notes__ == ["clips: 2 left over"]


async def test_a_source_is_stopped_when_enough_came():
    assert len((await drive(endless, ticks=3)).ticks) == 3


async def test_what_does_not_conform_is_refused():
    @node
    async def wrong(out: Out[Clip]) -> None:
        await out.send(Rows(np.zeros((1, 2), np.float32)))

    with pytest.raises(MessageError, match="port out: expected a Clip, found Rows"):
        await drive(wrong)
    with pytest.raises(SettingError, match="has no port or setting 'secs'"):
        await drive(chunker, secs=1)


def test_trios_scheduler_is_where_we_reach_for_it():
    assert scheduler_random() is trio._core._run._r


def test_the_seed_decides_the_interleaving():
    async def order() -> str:
        turns: list[str] = []

        async def task(name: str) -> None:
            for _ in range(4):
                turns.append(name)
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            for name in "abc":
                nursery.start_soon(task, name)
        return "".join(turns)

    seen = {seed: run(order, seed=seed) for seed in range(20)}
    assert len(set(seen.values())) > 5
    assert all(run(order, seed=seed) == turns for seed, turns in seen.items())


def test_a_property_is_tried_in_many_interleavings(pytester_free_run):
    assert len(pytester_free_run) > 3


@pytest.fixture
def pytester_free_run():
    """First turns of two tasks, over the examples of one property."""
    from hypothesis import settings

    from flow.testing.pytest_plugin import _one_example

    turns: set[str] = set()

    async def inner(number: int) -> None:
        order: list[str] = []

        async def task(name: str) -> None:
            for _ in range(4):
                order.append(name)
                await trio.lowlevel.checkpoint()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(task, "a")
            nursery.start_soon(task, "b")
        turns.add("".join(order))

    settings(max_examples=25, database=None)(given(number=st.integers())(_one_example(inner, False)))()
    return turns
