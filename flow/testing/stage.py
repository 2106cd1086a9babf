"""The other ends of a node's ports, in memory: everything that passes is written down, and faults can be put in.

The same classes, links and mailboxes as in a run: only what carries is ours. `flow.testing.trial` plays a whole case
on a stage; `flow.testing.interactive` lets a test do it by hand.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar

import trio

from flow.carrier import memory
from flow.computing import WorkThreads
from flow.credit import Window
from flow.errors import MessageError
from flow.links import CallLink, NewestLink, StreamLink
from flow.mailbox import NewestMailbox, QuestionMailbox, StreamMailbox
from flow.message import Message
from flow.node_type import NodeType, Port
from flow.port_spec import PortSpec
from flow.ports import Call, In, Latest, Out, Publish, Serve
from flow.tally import Tally
from flow.testing.compare import digest
from flow.testing.memory_ports import UNBOUNDED, Listener

R = TypeVar("R")


class InjectedError(Exception):
    """A fault that a test put in."""


class InjectedFileError(InjectedError, OSError):
    """A file could not be opened, made, moved, removed or written, since a test put that in."""


@dataclass(frozen=True)
class Event:
    """Something that passed a port.

    kind: "taken" from an In, "sent" to an Out, "asked" by a Call, "answered" to a Serve, "published".
    number: which question an answer is to, or the version that was published.
    """

    kind: str
    port: str
    message: Any
    moment: float
    number: int = 0


@dataclass
class Faults:
    """Effects in the order in which they happen, and which of them fails.

    Within reach: sends, publications and calls of a node, the work it gives to `compute`, and what it does with files
    below its directory, as far as `flow.testing.files` hears of it.
    """

    fail_at: int = 0
    effects: list[str] = field(default_factory=list)
    raised: bool = False

    def effect(self, what: str, error: type[InjectedError] = InjectedError) -> None:
        """Count an effect; raises an InjectedError if it is the one to fail."""
        self.effects.append(what)
        if len(self.effects) == self.fail_at:
            self.raised = True
            raise error(f"injected at effect {self.fail_at}: {what}")

    def file(self, what: str) -> None:
        """Count what is done with a file; raises InjectedFileError if it is to fail."""
        self.effect(what, InjectedFileError)


class StageRest:
    """Knows at which port the node waits."""

    def __init__(self, stage: Stage, port: Port) -> None:
        self._stage, self._port = stage, port

    def __enter__(self) -> None:
        if self._port.kind in ("Out", "Call"):
            self._stage.faults.effect(f"{'send to' if self._port.kind == 'Out' else 'call of'} {self._port.name}")
        self._stage.waiting[self._port.name] = self._stage.waiting.get(self._port.name, 0) + 1
        self._stage.at_rest(self._port)

    def __exit__(self, *exc: object) -> None:
        self._stage.waiting[self._port.name] -= 1


@dataclass
class StageSpec(PortSpec):
    """Tells where what the node itself says does not conform."""

    sent: tuple[int, ...] = ()
    told: list[str] = field(default_factory=list)

    def check(self, message: Message, which: int = 0) -> None:
        try:
            super().check(message, which)
        except MessageError as error:
            if which in self.sent:
                self.told.append(str(error))
            raise


class StageThreads(WorkThreads):
    """Blocking work done in the loop, so that a seed fixes the run; it may fail where a test wants it to."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage.type.name)
        self._stage = stage

    async def run(self, thread: str, function: Callable[..., R], *arguments: Any) -> R:
        await trio.lowlevel.checkpoint()
        self._stage.faults.effect(f"compute of {getattr(function, '__qualname__', function)}")
        with self._stage.blocking:
            return function(*arguments)

    def ahead(self, name: str, function: Callable[[], R]) -> None:
        return None


class Blocking:
    """Whether blocking work goes on, which may use the clock and time that a loop may not."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self.depth, self.spent, self._clock, self._began = 0, 0.0, clock, 0.0

    def __enter__(self) -> None:
        self.depth += 1
        self._began = self._clock()

    def __exit__(self, *exc: object) -> None:
        self.depth -= 1
        self.spent += self._clock() - self._began


@dataclass
class TakenRoute(memory.StreamRoute):
    """To an `In`: tells when the node takes a message. What is sent here need not conform."""

    note: Callable[[Message], None] = lambda message: None

    def data(self, sequence: int, message: Message) -> None:
        link = self.link
        assert link is not None

        def taken(messages: int, size: int) -> None:
            self.note(message)
            link.credit(messages, 0)

        self.mailbox.put(link.number, message, 0, taken)


@dataclass
class GivenRoute(memory.NewestRoute):
    """To a `Latest`. What is given here need not conform."""

    def newest(self, generation: int, version: int, message: Message) -> None:
        assert self.link is not None
        self.mailbox.put(self.link.number, generation, version, message, 0)
        self.link.seen()


@dataclass
class SentRoute(memory.StreamRoute):
    """From an `Out`: tells of each message as it is sent."""

    note: Callable[[Message], None] = lambda message: None

    def data(self, sequence: int, message: Message) -> None:
        self.note(message)
        super().data(sequence, message)


class Stage:
    """The ports of one node and what lies at their other ends.

    events: what passed, in order. waiting: by port, how many tasks of the node wait there. links: by In, Serve, Latest
    port, what feeds it; by Out, Call, Publish port, what it feeds. mailboxes: by In, Serve, Latest, Out and Call port,
    where its messages or questions arrive. credit: messages that may be under way in a stream.
    """

    def __init__(
        self,
        node_type: NodeType[Any],
        settings: dict[str, Any],
        *,
        fail_at: int = 0,
        credit: int = 1,
        clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self.type, self.settings, self.credit = node_type, settings, credit
        self.faults = Faults(fail_at)
        self.blocking = Blocking(clock)
        self.threads = StageThreads(self)
        self.events: list[Event] = []
        self.digests: list[bytes] = []  # of what it said, as it was then
        self.digesting = False
        self.nonconforming: list[str] = []
        self.waiting: dict[str, int] = {}
        self.links: dict[str, Any] = {}
        self.mailboxes: dict[str, Any] = {}
        self.came: dict[str, trio.lowlevel.ParkingLot] = {}
        self.when_resting: Callable[[Port], None] = lambda port: None
        self.deaf = False  # the node was killed: what it still says nobody hears
        for port in node_type.ports.values():
            getattr(self, f"_{port.kind.lower()}")(port)

    def note(self, kind: str, port: str, message: Any, number: int = 0) -> None:
        """Write down what passed."""
        if not self.deaf:
            self.events.append(Event(kind, port, message, trio.current_time(), number))
            self.digests.append(digest(message) if self.digesting and kind != "taken" else b"")

    def at_rest(self, port: Port) -> None:
        self.when_resting(port)

    def ports(self) -> dict[str, Any]:
        """New port objects for a start of the node, over what lies at their other ends."""
        return {port.name: self._port(port) for port in self.type.ports.values()}

    def _port(self, port: Port) -> Any:
        sizes = self.type.port_sizes(port.name, self.settings)
        sent = {"Out": (0,), "Publish": (0,), "Call": (0,), "Serve": (1,)}.get(port.kind, ())
        rest = StageRest(self, port)
        name = self.type.name
        spec = StageSpec(name, port.name, port.messages, sizes, rest=rest, sent=sent, told=self.nonconforming)
        if port.kind == "Out":
            return Out(spec, [[self.links[port.name]]], self.came[port.name])
        if port.kind == "Call":
            return Call(spec, [self.links[port.name]])
        if port.kind == "Publish":
            return Publish(spec, [self.links[port.name]])
        kinds: dict[str, Any] = {"In": In, "Serve": Serve, "Latest": Latest}
        return kinds[port.kind](spec, self.mailboxes[port.name])

    def _in(self, port: Port) -> None:
        mailbox = StreamMailbox(1)
        route = TakenRoute(mailbox, note=lambda message: self.note("taken", port.name, message))
        self._stream(port, mailbox, route)

    def _out(self, port: Port) -> None:
        mailbox = StreamMailbox(1)
        route = SentRoute(mailbox, note=lambda message: self.note("sent", port.name, message))
        self._stream(port, mailbox, route)

    def _stream(self, port: Port, mailbox: StreamMailbox, route: memory.StreamRoute) -> None:
        self.came[port.name] = trio.lowlevel.ParkingLot()
        window = Window(self.credit, UNBOUNDED)
        route.link = StreamLink(0, window, route, Tally(), self.came[port.name])
        self.links[port.name], self.mailboxes[port.name] = route.link, mailbox

    def _call(self, port: Port) -> None:
        mailbox = QuestionMailbox(1)
        route = memory.CallRoute(mailbox)
        route.link = CallLink(0, 64, route, Tally())
        self.links[port.name], self.mailboxes[port.name] = route.link, mailbox

    _serve = _call

    def _latest(self, port: Port) -> None:
        mailbox = NewestMailbox()
        route = GivenRoute(mailbox)
        route.link = NewestLink(0, route, Tally())
        self.links[port.name], self.mailboxes[port.name] = route.link, mailbox

    def _publish(self, port: Port) -> None:
        def tell(version: int, message: Message) -> None:
            self.faults.effect(f"publish to {port.name}")
            self.note("published", port.name, message, version)

        route = Listener(tell)
        route.link = NewestLink(0, route, Tally())
        self.links[port.name] = route.link

    async def send(self, port: str, message: Message) -> None:
        """Send to an In, waiting for credit."""
        link: StreamLink = self.links[port]
        while not link.window.fits(0):
            await self.came[port].park()
        link.send(message, 0)
        await trio.lowlevel.checkpoint()

    async def take(self, port: str) -> Message:
        """The next message of an Out. Raises `trio.EndOfChannel` when the node has ended it."""
        message: Message = await self.mailboxes[port].take()
        return message

    async def ask(self, port: str, question: Message, number: int = 0) -> Message:
        """Ask a Serve."""
        link: CallLink = self.links[port]
        answer = await link.ask(question, 0)
        self.note("answered", port, answer, number)
        return answer

    def end(self, port: str) -> None:
        """No more comes to an In, a Serve or a Latest."""
        self.links[port].end()
