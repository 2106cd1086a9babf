"""A question that its server dies of is not asked for ever: at the third death it is taken for the cause."""

from __future__ import annotations

import os
import signal

import numpy as np
import pytest

from flow import Call, Context, Out, Serve, node
from flow.errors import PeerRestarted
from tests.runs.nodes_for_runs import Answer, Number, Question
from tests.runs.running import Home

pytestmark = pytest.mark.real_time
POISON, COUNT = 5, 20
GRAPH = """
title = "poison"
[nodes.asker]
run = "tests.runs.test_poison:asker"
[nodes.server]
run = "tests.runs.test_poison:server"
fault = "FAULT"
[nodes.sink]
run = "tests.runs.nodes_for_runs:sink"
[edges]
"asker.twice" = "server.requests"
"asker.numbers" = "sink.numbers"
[workers]
serving = ["server"]
"""


@node
async def asker(twice: Call[Question, Answer], numbers: Out[Number], context: Context) -> None:
    """Ask for numbers in turn, and say which were not answered."""
    for number in range(COUNT):
        try:
            answer = await twice(Question(np.array([number])))
        except PeerRestarted as error:
            context.log(f"gives {number} up: {error}")
        else:
            await numbers.send(Number(answer.values))


@node
async def server(requests: Serve[Question, Answer], *, fault: str = "kill") -> None:
    """Double, and die of one number."""
    async for batch in requests.batches(most=1):
        if POISON in batch.questions.values:
            if fault == "kill":
                os.kill(os.getpid(), signal.SIGSEGV)
            raise ValueError("poison")
        batch.answer(Answer(batch.questions.values * 2))


@pytest.mark.parametrize("fault", ["kill", "raise"])
def test_a_question_that_kills_its_server_three_times_is_given_up_and_the_run_goes_on(home: Home, fault: str):
    running = home.start(GRAPH.replace("FAULT", fault))
    assert running.wait() == 0, running.story()
    assert running.received() == [2 * number for number in range(COUNT) if number != POISON]
    assert f"gives {POISON} up: its server died 3 times in a row with this Question under way" in running.log("main")
    deaths = [event for event in running.events() if "starting it again" in event["text"]]
    assert len(deaths) == 3
    running.assert_nothing_left()
