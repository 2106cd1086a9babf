"""A node alone, with recordings at its ports, does what it does in a run."""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from flow import Call, Context, In, Latest, Live, Out, Publish, Saved, Serve, compute, node
from flow.cli.replay import _play
from flow.errors import ControlError
from flow.inspect.replaying import Feed, Replay
from flow.inspect.resolved import ResolvedNode
from flow.plan import NodePlan
from tests.runs.nodes_for_runs import Answer, Number, Question


@dataclass
class Seen:
    total: int = 0


@node
async def everything(
    numbers: In[Number],
    twice: Call[Question, Answer],
    offset: Latest[Number],
    sums: Out[Number],
    newest: Publish[Number],
    context: Context,
    saved: Saved,
    *,
    factor: Live[int] = Live(1),
) -> None:
    """Use every kind of port but one, a thread, a live setting and state."""
    seen = saved.keep("seen", Seen())
    added = await offset.wait()
    async for number in numbers:
        answer = await twice(Question(number.values))
        seen.total += int(await compute(np.sum, answer.values * factor.value + added.values))
        await sums.send(Number(np.full(1, seen.total)))
        await newest.publish(Number(np.full(1, seen.total)), seen.total)
        context.log(f"{context.seed}", "warning")


@node
async def negator(requests: Serve[Question, Answer]) -> None:
    """Answer with the negative."""
    async for batch in requests.batches(most=4):
        batch.answer(Answer(-batch.questions.values))


def number(value):
    return Number(np.full(1, value))


def replayed(node_type, feeds, told, log=None, **rest):
    plan = NodePlan("it", 0, 1, node_type.name, {}, seed=5)
    settings = {name: each.default for name, each in node_type.settings.items()} | rest.pop("settings", {})
    feeds = {name: Feed(iter(messages)) for name, messages in feeds.items()}
    replay = Replay(ResolvedNode(plan, node_type, settings), feeds, Path(), told, settings, **rest)
    if log is not None:
        replay.log = lambda text, level: log.append((level, text))
    return replay


@given(values=st.lists(st.integers(-99, 99), max_size=9), factor=st.integers(1, 3), before=st.integers(0, 50))
def test_each_port_is_fed_in_order_and_what_is_sent_is_told(values, factor, before):
    told, log = [], []
    replay = replayed(
        everything,
        {
            "numbers": map(number, values),
            "twice": (Answer(np.full(1, 2 * value)) for value in values),
            "offset": [number(7), number(10)],  # the last was the newest
        },
        lambda port, what, message: told.append((port, what, int(message.values[0]))),
        log,
        settings={"factor": factor},
        state={"seen": {"total": before}},
    )
    replay.run()
    sums, expected = before, []
    for value in values:
        sums += 2 * value * factor + 10
        expected += [("twice", "question", value), ("sums", "message", sums), ("newest", "value", sums)]
    assert told == expected
    assert log == [("warning", "5")] * len(values)
    assert replay.feeds["numbers"].taken == len(values)


@given(values=st.lists(st.integers(-99, 99), max_size=9))
def test_questions_are_asked_and_their_answers_told(values):
    told = []
    questions = (Question(np.full(1, value)) for value in values)
    replayed(negator, {"requests": questions}, lambda *each: told.append((each[1], int(each[2].values[0])))).run()
    assert told == [("answer", -value) for value in values]


def test_what_is_not_given_is_said(capsys):
    arguments = argparse.Namespace(recording="numbers.flow", start=0, debug=False)
    replay = replayed(everything, {"numbers": [number(1)], "offset": [number(0)]}, lambda *each: None)
    with pytest.raises(
        ControlError, match=r"nothing answers it\.twice, its question 1: record answers with flow record"
    ):
        replay.run()
    # What it waits for was never published, and its publisher has ended.
    replay = replayed(everything, {"numbers": [number(1)]}, lambda *each: None)
    with pytest.raises(trio.EndOfChannel):
        replay.run()
    replay = replayed(negator, {"requests": []}, lambda *each: None)
    assert _play(arguments, replay, replay.feeds["requests"], "requests") == 0
    assert "it.requests: took 0 messages of numbers.flow and ended" in capsys.readouterr().out


@node
async def waiting(numbers: In[Number], offset: Latest[Number]) -> None:
    """End where there is no value to wait for."""
    try:
        await offset.wait()
    except trio.EndOfChannel:
        return
    async for _ in numbers:
        pass


def test_a_port_that_was_given_nothing_is_named_when_the_node_took_nothing(capsys):
    arguments = argparse.Namespace(recording="numbers.flow", start=0, debug=False)
    replay = replayed(waiting, {"numbers": [number(1)]}, lambda *each: None)
    assert _play(arguments, replay, replay.feeds["numbers"], "numbers") == 0
    assert (
        "nothing was given to offset; if it waits for that, give it: --feed PORT=RECORDING" in capsys.readouterr().err
    )
