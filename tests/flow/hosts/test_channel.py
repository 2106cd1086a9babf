"""Words between hosts arrive once and in order, whatever the link between them forgets."""

from __future__ import annotations

import contextlib
from collections import deque

import msgpack
import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from flow.hosts.channel import ACK_EVERY, HEAD, KEPT_BYTES_MAX, Channel, Said, begins


class Link:
    """Two channels, and what is under way between them. forget: whether what is sent next is lost though taken."""

    def __init__(self):
        self.ways = (deque(), deque())
        self.takes = [True, True]
        self.ends = [Channel(lambda frames, to=to: self._put(to, frames)) for to in (1, 0)]
        self.heard = ([], [])

    def _put(self, to, frames):
        if not self.takes[to]:
            return False
        self.ways[to].append([bytes(frame) for frame in frames])
        return True

    def deliver(self, to):
        if self.ways[to]:
            words = self.ends[to].take(self.ways[to].popleft())
            if words is not None:
                self.heard[to].append(words["n"])


STEPS = st.lists(
    st.tuples(st.sampled_from(["say", "deliver", "cut", "beat", "block", "unblock"]), st.integers(0, 1)), max_size=150
)


@given(STEPS)
def test_what_is_said_is_heard_once_and_in_order_whatever_is_cut(steps):
    link, said = Link(), ([], [])
    for what, end in steps:
        if what == "say":
            said[end].append(len(said[end]))
            link.ends[end].say_nowait(n=said[end][-1])
        elif what == "deliver":
            link.deliver(end)
        elif what == "cut":  # a connection that is cut forgets what was under way, in both directions
            link.ways[0].clear()
            link.ways[1].clear()
        elif what == "beat":
            link.ends[end].beat()
        else:
            link.takes[end] = what == "unblock"
        for one in (0, 1):
            assert link.heard[1 - one] == said[one][: len(link.heard[1 - one])]
    link.takes = [True, True]
    for _ in range(3):  # one beat to ask, one to be told, one for what was lost of the answers
        for end in (0, 1):
            link.ends[end].beat()
        while link.ways[0] or link.ways[1]:
            for end in (0, 1):
                link.deliver(end)
    assert link.heard == (said[1], said[0])
    assert not any(channel._kept for channel in link.ends)


async def test_who_says_more_than_the_other_end_takes_waits_until_it_has_come():
    link = Link()
    for number in range(4):
        await link.ends[0].say(n=number, text=bytes(KEPT_BYTES_MAX // 4))
    with trio.move_on_after(1) as scope:
        await link.ends[0].say(n=4)
    assert scope.cancelled_caught
    async with trio.open_nursery() as nursery:
        nursery.start_soon(lambda: link.ends[0].say(n=4))
        await trio.testing.wait_all_tasks_blocked()
        while link.ways[0] or link.ways[1]:
            link.deliver(1)
            link.deliver(0)
        with trio.fail_after(1):
            while len(link.heard[1]) < 5:
                await trio.lowlevel.checkpoint()
                link.deliver(1)


async def test_nobody_waits_for_an_end_that_said_goodbye():
    link = Link()
    for number in range(4):
        await link.ends[0].say(n=number, text=bytes(KEPT_BYTES_MAX // 4))
    async with trio.open_nursery() as nursery:

        async def more():
            with pytest.raises(trio.BrokenResourceError, match="it was enough"):
                await link.ends[0].say(n=9)

        nursery.start_soon(more)
        await trio.testing.wait_all_tasks_blocked()
        link.ends[1].bye("it was enough", wrong=True)
        while link.ways[0]:
            link.deliver(0)
    assert (link.ends[0].over, link.ends[0].wrong) == ("it was enough", True)


def test_many_words_are_acknowledged_before_a_beat():
    link = Link()
    for number in range(ACK_EVERY):
        link.ends[0].say_nowait(n=number)
    while link.ways[1]:
        link.deliver(1)
    link.deliver(0)
    assert not link.ends[0]._kept


@given(st.lists(st.binary(max_size=40), min_size=1, max_size=3))
def test_bytes_that_are_none_of_this_are_refused_and_change_nothing(frames):
    link = Link()
    link.ends[0].say_nowait(n=0)
    kept = list(link.ends[0]._kept)
    with contextlib.suppress(ValueError, msgpack.UnpackException):
        link.ends[0].take(frames)
    assert link.ends[0]._kept == deque(kept)


@pytest.mark.parametrize("number", [5, 1 << 63])
def test_an_answer_that_tells_of_more_than_was_said_is_not_believed(number):
    link = Link()
    link.ends[0].say_nowait(n=0)
    link.ends[0].take([HEAD.pack(1, Said.ACK, number)])
    assert link.ends[0]._kept


def test_what_an_unknown_end_says_first_is_told_from_what_it_says_later():
    assert begins(HEAD.pack(1, Said.RECORD, 0))
    assert begins(HEAD.pack(1, Said.BEAT, 1))
    assert not begins(HEAD.pack(1, Said.RECORD, 3))
    assert not begins(HEAD.pack(1, Said.BEAT, 3))
    assert not begins(HEAD.pack(1, Said.ACK, 0))
    assert not begins(b"hello")
