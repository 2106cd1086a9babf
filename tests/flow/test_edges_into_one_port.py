"""Several edges may lead to one port: each is counted for itself, or no ledger would balance."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.flow.joined import Edge, Node, joined
from tests.flow.sample_messages import Answer, Tick, question
from tests.flow.test_carriers import asker, few, over_each_carrier, publisher, reader, server, sink, source

pytestmark = pytest.mark.real_time
counts = st.tuples(st.integers(0, 4), st.integers(0, 4))


def taken(run, edge: str) -> int:
    """How many messages the receiving end of an edge counted."""
    tallies = [desk.tallies for desk in run.desks.values()]
    return sum(
        tally.messages.value for each in tallies for (_, name), tally in each.items() if name == f"edge.{edge}.received"
    )


@few
@given(counts=counts)
@over_each_carrier
async def test_messages_of_two_streams_are_counted_by_stream(carrier, counts):
    nodes = [Node("a", source), Node("b", source), Node("s", sink)]
    edges = [Edge(f"{name}.out", "s.into", credit=9) for name in ("a", "b")]
    async with joined(carrier, nodes, edges) as run:
        for name, count in zip(("a", "b"), counts, strict=True):
            for number in range(count):
                await run.ports(name).out.send(Tick(number, 0))
        for _ in range(sum(counts)):
            await run.ports("s").into.receive()
        assert tuple(taken(run, f"{name}.out->s.into") for name in ("a", "b")) == counts


@few
@given(counts=counts)
@over_each_carrier
async def test_questions_of_two_callers_are_counted_by_caller(carrier, counts):
    nodes = [Node("a", asker), Node("b", asker), Node("s", server)]
    edges = [Edge(f"{name}.model", "s.questions", credit=9) for name in ("a", "b")]
    async with joined(carrier, nodes, edges) as run, trio.open_nursery() as nursery:
        for name, count in zip(("a", "b"), counts, strict=True):
            for _ in range(count):
                nursery.start_soon(run.ports(name).model, question(1))
        answered = 0
        batches = run.ports("s").questions.batches()
        while answered < sum(counts):
            batch = await anext(batches)
            batch.answer(Answer(2 * batch.questions.keys, 0))
            answered += batch.rows
        assert tuple(taken(run, f"{name}.model->s.questions") for name in ("a", "b")) == counts


@few
@given(counts=counts)
@over_each_carrier
async def test_values_of_two_publishers_are_counted_by_publisher(carrier, counts):
    nodes = [Node("a", publisher), Node("b", publisher), Node("r", reader)]
    async with joined(carrier, nodes, [Edge(f"{name}.best", "r.best") for name in ("a", "b")]) as run:
        version = 0
        for name, count in zip(("a", "b"), counts, strict=True):
            for _ in range(count):
                version += 1
                await run.ports(name).best.publish(Tick(version, 0), version)
                await run.ports("r").best.wait(version - 1)
        assert tuple(taken(run, f"{name}.best->r.best") for name in ("a", "b")) == counts
