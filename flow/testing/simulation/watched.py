"""The ends of links as they are, and around each call the keeping of the journal. Nothing here decides anything."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from flow.assembly import Assembly
from flow.barrier import Taken
from flow.links import CallLink, Link, NewestLink, StreamLink
from flow.mailbox import Fail, Mailbox, NewestMailbox, QuestionMailbox, StreamMailbox
from flow.message import Message
from flow.plan import CALL, STREAM, LinkPlan, NodePlan
from flow.port_spec import Rest
from flow.tally import Tally
from flow.testing.simulation.journal import Journal, Life, Passage, digest_of


@dataclass(kw_only=True)
class WatchedStream(StreamLink):
    """A stream's sending end. here: its receiver is in the same worker."""

    journal: Journal
    life: Life

    def send(self, message: Message, size: int) -> None:
        passage = self.journal.sent(self.life, self.number, (self.sequence,), message)
        if passage is not None:
            self.journal.records[self.number].pending[passage.number] = passage
        self.journal.arriving = passage
        try:
            super().send(message, size)
        except BaseException:
            self.journal.refused(passage)
            raise
        finally:
            self.journal.arriving = None
        window = self.window
        alone = window.messages_under_way == 1
        if not alone and (window.messages_under_way > window.messages or window.size_under_way > window.size):
            self._violation("over the window", f"{window.messages_under_way} messages, {window.size_under_way} bytes")

    def credit(self, messages: int, size: int) -> None:
        super().credit(messages, size)
        if self.window.messages_under_way < 0 or self.window.size_under_way < 0:
            self._violation("negative credit", f"{self.window}")

    def receiver_restarted(self) -> None:
        if not self.life.over:
            self.journal.receiver_restarted(self.life, self.number)
        super().receiver_restarted()

    def _violation(self, rule: str, text: str) -> None:
        if not self.life.over:
            self.journal.violation(rule, f"{self.journal.records[self.number].plan.edge}: {text}")


class _Questions:
    """A call's route with the journal kept: each question is a passage, also one that is asked again."""

    def __init__(self, route: Any, journal: Journal, life: Life, number: int) -> None:
        self._route, self._journal, self._life, self._number = route, journal, life, number
        self.asked: dict[int, Passage] = {}

    def question(self, request: int, question: Message) -> None:
        passage = self._journal.sent(self._life, self._number, (request,), question)
        if passage is not None:
            self.asked[request] = passage
        self._journal.arriving = passage
        try:
            self._route.question(request, question)
        finally:
            self._journal.arriving = None

    def end(self, sequence: int) -> None:
        self._route.end(sequence)


@dataclass(kw_only=True)
class WatchedCall(CallLink):
    """A call's asking end: an answer must be what the server answered to this question."""

    journal: Journal
    life: Life
    asked: dict[int, Passage] = field(default_factory=dict)

    def __post_init__(self) -> None:
        watching = _Questions(self.route, self.journal, self.life, self.number)
        self.route, self.asked = watching, watching.asked

    def answer(self, request: int, answer: Message) -> None:
        pending, passage = self.pending.get(request), self.asked.get(request)
        if pending is not None and not pending.over and passage is not None and not self.life.over:
            if passage.answer and digest_of(answer) != passage.answer:
                edge = passage.link.edge
                self.journal.violation("wrong answer", f"{edge}: request {request} got an answer it was not given")
            self.journal.progress += 1
            self.journal.note("answered", passage.link.edge, self.number, request, passage.answer.hex())
        super().answer(request, answer)
        if len(self.pending) > self.most and not self.life.over:
            self.journal.violation("over the window", f"link {self.number}: {len(self.pending)} questions under way")


@dataclass(kw_only=True)
class WatchedNewest(NewestLink):
    """A publisher's end."""

    journal: Journal
    life: Life

    def _send(self, generation: int, version: int, message: Message) -> None:
        self.journal.arriving = self.journal.sent(self.life, self.number, (generation, version), message)
        try:
            super()._send(generation, version, message)
        finally:
            self.journal.arriving = None


@dataclass(eq=False)
class _Settling:
    """The end of a stream's passage: told when it is taken or dropped."""

    journal: Journal
    life: Life
    passage: Passage
    mailbox: StreamMailbox
    taken: Taken
    message: Message

    def __call__(self, messages: int, size: int) -> None:
        journal, dropped = self.journal, self.mailbox.closed
        if not self.life.over and not journal.closed:
            journal.settled(self.passage, dropped=dropped)
            if journal.keep_messages and not dropped:
                journal.kept.append((self.passage.link.receiver, self.message))
        self.taken(messages, size)


@dataclass(kw_only=True)
class WatchedStreamMailbox(StreamMailbox):
    """A stream's receiving end."""

    journal: Journal
    life: Life

    def put(self, link: int, message: Message, size: int, taken: Taken, sequence: int = -1) -> None:
        journal = self.journal
        passage = journal.arrived(self.life, link, message)
        if passage is not None:
            record = journal.records[passage.link.number]
            journal.in_order(record, passage)
            # What a sender had sent before it died may still wait, and the one started after it has a whole window.
            record.waiting[passage.life] += 1
            waiting = record.waiting[passage.life]
            if waiting > record.plan.credit:
                journal.violation(
                    "over its bound", f"{record.plan.edge}: {waiting} wait, credit is {record.plan.credit}"
                )
            taken = _Settling(journal, self.life, passage, self, taken, message)
        super().put(link, message, size, taken, sequence)


@dataclass(kw_only=True)
class WatchedQuestionMailbox(QuestionMailbox):
    """A call's answering end: each question is answered or refused once."""

    journal: Journal
    life: Life

    def put(
        self,
        link: int,
        request: int,
        question: Message,
        size: int,
        reply: Callable[[Message], None],
        fail: Fail,
    ) -> None:
        passage = self.journal.arrived(self.life, link, question)
        if passage is None:
            super().put(link, request, question, size, reply, fail)
            return

        def once(answer: bytes) -> None:
            passage.answers += 1
            passage.answer = answer
            if passage.answers > 1 and not self.life.over:
                self.journal.violation("doubled", f"{passage.link.edge}: request {request} was answered twice")

        def watched_reply(answer: Message) -> None:
            once(digest_of(answer))
            reply(answer)

        def watched_fail(for_good: bool) -> None:
            once(b"")
            fail(for_good)

        super().put(link, request, question, size, watched_reply, watched_fail)


@dataclass(kw_only=True)
class WatchedNewestMailbox(NewestMailbox):
    """A reader's end: what arrives on a link is in the order in which it was sent."""

    journal: Journal
    life: Life

    def put(self, link: int, generation: int, version: int, message: Message, size: int) -> None:
        passage = self.journal.arrived(self.life, link, message)
        if passage is not None:
            record = self.journal.records[link]
            if passage.number <= record.last_arrived:
                self.journal.violation("reordered", f"{record.plan.edge}: {passage.number} after {record.last_arrived}")
            record.last_arrived = passage.number
            self.journal.note("seen", record.plan.edge, link, passage.number)
        super().put(link, generation, version, message, size)


class Steps:
    """Tells the simulation when a node begins and ends to wait at a port, where it may raise."""

    def __init__(self, rest: Rest, step: Callable[[], None]) -> None:
        self._rest, self._step = rest, step

    def __enter__(self) -> None:
        self._step()
        self._rest.__enter__()

    def __exit__(self, *exc: object) -> None:
        self._rest.__exit__(*exc)
        if exc[0] is None:
            self._step()


@dataclass(kw_only=True)
class WatchedAssembly(Assembly):
    """An assembly whose ends keep the journal. step: what happens at each step of a node, by its key."""

    journal: Journal
    life: Life
    step: Callable[[str], None]

    def _mailbox(self, link: LinkPlan, feeders: int) -> Mailbox:
        tally = self._tally(link.receiver, f"edge.{link.edge}.received")
        watching: dict[str, Any] = {"journal": self.journal, "life": self.life}
        if link.kind == STREAM:
            return WatchedStreamMailbox(feeders, tally, **watching)
        if link.kind == CALL:
            return WatchedQuestionMailbox(feeders, tally, **watching)
        return WatchedNewestMailbox(feeders, tally, **watching)

    def _link(self, plan: LinkPlan, route: Any, tally: Tally) -> Link:
        plain: Any = super()._link(plan, route, tally)
        watching: dict[str, Any] = {"journal": self.journal, "life": self.life}
        if isinstance(plain, StreamLink):
            return WatchedStream(plain.number, plain.window, route, tally, plain.credit_came, **watching)
        if isinstance(plain, CallLink):
            return WatchedCall(plain.number, plain.most, route, tally, **watching)
        return WatchedNewest(plain.number, route, tally, **watching)

    def ports(self, node: NodePlan, rest: Rest) -> dict[str, Any]:
        return super().ports(node, Steps(rest, lambda: self.step(node.key)))
