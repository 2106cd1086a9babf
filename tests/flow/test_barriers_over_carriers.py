"""A barrier is where it was sent, whatever carries it: in a worker, over ZeroMQ, by memory, by TCP."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from tests.flow.joined import Edge, Node, joined
from tests.flow.sample_messages import Tick
from tests.flow.test_carriers import few, over_each_carrier, sink, source

pytestmark = pytest.mark.real_time


@few
@given(credit=st.integers(1, 4), ends=st.booleans())
@over_each_carrier
async def test_a_barrier_passes_a_full_window_and_holds_back_what_is_behind_it(carrier, credit, ends):
    nodes = [Node("a", source), Node("b", sink)]
    async with joined(carrier, nodes, [Edge("a.out", "b.into", "", credit)]) as run_:
        out, into = run_.ports("a").out, run_.ports("b").into
        mailbox, (link,) = into._mailbox, out._groups[0]
        for number in range(credit):
            await out.send(Tick(0, number))
        with trio.move_on_after(0.05) as full:
            await out.send(Tick(0, -1))
        assert full.cancelled_caught
        came = trio.Event()
        mailbox.barriers.changed = came.set
        link.barrier(1)
        with trio.fail_after(5):
            await came.wait()
        assert not mailbox.before_cut, "what came before it is still to be taken"
        assert [(await into.receive()).number for _ in range(credit)] == list(range(credit))
        for number in range(credit):
            await out.send(Tick(0, credit + number))
        if ends:
            out.end()
        with trio.move_on_after(0.05) as held:
            await into.receive()
        assert held.cancelled_caught
        assert mailbox.before_cut
        mailbox.cut(1)
        assert mailbox.barriers.finish() == []
        with trio.fail_after(5):
            assert [(await into.receive()).number for _ in range(credit)] == list(range(credit, 2 * credit))
            if ends:
                with pytest.raises(trio.EndOfChannel):
                    await into.receive()
