"""Ports made in memory, without a runtime: the same classes, links and carrier that join nodes of one worker."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import trio

from flow.carrier import memory
from flow.credit import Window
from flow.links import CallLink, NewestLink, StreamLink
from flow.mailbox import NewestMailbox, QuestionMailbox, StreamMailbox
from flow.message import Message, Sizes
from flow.port_spec import PortSpec
from flow.ports import Call, In, Latest, Out, Publish, Serve
from flow.tally import Tally

UNBOUNDED = 1 << 62


@dataclass(frozen=True)
class Ends:
    """Which node and port the two ends of an edge say they are, and the sizes that the node's settings fix."""

    node: str = "test"
    port: str = "port"
    sizes: Sizes = field(default_factory=dict)

    def spec(self, *messages: type[Message]) -> PortSpec:
        return PortSpec(self.node, self.port, messages, self.sizes)


def stream(
    message: type[Message], *, credit: int = 1, credit_bytes: int = UNBOUNDED, ends: Ends | None = None
) -> tuple[Out[Any], In[Any]]:
    """An `Out` joined to an `In`."""
    spec = (ends or Ends()).spec(message)
    mailbox = StreamMailbox(1)
    route = memory.StreamRoute(mailbox)
    came = trio.lowlevel.ParkingLot()
    route.link = StreamLink(0, Window(credit, credit_bytes), route, Tally(), came)
    return Out(spec, [[route.link]], came), In(spec, mailbox)


def call(
    question: type[Message], answer: type[Message], *, most: int = 1, ends: Ends | None = None
) -> tuple[Call[Any, Any], Serve[Any, Any]]:
    """A `Call` joined to a `Serve`; `most` questions may be under way."""
    spec = (ends or Ends()).spec(question, answer)
    mailbox = QuestionMailbox(1)
    route = memory.CallRoute(mailbox)
    route.link = CallLink(0, most, route, Tally())
    return Call(spec, [route.link]), Serve(spec, mailbox)


def newest(message: type[Message], *, ends: Ends | None = None) -> tuple[Publish[Any], Latest[Any]]:
    """A `Publish` joined to a `Latest`."""
    spec = (ends or Ends()).spec(message)
    mailbox = NewestMailbox()
    route = memory.NewestRoute(mailbox)
    route.link = NewestLink(0, route, Tally())
    return Publish(spec, [route.link]), Latest(spec, mailbox)


@dataclass
class Listener:
    """A route that tells a function of every published value: a reader sees only the newest, a test sees all."""

    tell: Callable[[int, Message], None]
    link: NewestLink | None = None

    def newest(self, generation: int, version: int, message: Message) -> None:
        assert self.link is not None
        self.tell(version, message)
        self.link.seen()

    def end(self, sequence: int) -> None: ...


def publish_to(message: type[Message], tell: Callable[[int, Message], None], ends: Ends | None = None) -> Publish[Any]:
    """A `Publish` whose every value goes to a function."""
    route = Listener(tell)
    route.link = NewestLink(0, route, Tally())
    return Publish((ends or Ends()).spec(message), [route.link])
