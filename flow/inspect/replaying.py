"""Plays recordings into one node alone, in this process: what it does with them in a run it does here, under a debugger
if wanted.

    recording ──► In, Serve ──┐          ┌──► Out, Publish, answers, questions: told
    recording ──► Latest ─────┤   node   │
    recording ──► answers ────┴── Call ──┘

Ports that nothing is given for are closed: their streams have ended, nobody asks, nothing was published. Blocking work
is done in the loop, so that the same recording gives the same run and a debugger can follow.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from flow.computing import InTheLoop, current_threads
from flow.context import Context, Level, Live
from flow.credit import Window
from flow.errors import ControlError
from flow.inspect.resolved import ResolvedNode
from flow.links import CallLink, NewestLink, StreamLink
from flow.mailbox import NewestMailbox, QuestionMailbox, StreamMailbox
from flow.message import Message
from flow.port_spec import PortSpec
from flow.ports import Call, In, Latest, Out, Publish, Serve
from flow.saved import Saved
from flow.tally import Tally

UNBOUNDED = 1 << 62
Told = Callable[[str, str, Message], None]
"""Told a port, what passes it ("message", "question", "answer", "value"), and that."""


@dataclass
class Feed:
    """What is played into a port. taken: how many the node took."""

    messages: Iterator[Message]
    taken: int = 0

    def next(self) -> Message | None:
        """The next message, None after the last."""
        message = next(self.messages, None)
        self.taken += message is not None
        return message


@dataclass
class PlayedStream(StreamMailbox):
    """Takes each message from a recording when the node asks for it."""

    feed: Feed = field(default_factory=lambda: Feed(iter(())))

    async def take(self) -> Message:
        self._fill()
        return await super().take()

    def take_nowait(self) -> Message | None:
        self._fill()
        return super().take_nowait()

    def _fill(self) -> None:
        if not self.waiting:
            message = self.feed.next()
            if message is None:
                self.end(0)
            else:
                self.put(0, message, 0, lambda messages, size: None)


@dataclass
class PlayedQuestions(QuestionMailbox):
    """Asks each question of a recording when the node takes a batch; one a batch, as it may have been batched live."""

    feed: Feed = field(default_factory=lambda: Feed(iter(())))
    told: Callable[[Message], None] = lambda answer: None

    async def take(self, most: int) -> tuple[list[Any], str]:
        if not self.gathering.waiting:
            question = self.feed.next()
            if question is None:
                self.end(0)
            else:
                self.put(0, self.feed.taken, question, 0, self.told, lambda for_good: None)
        return await super().take(most)


@dataclass
class ToldRoute:
    """Where all that a node sends is told, and is at once taken."""

    tell: Callable[[Message], None]
    link: Any = None

    def data(self, sequence: int, message: Message) -> None:
        self.tell(message)
        self.link.credit(1, 0)

    def newest(self, generation: int, version: int, message: Message) -> None:
        self.tell(message)
        self.link.seen()

    def barrier(self, sequence: int, number: int) -> None:
        """Nobody makes a checkpoint of one node that is played to."""

    def end(self, sequence: int) -> None: ...


@dataclass
class AnsweredRoute(ToldRoute):
    """Answers each question with the next answer of a recording."""

    feed: Feed = field(default_factory=lambda: Feed(iter(())))
    port: str = ""

    def question(self, request: int, question: Message) -> None:
        self.tell(question)
        answer = self.feed.next()
        if answer is None:
            raise ControlError(
                f"nothing answers {self.port}, its question {request + 1}: record answers with flow record "
                f"{self.port} --answers, and give them with --feed {self.port.rpartition('.')[2]}=FILE"
            )
        self.link.answer(request, answer)


@dataclass
class Replay:
    """One node with recordings at its ports.

    feeds: by port. settings: of the node, complete. directory: its place for files, a fresh one. state: what it goes
    on from. told: hears what it sends.
    """

    node: ResolvedNode
    feeds: dict[str, Feed]
    directory: Path
    told: Told
    settings: dict[str, Any] = field(default_factory=dict)
    state: dict[str, Any] | None = None
    log: Callable[[str, Level], None] = lambda text, level: None

    def run(self) -> None:
        """Run the node until it ends. Whatever it raises is raised."""
        trio.run(self._run)

    async def _run(self) -> None:
        type_, plan = self.node.type, self.node.plan
        current_threads.set(InTheLoop(plan.key))
        keywords: dict[str, Any] = {
            name: Live(self.settings[name]) if setting.live else self.settings[name]
            for name, setting in type_.settings.items()
        }
        if type_.saved_parameter:
            keywords[type_.saved_parameter] = Saved(self.state)
        if type_.context_parameter:
            keywords[type_.context_parameter] = Context(
                plan.name,
                plan.replica,
                plan.replicas,
                plan.seed,
                self.directory,
                log=lambda text, level="info": self.log(text, level),
                number=plan.number,
            )
        await type_.function(*(self._port(name) for name in type_.ports), **keywords)

    def _port(self, name: str) -> Any:
        type_ = self.node.type
        port = type_.ports[name]
        spec = PortSpec(self.node.plan.name, name, port.messages, type_.port_sizes(name, self.settings))
        feed = Feed(iter(())) if port.kind in ("Out", "Publish") else self.feeds.setdefault(name, Feed(iter(())))

        def telling(what: str) -> Callable[[Message], None]:
            return lambda message: self.told(name, what, message)

        match port.kind:
            case "In":
                return In(spec, PlayedStream(1, feed=feed))
            case "Serve":
                return Serve(spec, PlayedQuestions(1, feed=feed, told=telling("answer")))
            case "Latest":
                return Latest(spec, self._newest(feed))
            case "Call":
                asked = AnsweredRoute(telling("question"), feed=feed, port=f"{self.node.plan.name}.{name}")
                asked.link = CallLink(0, UNBOUNDED, asked, Tally())
                return Call(spec, [asked.link])
        route = ToldRoute(telling("value" if port.kind == "Publish" else "message"))
        if port.kind == "Publish":
            route.link = NewestLink(0, route, Tally())
            return Publish(spec, [route.link])
        came = trio.lowlevel.ParkingLot()
        route.link = StreamLink(0, Window(UNBOUNDED, UNBOUNDED), route, Tally(), came)
        return Out(spec, [[route.link]], came)

    def _newest(self, feed: Feed) -> NewestMailbox:
        """All values were published before: the last is there."""
        mailbox = NewestMailbox()
        while (value := feed.next()) is not None:
            mailbox.put(0, 0, feed.taken, value, 0)
        mailbox.end(0)
        return mailbox
