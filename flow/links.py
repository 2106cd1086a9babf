"""The sending ends of links. A link joins one replica's port to one replica's port.

    Out ──► StreamLink ──► route ──► StreamMailbox ──► In
                 ▲ credit ◄──────────────┘

A route is how a carrier moves things; a link is what both carriers share: credit, sequence numbers, the requests
under way, the newest value not yet sent. Everything here runs in one trio loop.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

import trio

from flow.credit import Window
from flow.errors import PeerRestarted
from flow.message import Message
from flow.tally import Tally

DEATHS_MAX = 3
"""At so many deaths of its server in a row a question is taken for their cause, as Dask's scheduler does."""


class StreamRoute(Protocol):
    """A carrier's way from a stream's link to its mailbox. No call waits: credit bounds what is under way."""

    def data(self, sequence: int, message: Message) -> None: ...
    def barrier(self, sequence: int, number: int) -> None: ...
    def end(self, sequence: int) -> None: ...


class CallRoute(Protocol):
    """A carrier's way from a caller's link to the server's mailbox."""

    def question(self, request: int, question: Message) -> None: ...
    def end(self, sequence: int) -> None: ...


class AskWatch(Protocol):
    """Told which number a question got, as it goes out."""

    def asked(self, link: int, request: int) -> None: ...


class NewestRoute(Protocol):
    """A carrier's way from a publisher's link to a reader's mailbox."""

    def newest(self, generation: int, version: int, message: Message) -> None: ...
    def end(self, sequence: int) -> None: ...


@dataclass
class StreamLink:
    """Sends a stream's messages as credit allows. credit_came: parks senders of all links of one port."""

    number: int
    window: Window
    route: StreamRoute
    tally: Tally
    credit_came: trio.lowlevel.ParkingLot
    sequence: int = 0
    ended: bool = False

    def send(self, message: Message, size: int) -> None:
        """Hand over a message that fits the window."""
        self.window.spend(size)  # first: one for a node of this worker that has ended comes back at once
        # Counted before it goes: a sender killed in between must not have sent more than it says.
        self.tally.add(size)
        try:
            self.route.data(self.sequence, message)
        except BaseException:  # one that the carrier refuses is not under way
            self.tally.take_back(size)
            self.window.give_back(1, size)
            raise
        self.sequence += 1

    def credit(self, messages: int, size: int) -> None:
        self.window.give_back(messages, size)
        self.credit_came.unpark_all()

    def barrier(self, number: int) -> None:
        """Send a barrier behind what was sent. It needs no credit: a full window must not hold up a checkpoint."""
        if not self.ended:
            self.route.barrier(self.sequence, number)

    def end(self) -> None:
        if not self.ended:
            self.ended = True
            self.route.end(self.sequence)

    def receiver_restarted(self) -> None:
        """What was under way died with the receiver or was taken just before; the window is whole again."""
        self.tally.unsettled.add(self.window.reset())
        self.sequence = 0
        self.credit_came.unpark_all()
        if self.ended:
            self.route.end(self.sequence)


@dataclass
class Pending:
    """A request under way."""

    question: Message
    answer: Message | None = None
    over: bool = False
    deaths: int = 0  # of its server, since it was first asked
    _caller: trio.lowlevel.Task | None = None

    def end(self, answer: Message | None) -> None:
        """It is answered; with None, it will not be."""
        self.answer, self.over = answer, True
        if self._caller is not None:
            trio.lowlevel.reschedule(self._caller)
            self._caller = None

    async def wait(self) -> None:
        """Until it is over. There is one who waits, so that no event with its set of waiters is needed."""
        if self.over:
            await trio.lowlevel.checkpoint()
            return
        self._caller = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._cancelled)

    def _cancelled(self, _: object) -> trio.lowlevel.Abort:
        self._caller = None
        return trio.lowlevel.Abort.SUCCEEDED


@dataclass
class CallLink:
    """Asks one server. Waits for a place when `most` requests are under way."""

    number: int
    most: int
    route: CallRoute
    tally: Tally
    requests: int = 0
    pending: dict[int, Pending] = field(default_factory=dict)
    orphans: int = 0  # answers nobody waits for any more
    ended: bool = False
    _place: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    async def ask(self, question: Message, size: int, watch: AskWatch | None = None) -> Message:
        """The server's answer.

        Raises:
          PeerRestarted: the server was started again before it answered and the question is not repeatable.
        """
        with self.tally.waiting:
            while len(self.pending) >= self.most:
                await self._place.park()
            request, pending = self.requests, Pending(question)
            self.requests += 1
            self.pending[request] = pending
            try:
                if watch is not None:
                    watch.asked(self.number, request)
                self.route.question(request, question)
                self.tally.add(size)
                await pending.wait()
            finally:
                self.pending.pop(request, None)
                self._place.unpark()
                self.tally.answered.add()
        if pending.answer is None and pending.deaths >= DEATHS_MAX:
            raise PeerRestarted(
                f"its server died {DEATHS_MAX} times in a row with this {type(question).__name__} under way: "
                "it may be what the server dies of, and is not asked again"
            )
        if pending.answer is None:
            raise PeerRestarted(
                f"the server ended or was restarted before it answered a {type(question).__name__}; if asking twice "
                "does no harm, declare that message with `repeatable=True`, and a restart goes unnoticed"
            )
        return pending.answer

    def answer(self, request: int, answer: Message) -> None:
        pending = self.pending.get(request)
        if pending is None or pending.over:
            self.orphans += 1
            return
        pending.end(answer)

    def failure(self, request: int, for_good: bool = False) -> None:
        """The server died with this request: ask again where that does no harm, unless it ended for good."""
        pending = self.pending.get(request)
        if pending is None or pending.over:
            return
        pending.deaths += 1
        if pending.question.repeatable and not for_good and pending.deaths < DEATHS_MAX:
            self.tally.add(0)
            self.route.question(request, pending.question)
        else:
            pending.end(None)

    def receiver_restarted(self) -> None:
        for request in list(self.pending):
            self.failure(request)
        if self.ended:
            self.route.end(self.requests)

    def end(self) -> None:
        if not self.ended:
            self.ended = True
            self.route.end(self.requests)


@dataclass
class NewestLink:
    """Sends published values, one at a time: while one is under way only the newest after it is kept.

    generation: how often the publishing node was started in this worker.
    """

    number: int
    route: NewestRoute
    tally: Tally
    sent: tuple[int, int, Message] | None = None
    under_way: bool = False
    next: tuple[int, int, Message] | None = None
    generation: int = 0
    ended: bool = False

    def publish(self, version: int, message: Message, size: int) -> None:
        self.tally.add(size)
        if self.under_way:
            if self.next is not None:
                self.tally.dropped.add()
            self.next = (self.generation, version, message)
        else:
            self._send(self.generation, version, message)

    def _send(self, generation: int, version: int, message: Message) -> None:
        self.under_way = True
        self.sent = (generation, version, message)
        self.route.newest(generation, version, message)

    def seen(self) -> None:
        self.under_way = False
        if self.next is not None:
            newest, self.next = self.next, None
            self._send(*newest)
        elif self.ended:
            self.route.end(0)

    def receiver_restarted(self) -> None:
        self.tally.unsettled.add(self.under_way)
        newest = self.next or self.sent
        self.under_way, self.next = False, None
        if newest is not None:
            self.tally.add(0)
            self._send(*newest)
        elif self.ended:
            self.route.end(0)

    def end(self) -> None:
        """After the last value: a reader sees the end only when it has what was published before."""
        if not self.ended:
            self.ended = True
            if not self.under_way:
                self.route.end(0)


Link = StreamLink | CallLink | NewestLink
