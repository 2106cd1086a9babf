"""What a trace says of nodes that talk through ports: spans nest, arrows pair up, nothing waits, all is bounded."""

from __future__ import annotations

import time

import numpy as np
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from flow.computing import WorkThreads, current_threads
from flow.inspect.protocol import pack
from flow.inspect.timeline import Timeline, TracedWorker
from flow.inspect.trace import PIECE_RECORDS, WAITING_PIECES, Recorder
from flow.inspect.trace_layout import RECORD, Kind
from flow.inspect.watch import NodeWatch
from flow.testing.memory_ports import call, newest, stream
from tests.flow.inspect.timelines import arrows, assert_sound, slices
from tests.runs.nodes_for_runs import Answer, Number, Question


class Held:
    def __enter__(self):
        return None

    def __exit__(self, *exc):
        return None


def watched(recorder, node, **ports):
    """A node's watch while a trace is taken."""
    watch = NodeWatch({name: type(port).__name__ for name, port in ports.items()}, node)
    watch.attach(ports, Held(), Held(), None)
    watch.trace(recorder)
    return watch


def timeline_of(recorder):
    recorder.finish()
    pieces = []
    more = True
    while more:
        records, more = recorder.read()
        pieces.append(records)
    worker = TracedWorker("main", 7, {0: "an edge"}, recorder.began, recorder.names, recorder.tracks, pieces)
    return list(Timeline("run", 1.0, [worker]).events())


async def three_nodes(pauses, askers, credit, begins, recorder):
    """source ──► askers, each a task of one node ──► server, and what they publish; traced from somewhere in it on."""
    out, into = stream(Number, credit=credit)
    asking, serve = call(Question, Answer, most=2)
    publish, latest = newest(Number)
    watches = []
    for name, ports in (
        ("source-0", {"numbers": out}),
        ("asker-0", {"numbers": into, "twice": asking, "progress": publish}),
        ("server-0", {"requests": serve, "newest": latest}),
    ):
        watch = NodeWatch({port: type(each).__name__ for port, each in ports.items()}, name)
        watch.attach(ports, Held(), Held(), None)
        watches.append(watch)

    async def source():
        for number, pause in enumerate(pauses):
            for watch in watches if number == begins else ():
                watch.trace(recorder)
            await out.send(number_of(number))
            if pause:
                await trio.sleep(0.0001)
        out.end()

    async def ask():
        async for number in into:
            answer = await asking(Question(number.values))
            await publish.publish(Number(answer.values), int(number.values[0]))

    async def server():
        async for batch in serve.batches(most=4):
            _ = latest.newest
            batch.answer(Answer(batch.questions.values * 2))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(source)
        nursery.start_soon(server)
        async with trio.open_nursery() as asking_tasks:
            for _ in range(askers):
                asking_tasks.start_soon(ask)
        asking.end()


@settings(max_examples=20)
@given(
    pauses=st.lists(st.sampled_from([0, 0, 0, 1]), max_size=12),
    askers=st.integers(1, 3),
    credit=st.integers(1, 4),
    begins=st.integers(0, 8),
    most=st.sampled_from([3, 40, 10_000]),
)
def test_spans_nest_and_arrows_pair_up_whatever_happens(pauses, askers, credit, begins, most):
    recorder = Recorder(most)
    trio.run(three_nodes, pauses, askers, credit, begins, recorder)
    events = timeline_of(recorder)
    assert_sound(events, whole=recorder.dropped == 0)
    assert recorder.written <= most
    if recorder.dropped == 0:
        seen = max(len(pauses) - begins, 0)
        # What was under way when the trace began was not seen to leave.
        assert len(arrows(events, "message")) == seen
        assert len(arrows(events, "question")) == len(arrows(events, "answer"))
        assert len(slices(events, "handle")) >= seen


def number_of(number):
    return Number(np.full(1, number))


async def test_computations_are_seen_on_the_task_and_in_their_thread():
    recorder = Recorder(100)
    threads = WorkThreads("node-0")
    watch = NodeWatch({}, "node-0")
    watch.trace(recorder)
    threads.told = watch.computed
    current_threads.set(threads)

    def work(seconds):
        time.sleep(seconds)

    await threads.run("device", work, 0.02)
    threads.stop()
    events = timeline_of(recorder)
    assert_sound(events)
    (waited,), (ran,) = slices(events, "compute"), slices(events, "run")
    assert waited["tid"] != ran["tid"]
    assert waited["ts"] <= ran["ts"]
    assert ran["ts"] + ran["dur"] <= waited["ts"] + waited["dur"]
    assert ran["dur"] >= 20_000
    assert ran["name"].endswith("work")
    names = {event["tid"]: event["args"]["name"] for event in events if event["name"] == "thread_name"}
    assert names[ran["tid"]] == "node[0] thread device"


def test_what_nobody_reads_is_bounded_and_what_does_not_fit_is_counted():
    recorder = Recorder(10_000_000)
    room = WAITING_PIECES * PIECE_RECORDS
    for number in range(room + 500):
        recorder.write(Kind.SEND, 0, 0, number, number)
    assert recorder.written == room
    assert recorder.dropped == 500
    first, more = recorder.read()
    assert more
    assert RECORD.unpack_from(first)[4] == 0
    assert len(pack({"records": first})) < 1 << 20  # no copy that would hold the loop up
    recorder.write(Kind.SEND, 0, 0, 0, 0)
    assert recorder.written == room + 1

    few = Recorder(5)
    for number in range(9):
        few.write(Kind.SEND, 0, 0, number, number)
    assert (few.written, few.dropped) == (5, 4)


async def test_tasks_that_come_and_go_share_tracks():
    recorder = Recorder(100_000)
    asking, serve = call(Question, Answer, most=8)
    watched(recorder, "asker-0", twice=asking)

    async def serving():
        async for batch in serve.batches():
            batch.answer(Answer(batch.questions.values))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(serving)
        for _ in range(40):
            async with trio.open_nursery() as few:
                for number in range(20):
                    few.start_soon(asking, Question(number_of(number).values))
        asking.end()
    events = timeline_of(recorder)
    assert_sound(events)
    assert len(slices(events, "ask")) == 800
    assert len(recorder.tracks) < 400


async def test_without_a_trace_ports_are_left_alone():
    out, _ = stream(Number)
    watch = watched(Recorder(10), "source-0", numbers=out)
    assert out._spec.watch is not None
    watch.trace(None)
    assert out._spec.watch is None
