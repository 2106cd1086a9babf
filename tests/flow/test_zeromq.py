"""What only happens between processes: strangers, garbage, gaps, and workers that are started again."""

from __future__ import annotations

import pytest
import trio
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from flow import wire
from flow.errors import PeerRestarted
from flow.wire import Kind
from tests.flow.joined import Edge, Node, joined
from tests.flow.sample_messages import Answer, OnceOnly, Tick, question
from tests.flow.test_carriers import asker, publisher, reader, server, sink, source

pytestmark = pytest.mark.real_time

both = pytest.mark.parametrize("carrier", ["zeromq", "shared"])
STREAM = [Node("a", source), Node("b", sink)]


async def wait_until(condition):
    with trio.fail_after(5):
        while not condition():  # noqa: ASYNC110  what it waits for happens in C
            await trio.sleep(0.001)


def stranger(run, worker, messages):
    """Somebody who sends frames to a worker's inbox."""
    with zmq.Context() as context, context.socket(zmq.PUSH) as socket:
        socket.connect(f"ipc://{run.directory / f'{worker}.{run.hubs[worker].epoch}'}")
        for frames in messages:
            socket.send_multipart(frames)


def data(link, sequence, epoch, message):
    return [bytes(frame) for frame in wire.encode(Kind.DATA, link, sequence, epoch, 0, message)[0]]


@both
@settings(max_examples=5)
@given(garbage=st.lists(st.lists(st.binary(max_size=300), min_size=1, max_size=3), min_size=1, max_size=20))
async def test_garbage_is_counted_and_dropped_and_the_good_stream_goes_on(carrier, garbage):
    async with joined(carrier, STREAM, [Edge("a.out", "b.into", "share", 8)]) as run:
        out, into = run.ports("a").out, run.ports("b").into
        good = Tick(0, 0)
        wrong = [
            data(99, 0, 0, good),
            [wire.encode(Kind.CREDIT, 0, 0, 0, 1)[0][0]],
            [wire.encode(Kind.ANSWER, 0, 0, 0, 1, good)[0][0]],
            [wire.encode(Kind.SEEN, 99, 0, 0, 1)[0][0]],
            *garbage,
        ]
        stranger(run, "b", wrong)
        for number in range(5):
            await out.send(Tick(0, number))
        assert [(await into.receive()).number for _ in range(5)] == list(range(5))
        await wait_until(lambda: run.hubs["b"].malformed == len(wrong))
        assert run.hubs["b"].lost == 0
        assert len(run.warnings) == len(wrong)


@both
async def test_a_refused_message_of_an_epoch_that_is_not_its_peers_makes_nothing_stale(carrier):
    """One frame of a stranger, before the peer has spoken, would otherwise have silenced it for good."""
    async with joined(carrier, STREAM, [Edge("a.out", "b.into", "share", 8)]) as run:
        forged = data(0, 0, 1 << 62, question(1))  # the link carries no such message
        stranger(run, "b", [forged])
        await wait_until(lambda: run.hubs["b"].malformed == 1)
        await run.ports("a").out.send(Tick(0, 7))
        with trio.fail_after(5):
            assert (await run.ports("b").into.receive()).number == 7
        assert run.hubs["b"].stale == 0


@both
async def test_credit_nobody_spent_and_a_message_that_came_before_are_refused(carrier):
    async with joined(carrier, STREAM, [Edge("a.out", "b.into", "share", 2)]) as run:
        out, into = run.ports("a").out, run.ports("b").into
        await out.send(Tick(0, 0))
        await into.receive()
        stranger(run, "b", [data(0, 0, 0, Tick(0, 0))])
        stranger(run, "a", [[wire.encode(Kind.CREDIT, 0, 0, 0, 5)[0][0]]])
        await wait_until(lambda: run.hubs["a"].malformed and run.hubs["b"].malformed)
        assert "came again" in " ".join(run.warnings)
        assert "5 messages of 0 bytes given back" in " ".join(run.warnings)
        assert out._groups[0][0].window.messages_under_way == 0
        assert into.receive_nowait() is None


@both
async def test_gaps_in_a_stream_are_counted_as_lost(carrier):
    async with joined(carrier, STREAM, [Edge("a.out", "b.into", "share", 2)]) as run:
        stranger(run, "b", [data(0, number, 0, Tick(0, number)) for number in (0, 3, 4)])
        into = run.ports("b").into
        assert [(await into.receive()).number for _ in range(3)] == [0, 3, 4]
        assert run.hubs["b"].lost == into._mailbox.tally.dropped.value == 2
        assert "link 0 from a: 2 messages before 3 lost" in run.warnings


@both
async def test_a_receiver_started_again_gets_a_whole_window_and_the_end(carrier):
    async with joined(carrier, STREAM, [Edge("a.out", "b.into", "share", 3)]) as run:
        out = run.ports("a").out
        for number in range(3):
            await out.send(Tick(0, number))
        link = out._groups[0][0]
        assert not link.window.fits(0)
        await run.kill("b")
        run.start("b", epoch=1)
        assert link.tally.unsettled.value == 3
        for number in range(3, 6):
            with trio.fail_after(5):
                await out.send(Tick(0, number))
        out.end()
        assert [tick.number async for tick in run.ports("b").into] == [3, 4, 5]
        await run.kill("b")
        run.start("b", epoch=2)  # the end is said again, to who was not there
        with trio.fail_after(5):
            assert [tick async for tick in run.ports("b").into] == []
        assert run.hubs["b"].lost == run.hubs["b"].malformed == 0


@both
async def test_a_sender_started_again_counts_from_zero_and_its_late_messages_are_stale(carrier):
    async with joined(carrier, STREAM, [Edge("a.out", "b.into", "share", 3)]) as run:
        into = run.ports("b").into
        for number in range(2):
            await run.ports("a").out.send(Tick(0, number))
        first = await into.receive()
        await wait_until(lambda: into._mailbox.waiting)
        await run.kill("a")
        run.start("a", epoch=1)
        out = run.ports("a").out
        for number in range(10, 13):
            await out.send(Tick(0, number))
        await wait_until(lambda: len(into._mailbox.waiting) == 4)
        stranger(run, "b", [data(0, 2, 0, Tick(0, 2))])
        await wait_until(lambda: run.hubs["b"].stale == 1)
        out.end()
        numbers = [first.number] + [tick.number async for tick in into]
        assert numbers == [0, 1, 10, 11, 12]
        assert run.hubs["b"].lost == 0
        # Credit for the old sender's message is not the new one's.
        await wait_until(lambda: out._groups[0][0].window.messages_under_way == 0)
        assert run.hubs["a"].malformed == 0


@both
async def test_questions_to_a_server_that_died_are_asked_again_where_that_does_no_harm(carrier):
    edges = [Edge("a.model", "s.questions", credit=4), Edge("a.once", "s.once")]
    async with joined(carrier, [Node("a", asker), Node("s", server)], edges) as run, trio.open_nursery() as nursery:
        ports, answers = run.ports("a"), []

        async def ask(key):
            answers.append((await ports.model(question(key))).doubles[0])

        async def ask_once():
            with pytest.raises(PeerRestarted):
                await ports.once(question(9, kind=OnceOnly))

        nursery.start_soon(ask, 1)
        nursery.start_soon(ask, 2)
        nursery.start_soon(ask_once)
        await wait_until(lambda: len(run.ports("s").questions._mailbox.gathering.waiting) == 2)
        await run.kill("s")
        run.start("s", epoch=1)
        with trio.fail_after(5):
            batch = await anext(run.ports("s").questions.batches())
            while batch.callers < 2:
                batch.answer(Answer(batch.questions.keys * 2, 1))
                batch = await anext(run.ports("s").questions.batches())
                break
            batch.answer(Answer(batch.questions.keys * 2, 1))
            await wait_until(lambda: len(answers) == 2)
        assert sorted(answers) == [2, 4]


@both
async def test_a_caller_started_again_is_answered_though_its_predecessor_still_waits(carrier):
    edges = [Edge("a.model", "s.questions")]
    async with joined(carrier, [Node("a", asker), Node("s", server)], edges) as run, trio.open_nursery() as nursery:
        mailbox = run.ports("s").questions._mailbox

        async def forgotten():
            with trio.move_on_after(0.5):
                await run.ports("a").model(question(1))

        nursery.start_soon(forgotten)
        await wait_until(lambda: len(mailbox.gathering.waiting) == 1)
        await run.kill("a")
        run.start("a", epoch=1)
        call, answers = run.ports("a").model, []

        async def ask():
            answers.append(await call(question(7)))

        nursery.start_soon(ask)
        await wait_until(lambda: len(mailbox.gathering.waiting) == 2)
        batch = await anext(run.ports("s").questions.batches())
        batch.answer(Answer(batch.questions.keys * 2, 0))
        await wait_until(lambda: answers)
        assert list(answers[0].doubles) == [14]
        assert call._links[0].orphans == 0


@both
async def test_a_reader_started_again_gets_the_newest_value_though_it_was_published_before(carrier):
    async with joined(carrier, [Node("p", publisher), Node("r", reader)], [Edge("p.best", "r.best")]) as run:
        for version in range(5):
            await run.ports("p").best.publish(Tick(0, version), version)
        run.ports("p").best.end()
        for epoch in (1, 2):
            await run.kill("r")
            run.start("r", epoch=epoch)
            latest = run.ports("r").best
            with trio.fail_after(5):
                assert (await latest.wait(3)).number == 4
                with pytest.raises(trio.EndOfChannel):
                    await latest.wait(4)


@both
@settings(max_examples=5)
@given(kills=st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from([0, 0.001, 0.004])), max_size=5))
async def test_whoever_is_killed_a_stream_goes_on_in_order_and_its_window_stays_whole(carrier, kills):
    async with joined(carrier, STREAM, [Edge("a.out", "b.into", "share", 2)]) as run, trio.open_nursery() as nursery:
        ports, counter, got = {"a": run.ports("a").out, "b": run.ports("b").into}, iter(range(10**9)), []
        scopes = {}

        async def produce(port):
            with trio.CancelScope() as scopes["a"]:
                while True:
                    await port.send(Tick(0, next(counter)))

        async def consume(port):
            with trio.CancelScope() as scopes["b"]:
                async for tick in port:
                    got.append(tick.number)  # noqa: PERF401  a list made whole is lost when cancelled

        nursery.start_soon(produce, ports["a"])
        nursery.start_soon(consume, ports["b"])
        for epoch, (worker, pause) in enumerate([*kills, ("b", 0)], start=1):
            await trio.sleep(pause)
            await wait_until(lambda worker=worker: worker in scopes)
            scopes.pop(worker).cancel()
            await run.kill(worker)
            run.start(worker, epoch)
            port = run.ports(worker)
            nursery.start_soon(*((produce, port.out) if worker == "a" else (consume, port.into)))
        before = len(got)
        await wait_until(lambda: len(got) >= before + 50)
        assert sorted(set(got)) == got
        assert all(hub.malformed == hub.lost == 0 for hub in run.hubs.values())
        nursery.cancel_scope.cancel()


@both
async def test_a_message_its_receiver_refuses_leaves_nobody_waiting(carrier):
    async with joined(carrier, STREAM, [Edge("a.out", "b.into", "share", 1)]) as run:
        out, into = run.ports("a").out, run.ports("b").into
        link = next(iter(run.hubs["b"].received))
        run.hubs["b"].received[link].schema = wire.Schema(Answer, {})
        await out.send(Tick(0, 0))  # refused: it is no Answer
        await wait_until(lambda: run.hubs["b"].malformed == 1)
        run.hubs["b"].received[link].schema = wire.Schema(Tick, {})
        with trio.fail_after(5):
            await out.send(Tick(0, 1))
            assert (await into.receive()).number == 1
        assert run.hubs["b"].lost == 0


@both
async def test_a_peer_that_is_introduced_twice_is_heard_once(carrier):
    async with joined(carrier, STREAM, [Edge("a.out", "b.into", "share", 8)]) as run:
        out, into = run.ports("a").out, run.ports("b").into
        for number in range(3):
            await out.send(Tick(0, number))
        path = run.directory / f"b.{run.hubs['b'].epoch}"
        run.hubs["a"].peer_restarted("b", path, run.hubs["b"].epoch)
        for number in range(3, 6):
            await out.send(Tick(0, number))
        with trio.fail_after(5):
            assert [(await into.receive()).number for _ in range(6)] == list(range(6))
