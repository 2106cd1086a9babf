"""A message from an inspector's hands into a port of a live run: held to the port's type, counted apart, written down.

It waits with the others at that port. The ledger of edges does not know it: what was injected has a counter of its
own in the node's page, `_injected.PORT.received`.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from flow.errors import ControlError
from flow.inspect.protocol import Words
from flow.inspect.samples import fields_of, message_of, read_fields
from flow.inspect.server import Client, asked
from flow.inspect.touched import touch
from flow.mailbox import Mailbox, QuestionMailbox, StreamMailbox
from flow.message import Message, check, freeze, size_in_bytes
from flow.tally import Tally

if TYPE_CHECKING:
    from flow.host import Host
    from flow.worker import Worker

LINK = -2
"""Of what came by no link."""
ANSWER_S = 10.0
ANSWER_BYTES = 1 << 20


@dataclass
class Injections:
    """Takes what inspectors inject into one worker."""

    worker: Worker
    _numbers: Iterator[int] = field(default_factory=itertools.count)

    async def inject(self, client: Client, request: Words) -> Words:
        """Put a message into a port; of a Serve port, the answer is told."""
        key, port = asked(request, "node", str), asked(request, "port", str)
        host = self.worker.hosts.get(key)
        if host is None or not host.running:
            raise ControlError(f"{key} does not run in worker {self.worker.name}")
        takes = [name for name, kind in host.watch.kinds.items() if kind in ("In", "Serve", "Latest")]
        if port not in takes:
            raise ControlError(
                f"{host.plan.name}.{port} takes no messages; it takes some at {', '.join(takes) or 'none'}"
            )
        wanted = host.type.ports[port].messages[0]
        message = message_of(read_fields(asked(request, "fields", list)), wanted)
        check(message, wanted, host.type.port_sizes(port, host.plan.settings))
        freeze(message)
        mailbox = self.worker.assembly.mailboxes[host.plan.name, host.plan.replica, port]
        self._count(host, port, mailbox)
        touch(self.worker.directory, key, f"a {wanted.__name__} was injected into {port}", holds_from=host.messages + 1)
        if isinstance(mailbox, QuestionMailbox):
            return await self._ask(host, port, mailbox, message)
        if isinstance(mailbox, StreamMailbox):
            mailbox.put(LINK, message, size_in_bytes(message), lambda messages, size: None)
            return {"waiting": len(mailbox.queued())}
        version = asked(request, "version", int, mailbox.version + 1)
        mailbox.put(LINK, mailbox.generations.get(LINK, 0), version, message, size_in_bytes(message))
        return {"version": mailbox.version}

    def _count(self, host: Host, port: str, mailbox: Mailbox) -> None:
        if LINK not in mailbox.tallies:
            name = f"_injected.{port}.received"
            tally = mailbox.tallies[LINK] = Tally.on(host.page, name)
            self.worker.assembly.tallies[(host.plan.name, host.plan.replica, port), name] = tally

    async def _ask(self, host: Host, port: str, mailbox: QuestionMailbox, question: Message) -> Words:
        told: list[Any] = []
        over = trio.Event()

        def end(answer: Message | None) -> None:
            told.append(answer)
            over.set()

        mailbox.put(LINK, next(self._numbers), question, size_in_bytes(question), end, lambda for_good: end(None))
        with trio.move_on_after(ANSWER_S):
            await over.wait()
        if not told:
            raise ControlError(
                f"{host.plan.name}.{port} did not answer within {ANSWER_S:g} s; the question still waits"
            )
        if told[0] is None:
            raise ControlError(f"{host.plan.name} failed or ended before it answered; the log of the run says why")
        return {"answer": {"type": type(told[0]).__name__, "fields": fields_of(told[0], ANSWER_BYTES)}}
