"""Where a checkpoint cuts the streams into a port, beside a model that knows what was sent before each barrier."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from flow.mailbox import StreamMailbox
from tests.flow.sample_messages import Tick


class Sent:
    """What producers send to one port, each in its order: messages, barriers, their end.

    before: what each sent before its barrier; taken, after: what the node took before and after its state was taken.
    """

    def __init__(self, links: int, feedback: set[int]) -> None:
        self.mailbox = StreamMailbox(links)
        self.mailbox.barriers.links = set(range(links))
        self.mailbox.barriers.feedback = feedback
        self.credit = [0] * links
        self.next = [0] * links
        self.before: list[list[int]] = [[] for _ in range(links)]
        self.behind = [False] * links
        self.ended = [False] * links
        self.taken: list[tuple[int, int]] = []
        self.after: list[tuple[int, int]] = []
        self.log: list[tuple[int, int]] | None = None
        self.was_cut = False

    def put(self, link: int) -> None:
        if self.ended[link]:
            return
        number, self.next[link] = self.next[link], self.next[link] + 1
        if not self.behind[link]:
            self.before[link].append(number)
        self.mailbox.put(link, Tick(link, number), 1, lambda messages, size: self._returned(link))

    def _returned(self, link: int) -> None:
        self.credit[link] += 1

    def barrier(self, link: int) -> None:
        if not self.behind[link] and not self.ended[link]:
            self.behind[link] = True
            self.mailbox.barrier(link, 1)
            self._look()

    def end(self, link: int) -> None:
        if not self.ended[link]:
            self.ended[link] = True
            self.mailbox.end(link)
            self._look()

    def take(self) -> None:
        message = self.mailbox.take_nowait()
        if message is not None:
            (self.after if self.was_cut else self.taken).append((message.sender, message.number))
        self._look()

    def _look(self) -> None:
        """Take the state as soon as it can be, as a node does that is between two messages."""
        if not self.was_cut and any(self.behind) and self.mailbox.before_cut:
            self.was_cut = True
            self.mailbox.cut(1)
        if self.was_cut and self.log is None and not self.mailbox.barriers.open:
            self.log = [(message.sender, message.number) for _, message in self.mailbox.barriers.finish()]

    def finish(self) -> None:
        for link in range(len(self.next)):
            self.barrier(link)
        while self.mailbox.waiting or self.mailbox.barriers.held:
            self.take()


@given(data=st.data())
def test_the_cut_has_all_that_came_before_the_barriers_and_nothing_behind_them(data):
    links = data.draw(st.integers(1, 4))
    feedback = data.draw(st.sets(st.integers(0, links - 1)))
    sent = Sent(links, feedback)
    steps = [sent.put, sent.put, sent.put, sent.barrier, sent.end, lambda link: sent.take(), lambda link: sent.take()]
    for step, link in data.draw(st.lists(st.tuples(st.sampled_from(steps), st.integers(0, links - 1)), max_size=60)):
        step(link)
        if not sent.was_cut:
            behind = {link for link in range(links) if sent.behind[link]}
            assert not any(number not in sent.before[link] for link, number in sent.taken if link in behind)
    sent.finish()
    if not any(sent.behind):  # all ended before a barrier could come
        return
    assert sent.log is not None
    for link in range(links):
        taken = [number for who, number in sent.taken if who == link]
        logged = [number for who, number in sent.log if who == link]
        assert taken + logged == sent.before[link], "each message once, in the state or beside it, in order"
        assert link in feedback or not logged, "what is waited for is taken and not logged"
        everything = taken + [number for who, number in sent.after if who == link]
        assert everything == list(range(sent.next[link])), "the node itself loses and doubles nothing either"
        assert sent.credit[link] == sent.next[link]
    assert len(sent.mailbox.ended) == sum(sent.ended)


@given(data=st.data())
def test_an_attempt_that_is_given_up_leaves_the_stream_as_if_it_had_never_been(data):
    links = data.draw(st.integers(1, 3))
    sent = Sent(links, set())
    mailbox = sent.mailbox
    number = over = 1
    for step, link in data.draw(
        st.lists(st.tuples(st.sampled_from(("put", "barrier", "give up", "next", "take")), st.integers(0, links - 1)))
    ):
        match step:
            case "put":
                sent.put(link)
            case "barrier":  # also one that comes late, when its attempt is over
                mailbox.barrier(link, number)
            case "give up":
                mailbox.give_up(number)
                over = number
            case "next":
                number += 1
            case "take" if (message := mailbox.take_nowait()) is not None:
                sent.taken.append((message.sender, message.number))
    assert over <= number
    mailbox.give_up(number)
    assert not mailbox.barriers.behind
    assert not mailbox.barriers.held
    while (message := mailbox.take_nowait()) is not None:
        sent.taken.append((message.sender, message.number))
    for link in range(links):
        assert [seq for who, seq in sent.taken if who == link] == list(range(sent.next[link]))
    mailbox.barrier(0, number)  # late
    assert not mailbox.barriers.behind


async def test_the_end_of_a_stream_behind_a_barrier_is_not_heard_before_the_cut():
    sent = Sent(1, set())
    sent.put(0)
    sent.mailbox.barrier(0, 1)
    sent.put(0)
    sent.end(0)
    assert (await sent.mailbox.take()).number == 0
    with trio.move_on_after(1) as waited:
        await sent.mailbox.take()
    assert waited.cancelled_caught
    sent.mailbox.cut(1)
    assert (await sent.mailbox.take()).number == 1
    with pytest.raises(trio.EndOfChannel):
        await sent.mailbox.take()


def test_a_sender_that_is_started_again_is_not_held_back_by_the_barrier_of_the_one_before():
    sent = Sent(2, set())
    sent.mailbox.barrier(0, 1)
    sent.put(0)
    assert not sent.mailbox.waiting
    sent.mailbox.reopen(0)
    assert [entry[1].number for entry in sent.mailbox.waiting] == [0]
    sent.put(0)
    assert len(sent.mailbox.waiting) == 2


def test_what_a_sender_says_first_is_logged_if_the_state_was_taken_before():
    """A feedback edge is silent until the node itself has spoken, in a resumed run for instance."""
    sent = Sent(1, {0})
    sent.mailbox.cut(1)
    sent.mailbox.reopen(0)  # as a carrier does at the first message
    sent.put(0)
    sent.mailbox.barrier(0, 1)
    assert not sent.mailbox.barriers.open
    assert [message.number for _, message in sent.mailbox.barriers.finish()] == [0]


def test_a_barrier_of_no_attempt_that_could_be_under_way_holds_nothing_back():
    sent = Sent(1, set())
    for number in (0, 1 << 40):
        sent.mailbox.barrier(0, number)
    sent.mailbox.barrier(1, 1)  # of a link that does not lead here
    sent.put(0)
    assert len(sent.mailbox.waiting) == 1


def test_a_node_that_ended_holds_nobody_back():
    sent = Sent(1, set())
    sent.mailbox.barrier(0, 1)
    sent.put(0)
    sent.mailbox.close()
    assert sent.credit == [1]
    sent.mailbox.barrier(0, 2)
    sent.put(0)
    assert sent.credit == [2]


def test_what_came_out_of_a_checkpoint_goes_first_and_is_not_counted_again():
    sent = Sent(1, {0})
    sent.put(0)
    sent.mailbox.restore([(0, Tick(0, 7)), (0, Tick(0, 8))])
    assert [sent.mailbox.take_nowait().number for _ in range(3)] == [7, 8, 0]
    assert sent.mailbox.tally.messages.value == 1
    assert sent.credit == [1]
