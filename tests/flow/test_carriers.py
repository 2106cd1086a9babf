"""What an edge means does not depend on what carries it: one suite: in a worker, over ZeroMQ, by memory, by TCP."""

from __future__ import annotations

import contextlib
import functools

import numpy as np
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from flow import Call, In, Latest, Out, Publish, Serve, node
from flow.carrier.zeromq import Hub
from flow.errors import PeerRestarted
from flow.testing import messages
from flow.testing.cancelling import cancelled_at
from flow.testing.scheduler import drawn_seed, run
from tests.flow.joined import CARRIERS, Edge, Node, joined
from tests.flow.sample_messages import Answer, Block, Everything, OnceOnly, Question, Tick, question, same

pytestmark = pytest.mark.real_time


@node
async def source(out: Out[Tick], blocks: Out[Block], all_kinds: Out[Everything]) -> None: ...


@node
async def sink(into: In[Tick], blocks: In[Block], all_kinds: In[Everything]) -> None: ...


@node
async def asker(model: Call[Question, Answer], once: Call[OnceOnly, Answer]) -> None: ...


@node
async def server(questions: Serve[Question, Answer], once: Serve[OnceOnly, Answer]) -> None: ...


@node
async def publisher(best: Publish[Tick]) -> None: ...


@node
async def reader(best: Latest[Tick]) -> None: ...


def over_each_carrier(test):
    """Run an async test(carrier, **drawn): inside a worker on a jumping clock, else on the wall's."""

    @pytest.mark.parametrize("carrier", CARRIERS)
    @functools.wraps(test)
    def both(carrier, **drawn):
        limited = functools.partial(_within, 20, functools.partial(test, carrier, **drawn))
        run(limited, seed=drawn_seed() if drawn else 0, real_time=carrier != "memory")

    return both


async def _within(seconds, work):
    with trio.fail_after(seconds):
        await work()


few = settings(max_examples=10)


@few
@given(
    counts=st.lists(st.integers(0, 12), min_size=1, max_size=3),
    credit=st.integers(1, 4),
    receivers=st.integers(1, 2),
    mode=st.sampled_from(["share", "copy"]),
)
@over_each_carrier
async def test_a_stream_is_ordered_lossless_bounded_and_ends_after_its_messages(
    carrier, counts, credit, receivers, mode
):
    got = [[] for _ in range(receivers)]
    nodes = [Node("a", source, len(counts)), Node("b", sink, receivers)]
    async with joined(carrier, nodes, [Edge("a.out", "b.into", mode, credit)]) as run_, trio.open_nursery() as nursery:

        async def produce(sender):
            out = run_.ports(f"a-{sender}").out
            for number in range(counts[sender]):
                await out.send(Tick(sender, number))
            out.end()

        async def consume(receiver):
            into = run_.ports(f"b-{receiver}").into
            async for tick in into:
                assert len(into._mailbox.waiting) <= credit * len(counts)
                got[receiver].append((tick.sender, tick.number))
            with pytest.raises(trio.EndOfChannel):
                await into.receive()

        for sender in range(len(counts)):
            nursery.start_soon(produce, sender)
        for receiver in range(receivers):
            nursery.start_soon(consume, receiver)
    sent = [(sender, number) for sender, count in enumerate(counts) for number in range(count)]
    for received in got:
        for sender in range(len(counts)):
            numbers = [number for who, number in received if who == sender]
            assert numbers == sorted(numbers)
    if mode == "copy":
        assert all(sorted(received) == sent for received in got)
    else:
        assert sorted(tick for received in got for tick in received) == sent


@few
@given(
    sizes=st.lists(st.sampled_from([0, 1, 100, 70_000]), max_size=8),
    credit=st.integers(1, 4),
    credit_bytes=st.sampled_from([0, 100, 80_000]),
)
@over_each_carrier
async def test_no_more_is_under_way_than_credit_allows_and_the_sender_waits(carrier, sizes, credit, credit_bytes):
    edge = Edge("a.blocks", "b.blocks", "share", credit, credit_bytes)
    async with joined(carrier, [Node("a", source), Node("b", sink)], [edge]) as run_, trio.open_nursery() as nursery:
        sent = []
        out, into = run_.ports("a").blocks, run_.ports("b").blocks

        async def produce():
            for number, size in enumerate(sizes):
                await out.send(Block(number, np.full(size, number, np.uint8)))
                sent.append(number)
            out.end()

        nursery.start_soon(produce)
        taken = 0
        while taken < len(sizes):
            await trio.sleep(0.02 if taken < 2 else 0)  # nobody reads: the sender comes to rest
            window = out._groups[0][0].window
            assert window.messages_under_way <= credit
            assert window.size_under_way <= credit_bytes or window.messages_under_way == 1
            assert len(sent) <= taken + credit
            block = await into.receive()
            assert block.number == taken
            assert same(block, Block(taken, np.full(sizes[taken], taken, np.uint8)))
            taken += 1
        with pytest.raises(trio.EndOfChannel):
            await into.receive()


@few
@given(sent=st.lists(messages(Everything, count=st.integers(0, 9)), max_size=4))
@over_each_carrier
async def test_every_kind_of_field_arrives_and_is_read_only(carrier, sent):
    edge = Edge("a.all_kinds", "b.all_kinds", "share", 8)
    async with joined(carrier, [Node("a", source), Node("b", sink)], [edge]) as run_:
        for message in sent:
            await run_.ports("a").all_kinds.send(message)
        run_.ports("a").all_kinds.end()
        got = [message async for message in run_.ports("b").all_kinds]
    assert len(got) == len(sent)
    assert all(same(one, other) for one, other in zip(sent, got, strict=True))
    assert not any(message.frames.flags.writeable for message in got)


@few
@given(
    asked=st.lists(st.lists(st.lists(st.integers(0, 99), max_size=3), max_size=4), min_size=1, max_size=3),
    most=st.integers(1, 6),
    credit=st.integers(1, 3),
    servers=st.integers(1, 2),
)
@over_each_carrier
async def test_every_caller_gets_its_own_answers(carrier, asked, most, credit, servers):
    nodes = [Node("a", asker, len(asked)), Node("s", server, servers)]
    edges = [Edge("a.model", "s.questions", credit=credit)]
    async with joined(carrier, nodes, edges) as run_, trio.open_nursery() as nursery:

        async def serve(number):
            async for batch in run_.ports(f"s-{number}").questions.batches(most=most):
                await trio.lowlevel.checkpoint()
                batch.answer(Answer(batch.questions.keys * 2, number))

        async def ask(call, keys):
            answer = await call(question(*keys))
            assert list(answer.doubles) == [2 * key for key in keys]

        async def caller(number):
            call = run_.ports(f"a-{number}").model
            async with trio.open_nursery() as asking:
                for keys in asked[number]:
                    asking.start_soon(ask, call, keys)
            call.end()

        for number in range(servers):
            nursery.start_soon(serve, number)
        for number in range(len(asked)):
            nursery.start_soon(caller, number)


@few
@given(pauses=st.lists(st.sampled_from([0, 0, 0.001]), min_size=1, max_size=12), publishers=st.integers(1, 2))
@over_each_carrier
async def test_the_newest_value_wins_never_goes_back_and_comes_before_the_end(carrier, pauses, publishers):
    nodes = [Node("p", publisher, publishers), Node("r", reader)]
    async with joined(carrier, nodes, [Edge("p.best", "r.best")]) as run_, trio.open_nursery() as nursery:
        latest, versions = run_.ports("r").best, []

        async def publish(number):
            port = run_.ports(f"p-{number}").best
            for step, pause in enumerate(pauses):
                await port.publish(Tick(number, step), publishers * step + number)
                await trio.sleep(pause * (number + 1))
            port.end()

        for number in range(publishers):
            nursery.start_soon(publish, number)
        with contextlib.suppress(trio.EndOfChannel):
            while True:
                tick = await latest.wait(latest.version)
                assert publishers * tick.number + tick.sender == latest.version
                versions.append(latest.version)
    assert versions == sorted(set(versions))
    assert versions[-1] == publishers * len(pauses) - 1


@over_each_carrier
async def test_a_send_cancelled_at_any_checkpoint_was_sent_once_or_not_at_all(carrier):
    nodes = [Node("a", source), Node("b", sink), Node("c", sink)]
    edges = [Edge("a.out", "b.into", "copy"), Edge("a.out", "c.into", "copy")]
    async with joined(carrier, nodes, edges) as run_, trio.open_nursery() as nursery:
        got = {"b": [], "c": []}

        async def consume(name, pause):
            async for tick in run_.ports(name).into:
                await trio.sleep(pause)
                got[name].append(tick.number)

        nursery.start_soon(consume, "b", 0.001)
        nursery.start_soon(consume, "c", 0.003)
        sent, out = [], run_.ports("a").out
        for nth in range(1, 40):

            async def send_two(nth=nth):
                for which in (2 * nth, 2 * nth + 1):
                    await out.send(Tick(0, which))
                    sent.append(which)

            if not await cancelled_at(nth, send_two):
                break
        else:
            pytest.fail("forty steps for two messages")
        out.end()
    assert got["b"] == got["c"] == sent


@over_each_carrier
async def test_a_receive_cancelled_at_any_checkpoint_loses_nothing(carrier):
    async with (
        joined(carrier, [Node("a", source), Node("b", sink)], [Edge("a.out", "b.into", "share", 2)]) as run_,
        trio.open_nursery() as nursery,
    ):
        got, into, out = [], run_.ports("b").into, run_.ports("a").out

        async def produce():
            for number in range(200):
                await out.send(Tick(0, number))
            out.end()

        nursery.start_soon(produce)

        async def receive_three():
            for _ in range(3):
                tick = await into.receive()
                got.append(tick.number)

        for nth in range(1, 30):
            await cancelled_at(nth, receive_three)
        got.extend([tick.number async for tick in into])
    assert got == list(range(200))


@over_each_carrier
async def test_a_call_cancelled_at_any_checkpoint_frees_its_place_and_harms_no_other(carrier):
    nodes = [Node("a", asker), Node("s", server)]
    async with (
        joined(carrier, nodes, [Edge("a.model", "s.questions", credit=2)]) as run_,
        trio.open_nursery() as nursery,
    ):
        call = run_.ports("a").model

        async def serve():
            async for batch in run_.ports("s").questions.batches(most=4):
                await trio.sleep(0.001)
                batch.answer(Answer(batch.questions.keys * 2, 0))

        async def ask(key):
            answer = await call(question(key))
            assert list(answer.doubles) == [2 * key]

        nursery.start_soon(serve)
        for nth in range(1, 12):
            async with trio.open_nursery() as others:
                others.start_soon(ask, nth)
                others.start_soon(ask, 100 + nth)
                await cancelled_at(nth, functools.partial(ask, 200 + nth))
            assert not call._links[0].pending
        call.end()


@over_each_carrier
async def test_a_failed_server_is_asked_again_where_that_does_no_harm(carrier):
    nodes = [Node("a", asker), Node("s", server)]
    edges = [Edge("a.model", "s.questions"), Edge("a.once", "s.once")]
    async with joined(carrier, nodes, edges) as run_, trio.open_nursery() as nursery:
        ports, answers, restarted = run_.ports("a"), [], trio.Event()

        async def ask():
            answers.append(await ports.model(question(4)))

        async def ask_once():
            with pytest.raises(PeerRestarted, match=r"answered a OnceOnly.*repeatable=True"):
                await ports.once(question(4, kind=OnceOnly))
            restarted.set()

        nursery.start_soon(ask)
        nursery.start_soon(ask_once)
        failing = run_.ports("s")
        batch = await anext(failing.questions.batches())
        await anext(failing.once.batches())
        desk = run_.desks[run_.plan.worker_of("s", 0)]
        desk.node_failed(next(n for w in run_.plan.workers for n in w.nodes if n.name == "s"))
        await restarted.wait()
        again = await anext(run_.ports("s").questions.batches())
        again.answer(Answer(again.questions.keys * 2, 1))
        batch.answer(Answer(batch.questions.keys * 3, 0))  # too late: nobody hears it
        await trio.sleep(0.01)
    assert [(list(answer.doubles), answer.server) for answer in answers] == [([8], 1)]


@settings(max_examples=5)
@given(bursts=st.lists(st.tuples(st.integers(1, 60), st.sampled_from([0, 0.0005, 0.002])), min_size=1, max_size=6))
@pytest.mark.parametrize("carrier", ["zeromq", "shared", "tcp"])
async def test_bursts_in_both_directions_never_hang(carrier, bursts):
    nodes = [Node("a", source), Node("b", sink), Node("c", source), Node("d", sink)]
    edges = [Edge("a.out", "b.into", "share", 16), Edge("c.blocks", "d.blocks", "share", 4)]
    with trio.fail_after(20):
        async with joined(carrier, nodes, edges) as run_, trio.open_nursery() as nursery:
            a, c, got = run_.ports("a").out, run_.ports("c").blocks, [0, 0]

            async def produce(port, make):
                for count, pause in bursts:
                    for number in range(count):
                        await port.send(make(number))
                    await trio.sleep(pause)
                port.end()

            async def consume(port, which):
                async for _ in port:
                    got[which] += 1
                    if got[which] % 17 == 0:
                        await trio.sleep(0.001)

            nursery.start_soon(produce, a, lambda n: Tick(0, n))
            nursery.start_soon(produce, c, lambda n: Block(n, np.zeros(70_000 * (n % 2), np.uint8)))
            nursery.start_soon(consume, run_.ports("b").into, 0)
            nursery.start_soon(consume, run_.ports("d").blocks, 1)
    assert got == [sum(count for count, _ in bursts)] * 2


def test_two_inboxes_at_one_path_are_refused(tmp_path):
    first, second = Hub("w", 0, print), Hub("w", 0, print)
    try:
        first.bind(tmp_path / "inbox")
        with pytest.raises(FileExistsError, match="another worker listens there"):
            second.bind(tmp_path / "inbox")
    finally:
        for hub in (first, second):
            hub._inbox.close()
            hub.sockets.term()
