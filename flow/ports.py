"""The ports a node talks through.

| port                         | other end  | meaning                                              |
| `In[M]` / `Out[M]`           | each other | a stream: ordered per producer, bounded, lossless    |
| `Call[Q, A]` / `Serve[Q, A]` | each other | request and answer, served in batches of all callers |
| `Publish[M]` / `Latest[M]`   | each other | the newest value wins                                |

A port that a test makes and one that spans processes are the same classes: what differs is the route behind
their links.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from time import perf_counter, perf_counter_ns
from typing import Any, Generic, TypeVar, cast

import trio

from flow.batch import Batch, Staging, bucket_for, powers_of_two
from flow.deterministic import aligned
from flow.links import CallLink, NewestLink, StreamLink
from flow.mailbox import YIELD_EVERY, NewestMailbox, QuestionMailbox, StreamMailbox
from flow.message import Message, as_library, freeze, size_in_bytes
from flow.port_spec import PortSpec
from flow.tally import Count

M = TypeVar("M", bound=Message)
Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)


class In(Generic[M]):
    """Receives a stream: `async for message in port`, or `await port.receive()`."""

    def __init__(self, spec: PortSpec, mailbox: StreamMailbox) -> None:
        self._spec = spec
        self._mailbox = mailbox
        self._handling = spec.measures.handling

    @property
    def message_type(self) -> type[M]:
        """What comes: where the port takes any message, the type that its edges decided."""
        return cast(type[M], self._spec.messages[0])

    def __aiter__(self) -> In[M]:
        return self

    async def __anext__(self) -> M:
        try:
            return await self.receive()
        except trio.EndOfChannel:
            raise StopAsyncIteration from None

    async def receive(self) -> M:
        """The next message. Raises `trio.EndOfChannel` when every producer has ended."""
        handling = self._handling
        if handling is not None and handling.timed:
            handling.done()
        spec = self._spec
        if spec.watch is not None:
            await spec.watch.before_take()
        with spec.rest:
            message = await self._mailbox.take()
        if spec.watch is not None:
            await spec.watch.took(message, "message", ((self._mailbox.link, self._mailbox.sequence),))
        if handling is not None:
            if handling.skip:
                handling.skip -= 1
            else:
                handling.began()
        spec.check(message)  # against this end's sizes, which the sender's may not fix
        if spec.aligned:
            message = aligned(message)
        return cast(M, as_library(message))

    def receive_nowait(self) -> M | None:
        """The next message, or None if none waits now."""
        message = self._mailbox.take_nowait()
        if message is None:
            return None
        if self._spec.watch is not None:
            self._spec.watch.took_at_once(message, (self._mailbox.link, self._mailbox.sequence))
        self._spec.check(message)
        if self._spec.aligned:
            message = aligned(message)
        return cast(M, as_library(message))


class Out(Generic[M]):
    """Sends a stream. Where an edge says `copy` each receiver gets every message, where it says `share` one does."""

    def __init__(self, spec: PortSpec, groups: Sequence[Sequence[StreamLink]], credit_came: Any) -> None:
        # A group is the links among which a message is shared; each group gets every message.
        self._spec = spec
        self._groups = [list(group) for group in groups]
        self._credit_came: trio.lowlevel.ParkingLot = credit_came
        self._handling = spec.measures.handling
        self._turns = [0 for _ in groups]
        self._all = [link for group in groups for link in group]
        self._until_yield = 0

    @property
    def message_type(self) -> type[M]:
        """What goes: where the port sends any message, the type that its edges or its node decided."""
        return cast(type[M], self._spec.messages[0])

    async def send(self, message: M) -> None:
        """Send a message, waiting while its receivers are behind. Its arrays are read-only from here on.

        Raises:
          MessageError: the message does not conform to the port's type.
        """
        handling = self._handling
        if handling is not None and handling.timed:
            handling.done()
        spec = self._spec
        if spec.watch is not None:
            await spec.watch.before_send()
        spec.check(message)
        freeze(message)
        size = size_in_bytes(message)
        with spec.rest:  # the message is not sent yet: a source that never waits for credit rests here
            if self._until_yield:
                self._until_yield -= 1
                await trio.lowlevel.checkpoint_if_cancelled()
            else:
                self._until_yield = YIELD_EVERY - 1
                await trio.lowlevel.checkpoint()
        # To all groups at once or to none: a send that is cancelled while it waits has sent nothing.
        links = await self._free_links(size)
        watch = spec.watch
        if watch is not None:
            watch.sending((link.number, link.sequence) for link in links)
        for link in links:
            link.send(message, size)
        if watch is not None:
            watch.passed(message, "message")
        if handling is not None:
            if handling.skip:
                handling.skip -= 1
            else:
                handling.began()

    async def _free_links(self, size: int) -> list[StreamLink]:
        """A link with room in each group, once every group has one."""
        if len(self._all) == 1 and self._all[0].window.fits(size):  # as most ports are, most of the time
            return self._all
        while True:
            free = [self._free_link(index, size) for index in range(len(self._groups))]
            links = [link for link in free if link is not None]
            if len(links) == len(free):
                break
            behind = self._groups[free.index(None)][0]
            since = perf_counter_ns()
            with behind.tally.waiting, self._spec.rest:
                await self._credit_came.park()
            if self._spec.watch is not None:
                self._spec.watch.blocked(since)
        for index, link in enumerate(links):
            self._turns[index] = self._groups[index].index(link) + 1
        return links

    def _free_link(self, index: int, size: int) -> StreamLink | None:
        group, turn = self._groups[index], self._turns[index]
        in_turn = (group[(turn + step) % len(group)] for step in range(len(group)))
        return next((link for link in in_turn if link.window.fits(size)), None)

    def end(self) -> None:
        """Say that no more will come; the runtime does so when the node returns."""
        for group in self._groups:
            for link in group:
                link.end()


class Call(Generic[Q, A]):
    """Asks a server: `answer = await port(question)`."""

    def __init__(self, spec: PortSpec, links: Sequence[CallLink]) -> None:
        self._spec = spec
        self._links = list(links)

    async def __call__(self, question: Q) -> A:
        """The server's answer to a group of rows. Among replicas the one with fewest requests under way is asked.

        Raises:
          MessageError: the question does not conform to the port's type.
          PeerRestarted: the server was restarted before it answered, and the question is not repeatable.
        """
        spec = self._spec
        if spec.watch is not None:
            await spec.watch.before_ask()
        spec.check(question)
        freeze(question)
        if spec.watch is not None:
            spec.watch.asking(question)
        link = min(self._links, key=lambda link: len(link.pending))
        began = perf_counter()
        with spec.rest:
            answer = await link.ask(question, size_in_bytes(question), spec.watch)
        if spec.measures.answer_us is not None:
            spec.measures.answer_us.add(int(1e6 * (perf_counter() - began)))
        if spec.watch is not None:
            spec.watch.answered(answer)
        spec.check(answer, 1)  # against this end's sizes, which the server's may not fix
        return cast(A, as_library(answer))

    def end(self) -> None:
        for link in self._links:
            link.end()


class Serve(Generic[Q, A]):
    """Serves callers in batches: `async for batch in port.batches(most=256)`."""

    def __init__(self, spec: PortSpec, mailbox: QuestionMailbox) -> None:
        self._spec = spec
        self._mailbox = mailbox

    @property
    def answer_type(self) -> type[A]:
        """What is answered: where the port answers with any message, the type that its edges or its node decided."""
        return cast(type[A], self._spec.messages[1])

    def batches(self, *, most: int = 256, buckets: Sequence[int] | None = None) -> AsyncIterator[Batch[Q, A]]:
        """Batches of all callers' questions, until every caller has ended.

        Args:
          most: rows of a batch; a single question with more goes alone.
          buckets: sizes that batches are padded to; powers of two up to `most` if not given.
        """
        sizes = tuple(sorted(buckets)) if buckets is not None else powers_of_two(most)
        return _Batches(self._spec, self._mailbox, most, sizes)


class _Batches(Generic[Q, A]):
    # No generator: one that a failed or cancelled node leaves half-way is found by the garbage collector, which
    # trio warns of.
    def __init__(self, spec: PortSpec, mailbox: QuestionMailbox, most: int, sizes: tuple[int, ...]) -> None:
        self._spec = spec
        self._mailbox = mailbox
        self._most = most
        self._sizes = sizes
        self._staging = Staging()

    def __aiter__(self) -> _Batches[Q, A]:
        return self

    async def __anext__(self) -> Batch[Q, A]:
        measures = self._spec.measures
        if measures.handling is not None and measures.handling.timed:
            measures.handling.done()
        if self._spec.watch is not None:
            await self._spec.watch.before_take()
        try:
            with self._spec.rest:
                asked, reason = await self._mailbox.take(self._most)
        except trio.EndOfChannel:
            raise StopAsyncIteration from None
        for group in asked:
            self._spec.check(group.question)
        rows = sum(group.rows for group in asked)
        if measures.batch_rows is not None:
            measures.batch_rows.add(rows)
        if measures.handling is not None:
            measures.handling.began()
        questions = self._staging.gather([group.question for group in asked], rows, bucket_for(rows, self._sizes))
        if self._spec.watch is not None:
            await self._spec.watch.took(questions, "batch", [group.came for group in asked], rows, reason)
        return CheckedBatch(self._spec, cast(Any, asked), cast(Q, as_library(questions)), reason)


class CheckedBatch(Batch[Q, A]):
    """A batch whose answers are held to the port's type."""

    def __init__(self, spec: PortSpec, asked: list[Any], questions: Q, reason: str) -> None:
        super().__init__(asked, questions, reason)
        self._spec = spec

    def answer(self, answers: A) -> None:
        self._spec.check(answers, 1)
        watch = self._spec.watch
        if watch is not None:
            watch.answering(group.came for group in self.asked)
        super().answer(answers)
        if watch is not None:
            watch.batch_answered()

    def _apart(self, answers: A) -> A:
        answers = super()._apart(answers)
        # Not before: answers may be the questions themselves, whose memory the next batch is gathered into.
        freeze(answers)
        return answers


class Publish(Generic[M]):
    """Publishes values of which only the newest counts: weights, statistics, schedules."""

    def __init__(self, spec: PortSpec, links: Sequence[NewestLink]) -> None:
        self._spec = spec
        self._links = list(links)
        for link in self._links:  # a port is made at each start of its node
            link.generation += 1

    async def publish(self, message: M, version: int) -> None:
        """Make this the newest value. Never waits for a reader.

        Args:
          version: grows from one value to the next, also across restarts: the count of updates, for instance.
        """
        self.publish_nowait(message, version)
        await trio.lowlevel.checkpoint()

    def publish_nowait(self, message: M, version: int) -> None:
        """As `publish`, without letting others run."""
        self._spec.check(message)
        freeze(message)
        size = size_in_bytes(message)
        watch = self._spec.watch
        if watch is not None:
            watch.publishing((link.number, version) for link in self._links)
        for link in self._links:
            link.publish(version, message, size)
        if watch is not None:
            watch.published(message)

    def end(self) -> None:
        for link in self._links:
            link.end()


class Latest(Generic[M]):
    """Reads the newest value. version: its version, -1 before the first."""

    def __init__(self, spec: PortSpec, mailbox: NewestMailbox) -> None:
        self._spec = spec
        self._mailbox = mailbox
        self._checked: Message | None = None  # a value is read again and again

    @property
    def version(self) -> int:
        return self._mailbox.version

    @property
    def newest(self) -> M | None:
        """The newest value, None before the first."""
        newest = self._mailbox.newest
        if newest is not self._checked and newest is not None:
            self._spec.check(newest)
            if self._spec.watch is not None:
                self._spec.watch.read(self._mailbox.link, self._mailbox.version)
        self._checked = newest
        return None if newest is None else cast(M, as_library(newest))

    async def wait(self, newer_than: int = -1) -> M:
        """The newest value once its version is above `newer_than`. Raises `trio.EndOfChannel` if none will come."""
        with self._spec.rest:
            await self._mailbox.wait(newer_than)
        return cast(M, self.newest)


def counts_of(port: Any) -> list[Count]:
    """What together counts the messages of a stream, or the values, that passed a port; none if nothing does.

    Of questions and answers there are batches, which nothing here counts.
    """
    links: Sequence[StreamLink | NewestLink] = ()
    if isinstance(port, In):
        # Of several edges each may have a count, or all share the port's.
        tallies = (port._mailbox.tally, *port._mailbox.tallies.values())
        return list({id(tally.messages): tally.messages for tally in tallies}.values())
    if isinstance(port, Out):
        links = port._groups[0] if port._groups else ()  # each group gets every message
    elif isinstance(port, Publish):
        links = port._links[:1]  # each link gets every value
    return [link.tally.messages for link in links]
