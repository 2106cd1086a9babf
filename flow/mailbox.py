"""The receiving ends of links: what a carrier puts messages into, and a node's ports take them from.

A mailbox outlives its node: when a node is started again in its worker, what was delivered and not yet taken is
still there. Everything here runs in one trio loop, so nothing needs a lock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import trio

from flow.barrier import Barriers, Entry, Logged, Taken
from flow.batch import Asked, Gathering, rows_of
from flow.message import Message
from flow.tally import Tally

# A task that never waits, since messages or credit are always there, yields all the same once in so many messages: to
# do so at each is a third of a message's cost. Cancellation is heeded at each.
YIELD_EVERY = 16

# In place of a message's bytes where it came out of a checkpoint: it was counted as it was sent.
RESTORED = -1

Fail = Callable[[bool], None]
"""Told that a question will not be answered; true if asking again is no use, since the server ended."""


@dataclass
class StreamMailbox:
    """Messages of all producers of an `In` port, in order of arrival; each producer's are in its own order."""

    producers: int
    tally: Tally = field(default_factory=Tally)
    tallies: dict[int, Tally] = field(default_factory=dict)
    waiting: deque[Entry] = field(default_factory=deque)
    ended: set[int] = field(default_factory=set)
    closed: bool = False
    barriers: Barriers = field(default_factory=Barriers)
    takers: int = 0
    link: int = -1  # of what was taken last, for a trace, with its sequence number there
    sequence: int = -1
    _arrival: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)
    _until_yield: int = 0

    def close(self) -> None:
        """The node ended and will take no more: what waits and what still comes is dropped, so that no sender waits."""
        self.closed = True
        self._release(self.barriers.let_all_go())
        while self.waiting:
            link, _, size, taken, _ = self.waiting.popleft()
            self._drop(link, size, taken)

    def _drop(self, link: int, size: int, taken: Taken) -> None:
        if size != RESTORED:
            self.tally_of(link).dropped.add()
        taken(1, size)

    def tally_of(self, link: int) -> Tally:
        """What counts the messages of a link: several edges may lead to one port."""
        return self.tallies.get(link, self.tally)

    def put(self, link: int, message: Message, size: int, taken: Taken, sequence: int = -1) -> None:
        self._accept((link, message, size, taken, sequence))

    def _accept(self, entry: Entry) -> None:
        if self.barriers.number and self.barriers.keeps(entry):
            return
        if self.closed:
            self._drop(entry[0], entry[2], entry[3])
            return
        self.waiting.append(entry)
        self._arrival.unpark()

    def restore(self, log: list[Logged]) -> None:
        """Put what was under way as a checkpoint was made before all that comes."""
        self.waiting.extendleft((link, message, RESTORED, _nobody, -1) for link, message in reversed(log))
        self._arrival.unpark_all()

    # Barriers

    def barrier(self, link: int, number: int) -> None:
        """A barrier came on a link: what comes behind it waits until the node's state is taken."""
        if self.closed and not self.barriers.was_cut:
            return
        self._release(self.barriers.came(link, number))
        self.barriers.changed()

    @property
    def before_cut(self) -> bool:
        """Whether there is nothing left that the node has to take before its state is."""
        barriers = self.barriers
        return barriers.stops(self.ended) and all(entry[0] in barriers.feedback for entry in self.waiting)

    @property
    def is_stuck(self) -> bool:
        """Whether somebody waits here for what comes behind barriers alone."""
        barriers = self.barriers
        waits = bool(self.takers) and not self.waiting
        return waits and bool(barriers.behind) and barriers.stops(self.ended)

    @property
    def is_over(self) -> bool:
        """Whether all producers have ended, and everything was taken."""
        return len(self.ended) >= self.producers and not self.waiting and not self.barriers.held

    def cut(self, number: int) -> None:
        """The node's state is taken now, for this attempt at a checkpoint."""
        if self.barriers.number != number:
            self._release(self.barriers.begin(number))
        self._release(self.barriers.cut([(link, message) for link, message, *_ in self.waiting], self.ended))

    def give_up(self, number: int) -> None:
        """This attempt at a checkpoint is over: what it held back goes on."""
        self._release(self.barriers.give_up(number))

    def _release(self, items: list[Entry | int]) -> None:
        for item in items:
            if isinstance(item, int):
                self.end(item)
            else:
                self._accept(item)

    def queued(self) -> list[Message]:
        """What waits to be taken, next first."""
        return [message for _, message, _, _, _ in self.waiting]

    def end(self, link: int) -> None:
        """This producer will send no more."""
        if self.barriers.number and self.barriers.keeps_end(link):
            return
        self.ended.add(link)
        self._arrival.unpark_all()
        self.barriers.changed()

    def reopen(self, link: int) -> None:
        """This producer was started again."""
        self.ended.discard(link)
        self._release(self.barriers.let_go(link))
        self.ended.discard(link)

    async def take(self) -> Message:
        """The next message. Raises `trio.EndOfChannel` when all producers have ended and nothing waits."""
        if self.waiting:
            if self._until_yield:
                self._until_yield -= 1
                await trio.lowlevel.checkpoint_if_cancelled()
            else:
                self._until_yield = YIELD_EVERY - 1
                await trio.lowlevel.checkpoint()
        while not self.waiting:
            if len(self.ended) >= self.producers:
                raise trio.EndOfChannel
            with self.tally.waiting:
                await self._wait()
        message = self.take_nowait()
        assert message is not None
        return message

    async def _wait(self) -> None:
        """Until something comes, or the last producer ends."""
        self.takers += 1
        try:
            if self.barriers.number:  # who waits for what is behind a barrier alone is where its state is taken
                self.barriers.changed()
            if not self.waiting and len(self.ended) < self.producers:
                await self._arrival.park()
        finally:
            self.takers -= 1

    def take_nowait(self) -> Message | None:
        """The next message, None if none waits."""
        if not self.waiting:
            return None
        link, message, size, taken, self.sequence = self.waiting.popleft()
        self.link = link
        if self.waiting:
            self._arrival.unpark()
        if size != RESTORED:
            self.tally_of(link).add(size)
        taken(1, size)
        return message


def _nobody(messages: int, size: int) -> None:
    """Nobody's credit: the message came out of a checkpoint."""


@dataclass
class QuestionMailbox:
    """Questions of all callers of a `Serve` port."""

    callers: int
    tally: Tally = field(default_factory=Tally)
    tallies: dict[int, Tally] = field(default_factory=dict)  # by link: several edges may lead to one port
    gathering: Gathering[Message, Message] = field(default_factory=Gathering)
    unanswered: dict[tuple[int, int], Fail] = field(default_factory=dict)
    ended: set[int] = field(default_factory=set)
    closed: bool = False
    _arrival: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    def put(
        self,
        link: int,
        request: int,
        question: Message,
        size: int,
        reply: Callable[[Message], None],
        fail: Fail,
    ) -> None:
        """A question arrived. `reply` takes its answer; `fail` says that there will be none."""
        tally = self.tallies.get(link, self.tally)
        if self.closed:
            tally.dropped.add()
            fail(True)
            return
        tally.add(size)
        self.unanswered[link, request] = fail

        def answered(answer: Message) -> None:
            # A caller that was started again counts its requests from 0: an answer to the old one is not its own.
            if self.unanswered.get((link, request)) is fail:
                del self.unanswered[link, request]
                reply(answer)

        self.gathering.add(Asked(question, rows_of(question), answered, (link, request)))
        self._arrival.unpark()

    def queued(self) -> list[Message]:
        """The questions that wait for a batch, next first."""
        return [asked.question for asked in self.gathering.waiting]

    def end(self, link: int) -> None:
        """This caller will ask no more."""
        self.ended.add(link)
        self._arrival.unpark_all()

    def reopen(self, link: int) -> None:
        self.ended.discard(link)

    def fail_all(self, *, for_good: bool = False) -> None:
        """The serving node died: whoever waits for an answer is told."""
        self.gathering.waiting.clear()
        failed, self.unanswered = list(self.unanswered.values()), {}
        for fail in failed:
            fail(for_good)

    def close(self) -> None:
        """The serving node ended: nobody who asks gets an answer any more."""
        self.closed = True
        self.fail_all(for_good=True)

    async def take(self, most: int) -> tuple[list[Asked[Message, Message]], str]:
        """All groups that wait, up to `most` rows. Raises `trio.EndOfChannel` when all callers have ended."""
        if self.gathering.waiting:
            await trio.lowlevel.checkpoint()
        while not self.gathering.waiting:
            if len(self.ended) >= self.callers:
                raise trio.EndOfChannel
            with self.tally.waiting:
                await self._arrival.park()
        taken = self.gathering.take(most)
        if self.gathering.waiting:  # for another serving task, which was woken by none of them
            self._arrival.unpark()
        return taken


@dataclass
class NewestMailbox:
    """The newest value of a `Latest` port; -1 is the version of none.

    generations: by link, which start of its publisher was heard last. One that goes on from an older checkpoint
    begins with versions that were seen before, and they count.
    """

    publishers: int = 1
    tally: Tally = field(default_factory=Tally)
    tallies: dict[int, Tally] = field(default_factory=dict)  # by link
    newest: Message | None = None
    version: int = -1
    generations: dict[int, int] = field(default_factory=dict)
    link: int = -1  # that the newest came by
    ended: set[int] = field(default_factory=set)
    _arrival: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    def put(self, link: int, generation: int, version: int, message: Message, size: int) -> None:
        """A value arrived. One older than what is here is dropped: two publishers' values may cross."""
        began_again = generation > self.generations.get(link, generation)
        self.generations[link] = generation
        tally = self.tallies.get(link, self.tally)
        if version < self.version and not began_again:
            tally.dropped.add()
            return
        tally.add(size)
        self.newest, self.version, self.link = message, version, link
        self._arrival.unpark_all()

    def queued(self) -> list[Message]:
        """The newest value, if there is one."""
        return [] if self.newest is None else [self.newest]

    def end(self, link: int) -> None:
        """This publisher has no more values."""
        self.ended.add(link)
        self._arrival.unpark_all()

    def reopen(self, link: int) -> None:
        """The publisher's worker was started again."""
        self.ended.discard(link)
        if link in self.generations:
            self.generations[link] = -1

    def close(self) -> None:
        """The node ended. What still comes replaces what is here; nobody waits for it to be read."""

    async def wait(self, newer_than: int) -> Message:
        """The newest value once it is newer than a version. Raises `trio.EndOfChannel` when there will be none."""
        await trio.lowlevel.checkpoint()
        while self.newest is None or self.version <= newer_than:
            if len(self.ended) >= self.publishers:
                raise trio.EndOfChannel
            with self.tally.waiting:
                await self._arrival.park()
        return self.newest


Mailbox = StreamMailbox | QuestionMailbox | NewestMailbox
