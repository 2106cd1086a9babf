"""What a port does for inspectors: a paused node takes nothing, a step lets one through, a tap holds nobody up."""

from __future__ import annotations

import numpy as np
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from flow.inspect.protocol import Unpacker
from flow.inspect.samples import read_sample
from flow.inspect.watch import NodeWatch, Tap
from flow.port_spec import NeverResting, spec_of
from tests.flow.joined import Edge, Node, joined
from tests.flow.sample_messages import Answer, Block, Tick, question
from tests.flow.test_carriers import asker, server, sink, source

STREAM = [Node("a", source), Node("b", sink)], [Edge("a.out", "b.into", "share", 4)]


class Box:
    """An outbox that takes `room` frames until it is emptied."""

    def __init__(self, room=10**9):
        self.room, self.frames = room, []

    def has_room(self, size):
        return len(self.frames) < self.room

    def offer(self, frame):
        self.frames.append(frame)
        return True

    def samples(self):
        found = [read_sample(words["sample"]) for frame in self.frames for words in Unpacker(1 << 20).feed(frame)]
        self.frames.clear()
        return found


def watching(kind, **ports):
    watch = NodeWatch(dict.fromkeys(ports, kind))
    watch.attach(ports, NeverResting(), NeverResting(), None)
    return watch


steps = st.lists(st.one_of(st.just("pause"), st.just("resume"), st.just("send"), st.integers(1, 3)), max_size=20)


@given(steps=steps)
async def test_a_paused_node_takes_what_it_is_stepped_by_and_nothing_is_lost_or_reordered(steps):
    async with joined("memory", *STREAM) as run:
        out, into = run.ports("a").out, run.ports("b").into
        watch, got, sent, room = watching("In", into=into), [], 0, 0

        async def take():
            async for tick in into:
                got.append(tick.number)  # noqa: PERF401 (it is looked at while it grows)

        run.nursery.start_soon(take)
        await trio.testing.wait_all_tasks_blocked()
        may = 0  # how many may have been taken by now
        for step in steps:
            if step == "pause":
                room = room if watch.paused else 0
                watch.pause()
            elif step == "resume":
                watch.resume()
            elif step == "send":
                if sent - len(got) < 4:
                    await out.send(Tick(0, sent))
                    sent += 1
            elif watch.paused:
                watch.gate.allow(step)
                room += step
            await trio.testing.wait_all_tasks_blocked()
            if watch.paused:
                taken = min(sent - may, room)
                may, room = may + taken, room - taken
            else:
                may = sent
            assert got == list(range(may))
        watch.resume()
        out.end()
        await trio.testing.wait_all_tasks_blocked()
        assert got == list(range(sent))
        assert spec_of(into).watch is None


async def test_a_paused_source_sends_nothing_and_its_receiver_waits():
    async with joined("memory", *STREAM) as run:
        out, into = run.ports("a").out, run.ports("b").into
        watch = watching("Out", out=out)
        watch.pause()
        run.nursery.start_soon(out.send, Tick(0, 0))
        await trio.testing.wait_all_tasks_blocked()
        assert into.receive_nowait() is None
        watch.gate.allow(1)
        assert (await into.receive()).number == 0
        watch.resume()


@given(
    room=st.integers(0, 5),
    every=st.integers(1, 4),
    left=st.one_of(st.none(), st.integers(1, 4)),
    count=st.integers(0, 20),
)
async def test_a_tap_sees_each_message_once_or_counts_it(room, every, left, count):
    async with joined("memory", *STREAM) as run:
        out, into = run.ports("a").out, run.ports("b").into
        watch, box = watching("Out", out=out), Box(room)
        tap = Tap(1, box, every=every, left=left)
        watch.open("out", tap)
        for number in range(count):
            await out.send(Tick(0, number))
            assert (await into.receive()).number == number
        wanted = list(range(0, count, every))[: left if left is not None else None]
        samples = box.samples()
        assert [sample.fields["number"] for sample in samples] == wanted[:room]
        assert tap.seen == count
        assert tap.dropped == (len(range(0, count, every)) - room if room < len(wanted) else 0)
        watch.close("out", tap)
        assert spec_of(out).watch is None
        await out.send(Tick(0, 99))
        assert tap.seen == count


@given(
    end=st.sampled_from(["a", "b"]),
    pauses=st.lists(st.sampled_from([0.0, 0.03, 0.2]), max_size=30),
    restarts=st.booleans(),
)
async def test_a_tap_with_a_rate_sleeps_between_samples_and_counts_what_it_did_not_see(end, pauses, restarts):
    async with joined("memory", *STREAM) as run:
        out, into = run.ports("a").out, run.ports("b").into
        ports, box = ({"out": out} if end == "a" else {"into": into}), Box()
        (name,) = ports
        watch = watching("Out" if end == "a" else "In", **ports)
        tap = Tap(1, box, gap_s=0.1)
        watch.open(name, tap)
        wanted, next_at = [], 0.0
        for number, pause in enumerate(pauses):
            await trio.sleep(pause)
            if restarts and number == 3:
                watch.attach(ports, NeverResting(), NeverResting(), None)
            if trio.current_time() >= next_at:
                wanted.append(number)
                next_at = trio.current_time() + 0.1
            await out.send(Tick(0, number))
            assert (await into.receive()).number == number
            assert spec_of(ports[name]).watch is None
        await trio.sleep(0.15)
        assert spec_of(ports[name]).watch is not None
        samples = box.samples()
        assert [sample.fields["number"] for sample in samples] == wanted
        assert [sample.number for sample in samples] == wanted
        gaps = [after - before - 1 for before, after in zip([-1, *wanted], wanted, strict=False)]
        assert [sample.skipped for sample in samples] == gaps
        assert tap.seen == len(pauses)
        watch.close(name, tap)
        assert spec_of(ports[name]).watch is None


async def test_what_is_copied_is_not_changed_later_and_large_arrays_are_cut():
    blocks = [Node("a", source), Node("b", sink)], [Edge("a.blocks", "b.blocks", "share", 4)]
    async with joined("memory", *blocks) as run:
        out, box = run.ports("a").blocks, Box()
        watch = watching("Out", blocks=out)
        watch.open("blocks", Tap(1, box, most_bytes=100))
        data = np.zeros(1000, np.uint8)
        await out.send(Block(1, data))
        (sample,) = box.samples()
        assert (sample.fields["data"].shape, sample.fields["data"].values.shape) == ((1000,), (100,))


async def test_questions_answers_and_batches_are_seen():
    nodes = [Node("a", asker), Node("s", server)]
    async with joined("memory", nodes, [Edge("a.model", "s.questions", credit=2)]) as run:
        model, questions = run.ports("a").model, run.ports("s").questions
        asks, serves = watching("Call", model=model), watching("Serve", questions=questions)
        box, batches = Box(), Box()
        asks.open("model", Tap(1, box))
        serves.open("questions", Tap(2, batches))

        async def serve():
            async for batch in questions.batches(most=4):
                batch.answer(Answer(batch.questions.keys * 2, 0))

        run.nursery.start_soon(serve)
        answer = await model(question(3))
        assert list(answer.doubles) == [6]
        assert [(one.what, one.type) for one in box.samples()] == [("question", "Question"), ("answer", "Answer")]
        assert [one.what for one in batches.samples()] == ["batch"]
        serves.pause()
        with trio.move_on_after(1) as scope:
            await model(question(4))
        assert scope.cancelled_caught
