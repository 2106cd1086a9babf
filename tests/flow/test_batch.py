"""Batches: what goes together, and that nobody's answer depends on who else asked."""

from __future__ import annotations

import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float, Int64

from flow import Array, Message
from flow.batch import Asked, Batch, Gathering, Staging, bucket_for, powers_of_two
from flow.errors import MessageError
from flow.testing.memory_ports import call
from tests.flow.sample_messages import Answer, question

groups = st.lists(st.lists(st.integers(-(1 << 40), 1 << 40), max_size=5), min_size=1, max_size=8)


class Mixed(Message):
    values: Float[Array, "rows"]


class Echoed(Message):
    values: Int64[Array, "rows"]


class Wide(Message):
    values: Int64[Array, "rows _"]


def asked(keys, answers, index):
    return Asked(question(*keys), len(keys), lambda answer: answers.__setitem__(index, answer))


@given(groups=groups, most=st.integers(1, 9), buckets=st.sets(st.integers(1, 12)).map(sorted))
def test_an_answer_does_not_depend_on_who_else_asked(groups, most, buckets):
    gathering, staging, answers = Gathering(), Staging(), {}
    for index, keys in enumerate(groups):
        gathering.add(asked(keys, answers, index))
    order = []
    while gathering.waiting:
        taken, reason = gathering.take(most)
        rows = sum(group.rows for group in taken)
        assert rows <= most or len(taken) == 1
        assert reason == ("most" if gathering.waiting else "all")
        batch = Batch(taken, staging.gather([group.question for group in taken], rows, bucket_for(rows, buckets)), "")
        assert len(batch.questions.keys) == bucket_for(rows, buckets) >= rows == batch.rows
        assert not batch.questions.keys[rows:].any()  # padding is zero, also in a buffer used before
        order += [list(group.question.keys) for group in taken]
        batch.answer(Answer(batch.questions.keys * 2, 7))
    assert order == groups
    for index, keys in enumerate(groups):
        assert list(answers[index].doubles) == [2 * key for key in keys]
        assert answers[index].server == 7


@given(groups=groups, most=st.integers(1, 9))
def test_a_batch_takes_as_many_groups_as_go(groups, most):
    gathering = Gathering()
    for keys in groups:
        gathering.add(asked(keys, {}, 0))
    taken, _ = gathering.take(most)
    rows = sum(group.rows for group in taken)
    assert taken
    assert not gathering.waiting or rows + gathering.waiting[0].rows > most


@given(most=st.integers(1, 1000), rows=st.integers(0, 1000))
def test_buckets_hold_what_they_are_chosen_for(most, rows):
    buckets = powers_of_two(most)
    assert buckets[-1] == most
    assert list(buckets) == sorted(set(buckets))
    bucket = bucket_for(rows, buckets)
    assert bucket >= rows
    assert rows > most or all(smaller < rows for smaller in buckets if smaller < bucket)


def test_one_group_that_fills_its_bucket_is_not_copied():
    only = question(1, 2)
    assert Staging().gather([only], 2, 2) is only


def test_neighbours_of_another_precision_change_no_value():
    single, double = Mixed(np.ones(1, np.float32)), Mixed(np.array([1 + 1e-12]))
    gathered = Staging().gather([single, double], 2, 2)
    assert gathered.values[1] == double.values[0]


def test_questions_that_do_not_go_together_are_named():
    with pytest.raises(MessageError, match=r"field values: callers ask with shapes \(1, 2\) and \(1, 3\)"):
        Staging().gather([Wide(np.zeros((1, 2), int)), Wide(np.zeros((1, 3), int))], 2, 2)


def test_a_batch_is_answered_once_and_in_full():
    answers = {}
    batch = Batch([asked([1, 2], answers, 0)], question(1, 2), "all")
    with pytest.raises(MessageError, match=r"field doubles: expected at least 2 rows, found shape \(1,\)"):
        batch.answer(Answer(np.zeros(1, np.int64), 0))
    assert not answers
    batch.answer(Answer(np.zeros(2, np.int64), 0))
    with pytest.raises(MessageError, match="answered before"):
        batch.answer(Answer(np.zeros(2, np.int64), 0))


async def test_questions_that_are_given_back_as_answers_leave_the_next_batch_its_memory():
    asking, serve = call(Echoed, Echoed, most=3)
    told = []

    async def echo():
        async for batch in serve.batches(most=8):
            batch.answer(Echoed(batch.questions.values))

    async def ask(number):
        told.append((number, (await asking(Echoed(np.full(1, number)))).values.tolist()))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(echo)
        for first in (0, 3, 6):
            async with trio.open_nursery() as askers:
                for number in range(first, first + 3):
                    askers.start_soon(ask, number)
        asking.end()
    assert sorted(told) == [(number, [number]) for number in range(9)]
