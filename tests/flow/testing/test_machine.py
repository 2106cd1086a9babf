"""State machines: a right node keeps to its model through any kills, a wrong one does not."""

from __future__ import annotations

import pytest
from hypothesis import Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from flow import In, Out, Saved, node
from flow.testing import NodeMachine, messages
from tests.flow.testing.zoo.right import counts
from tests.flow.testing.zoo.speech import Count, Item


class Counting(NodeMachine):
    """Each number, plus how many came before it."""

    node = counts
    ports = {"items": messages(Item)}  # noqa: RUF012
    first = 0

    def model(self, state, port, message):
        return state + 1, [("out", Item((message.number + state) % 100))]


@node
async def forgets(items: In[Item], out: Out[Item], saved: Saved) -> None:
    saved.keep("count", Count())
    seen = 0
    async for item in items:
        await out.send(Item((item.number + seen) % 100))
        seen += 1


class Forgetting(Counting):
    node = forgets


QUICK = settings(max_examples=5, stateful_step_count=5, deadline=None, database=None, phases=(Phase.generate,))
TestCounting = Counting.TestCase
TestCounting.settings = QUICK


def test_a_node_that_does_not_save_what_it_counts_is_found_out():
    with pytest.raises(AssertionError, match="the second is the model's"):
        run_state_machine_as_test(Forgetting, settings=settings(QUICK, max_examples=400, stateful_step_count=10))
