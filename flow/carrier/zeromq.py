"""The carrier between workers of one host: ZeroMQ over `ipc://`, one socket to receive and one a peer to send.

    worker a                              worker b
    PUSH to b ───── data, questions ────► PULL inbox
    PULL inbox ◄─── credit, answers ───── PUSH to a

Every socket goes one way, so no message is routed by an identity and none is dropped for want of one. Credit
bounds what is under way; the high-water mark is only a tripwire. A worker that is started again binds a new inbox
under a new epoch: what its predecessor said late is known by its epoch, and dropped.

ZMQ_FD is edge-triggered: readable means "something changed", and any send or receive may take the edge. One task
owns the waiting on each socket; it looks at EVENTS after every operation and waits only when they say nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import trio
import zmq

from flow import wire
from flow.carrier import shared
from flow.carrier.curve import Address, KeyPair
from flow.carrier.inbox import make_inbox, pump
from flow.carrier.packing import ToPack
from flow.carrier.peer import Peer, descriptor_of
from flow.carrier.published import Publications, ValueFrames
from flow.carrier.tcp import Gate, TcpWay
from flow.errors import WireError
from flow.links import CallLink, NewestLink, StreamLink
from flow.mailbox import NewestMailbox, QuestionMailbox, StreamMailbox
from flow.message import Message
from flow.wire import Envelope, Kind, Schema

# How long credit may be held back to be returned with that of the next messages.
CREDIT_HELD_S = 0.002
_Log = Callable[[str], None]


@dataclass
class Received:
    """The receiving end of a link from another worker: its mailbox, and the ledger of what came.

    credit: the sender's window in messages. codec: with what answers to another host are compressed. held, held_size:
    credit not yet returned. taken: what the mailbox tells of messages taken that came under this epoch.
    """

    peer: Peer
    mailbox: StreamMailbox | QuestionMailbox | NewestMailbox
    schema: Schema
    credit: int = 1
    codec: str = ""
    epoch: int = -1
    expected: int = 0
    held: int = 0
    held_size: int = 0
    taken: Callable[[int, int], None] | None = None


@dataclass
class Sent:
    """The sending end of a link to another worker. answers: what a call's answers must be."""

    peer: Peer
    link: StreamLink | CallLink | NewestLink
    answers: Schema | None = None


@dataclass
class Hub:
    """All that a worker says to others and hears from them.

    sockets: what makes the sockets; a simulated run has sockets of its own. through_memory: whether to speak to workers
    of this host through shared memory. keys: with which to speak to those of other hosts. malformed: messages dropped
    because they were none; lost: sequence numbers that never came; stale: messages of a peer's earlier incarnation.
    """

    worker: str
    epoch: int
    log: _Log
    sockets: zmq.Context[zmq.Socket[bytes]] = field(default_factory=zmq.Context)
    through_memory: bool = False
    keys: KeyPair | None = None
    malformed: int = 0
    lost: int = 0
    stale: int = 0
    peers: dict[str, Peer] = field(default_factory=dict)
    received: dict[int, Received] = field(default_factory=dict)
    sent: dict[int, Sent] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._holding = False
        self._held = trio.lowlevel.ParkingLot()
        self._intake = (
            shared.Intake(self.peers.__contains__, self._receive, self._malformed) if self.through_memory else None
        )
        self._publications = Publications()
        self.gate: Gate | None = None
        if self.keys is not None:
            self.gate = Gate(self.sockets, self.epoch, self.keys, self._receive, self._malformed, self.log)
        self._inbox = make_inbox(self.sockets)

    def bind(self, path: Path) -> None:
        """Open the inbox. The path must be new: a second bind to one path would silently take it over."""
        if path.exists():
            raise FileExistsError(f"{path}: another worker listens there")
        self._inbox.bind(f"ipc://{path}")
        if self._intake is not None:
            self._intake.bind(path)

    def peer(self, worker: str) -> Peer:
        if worker not in self.peers:
            self.peers[worker] = Peer(self.sockets, worker, self._way)
        return self.peers[worker]

    def _way(self, worker: str, where: Path | Address, epoch: int) -> shared.MemoryWay | TcpWay | None:
        if isinstance(where, Address):
            return self.gate.open_way(worker, where, epoch) if self.gate is not None else None
        if not self.through_memory:
            return None
        return shared.open_way(where, self.worker, self.epoch, self._publications)

    async def run(self) -> None:
        """Receive and send until cancelled."""
        async with trio.open_nursery() as nursery:
            for peer in self.peers.values():
                nursery.start_soon(peer.run)
            nursery.start_soon(self._return_held_credit)
            if self._intake is not None:
                nursery.start_soon(self._intake.run)
            if self.gate is not None:
                nursery.start_soon(self.gate.run)
            await pump(self._inbox, lambda frames: self._receive([frame.buffer for frame in frames]))

    def _receive(self, frames: wire.Frames) -> None:
        try:
            self._deliver(wire.decode(frames, self._schema))
        except WireError as error:
            refused = wire.head(frames)
            if refused is not None:
                self._refuse(refused)
            self._malformed(f"dropped a message of {sum(map(len, frames))} bytes: {error}")

    def _malformed(self, text: str) -> None:
        self.malformed += 1
        if self.malformed <= 100:  # a stranger who says the same for ever must not fill the disk
            self.log(text)

    def _refuse(self, refused: Envelope) -> None:
        """Let nobody wait for a message that is not what its link carries: it counts as dropped, or as failed."""
        received, sent = self.received.get(refused.link), self.sent.get(refused.link)
        # Only what its peer may be is believed: any other epoch, once taken, would make all that the peer says stale.
        if received is not None and received.epoch < 0 and received.peer.epoch in (-1, refused.epoch):
            received.epoch = refused.epoch
        if received is not None and refused.kind in (Kind.DATA, Kind.QUESTION) and refused.epoch == received.epoch:
            if isinstance(received.mailbox, QuestionMailbox):
                failure, _ = wire.encode(Kind.FAILURE, refused.link, 1, self.epoch, refused.number)
                received.peer.reply(received.epoch, failure)
            elif refused.sequence == received.expected:
                received.expected += 1
                received.mailbox.tally.dropped.add()
                self._taken(refused.link, received)(1, 0)
        elif sent is not None and refused.kind is Kind.ANSWER and isinstance(sent.link, CallLink):
            sent.link.failure(refused.number, for_good=True)

    def _schema(self, kind: Kind, link: int) -> Schema | None:
        if kind is Kind.ANSWER:
            sent = self.sent.get(link)
            return None if sent is None else sent.answers
        received = self.received.get(link)
        wanted = _MAILBOXES.get(kind)
        fits = received is not None and wanted is not None and isinstance(received.mailbox, wanted)
        return received.schema if received is not None and fits else None

    def _deliver(self, envelope: Envelope) -> None:
        if envelope.kind in (Kind.CREDIT, Kind.ANSWER, Kind.FAILURE, Kind.SEEN):
            self._deliver_back(envelope)
            return
        received = self.received.get(envelope.link)
        if received is None:
            raise WireError(f"no link {envelope.link} ends here")
        if envelope.epoch < received.epoch:
            self.stale += 1
            return
        if envelope.epoch > received.epoch:  # the sender was started again, or speaks for the first time
            received.epoch, received.expected = envelope.epoch, 0
            received.held = received.held_size = 0
            received.taken = None
            received.mailbox.reopen(envelope.link)
        if isinstance(received.mailbox, StreamMailbox):
            self._count(received, envelope)
        if envelope.kind is Kind.END:
            received.mailbox.end(envelope.link)
        elif envelope.kind is Kind.BARRIER:
            if not isinstance(received.mailbox, StreamMailbox):
                raise WireError(f"link {envelope.link} is no stream and takes no BARRIER")
            received.mailbox.barrier(envelope.link, envelope.number)
        elif isinstance(received.mailbox, StreamMailbox):
            assert envelope.message is not None
            taken = self._taken(envelope.link, received)
            received.mailbox.put(envelope.link, envelope.message, envelope.size, taken, envelope.sequence)
        elif isinstance(received.mailbox, QuestionMailbox):
            self._deliver_question(received, received.mailbox, envelope)
        else:
            assert envelope.message is not None
            received.mailbox.put(envelope.link, envelope.sequence, envelope.number, envelope.message, envelope.size)
            seen, _ = wire.encode(Kind.SEEN, envelope.link, 0, self.epoch, envelope.number)
            received.peer.reply(received.epoch, seen)

    def _count(self, received: Received, envelope: Envelope) -> None:
        """The ledger: every sequence number comes once. A gap is loss, and is said."""
        missing = envelope.sequence - received.expected
        if missing < 0:
            raise WireError(f"link {envelope.link}: message {envelope.sequence} came again")
        if missing:
            self.lost += missing
            received.mailbox.tally.dropped.add(missing)
            self.log(
                f"link {envelope.link} from {received.peer.worker}: {missing} messages before {envelope.sequence} lost"
            )
        received.expected = envelope.sequence + (envelope.kind is Kind.DATA)

    def _taken(self, link: int, received: Received) -> Callable[[int, int], None]:
        if received.taken is not None:
            return received.taken
        epoch = received.epoch

        def taken(messages: int, size: int) -> None:
            # A sender that was started again has a whole window; credit of the old one would unbind it.
            if epoch != received.epoch:
                return
            received.held += messages
            received.held_size += size
            if 2 * received.held >= received.credit:
                self._return_credit(link, received)
            elif not self._holding:
                self._holding = True
                self._held.unpark()

        received.taken = taken
        return taken

    def _return_credit(self, link: int, received: Received) -> None:
        credit, _ = wire.encode(Kind.CREDIT, link, received.held_size, self.epoch, received.held)
        received.held = received.held_size = 0
        received.peer.reply(received.epoch, credit)

    async def _return_held_credit(self) -> None:
        """Half a window is returned at once, less of it soon: a sender may wait for the last byte of its window."""
        while True:
            if not self._holding:
                await self._held.park()
            await trio.sleep(CREDIT_HELD_S)
            self._holding = False
            for link, received in self.received.items():
                if received.held:
                    self._return_credit(link, received)

    def _deliver_question(self, received: Received, mailbox: QuestionMailbox, envelope: Envelope) -> None:
        link, request, epoch = envelope.link, envelope.number, received.epoch

        def reply(answer: Message) -> None:
            frames = wire.encode(Kind.ANSWER, link, 0, self.epoch, request, answer)[0]
            received.peer.reply(epoch, ToPack(frames, received.codec) if received.codec else frames)

        def fail(for_good: bool) -> None:
            received.peer.reply(epoch, wire.encode(Kind.FAILURE, link, int(for_good), self.epoch, request)[0])

        assert envelope.message is not None
        mailbox.put(link, request, envelope.message, envelope.size, reply, fail)

    def _deliver_back(self, envelope: Envelope) -> None:
        sent = self.sent.get(envelope.link)
        if sent is None:
            raise WireError(f"no link {envelope.link} begins here")
        if envelope.epoch != sent.peer.epoch:
            self.stale += 1
            return
        link = sent.link
        if isinstance(link, StreamLink) and envelope.kind is Kind.CREDIT:
            try:
                link.credit(envelope.number, envelope.sequence)
            except ValueError as error:
                raise WireError(f"link {envelope.link}: {error}") from error
        elif isinstance(link, CallLink) and envelope.kind is Kind.ANSWER and envelope.message is not None:
            link.answer(envelope.number, envelope.message)
        elif isinstance(link, CallLink) and envelope.kind is Kind.FAILURE:
            link.failure(envelope.number, bool(envelope.sequence))
        elif isinstance(link, NewestLink) and envelope.kind is Kind.SEEN:
            link.seen()
        else:
            raise WireError(f"link {envelope.link} takes no {envelope.kind.name}")

    def peer_restarted(self, worker: str, where: Path | Address, epoch: int) -> None:
        """A worker is there, for the first time or again: connect, and settle what was under way to the old one."""
        peer = self.peers.get(worker)
        # No link ties the two; or told twice, or by one who has not heard of the newest.
        if peer is None or epoch <= peer.epoch:
            return
        again = peer.epoch >= 0
        peer.connect(where, epoch)
        if again:
            for sent in self.sent.values():
                if sent.peer is peer:
                    sent.link.receiver_restarted()

    async def flush(self) -> None:
        """Wait until everything posted is with ZeroMQ."""
        for peer in self.peers.values():
            await peer.wait_drained()
        if self.gate is not None:
            await self.gate.wait_settled()

    def close(self) -> None:
        """Close the sockets; what ZeroMQ still holds is sent for at most two seconds."""
        for peer in self.peers.values():
            peer.disconnect()
        self._publications.close()
        if self._intake is not None:
            self._intake.close()
        if self.gate is not None:
            self.gate.close()
        trio.lowlevel.notify_closing(descriptor_of(self._inbox))
        self._inbox.close()
        self.sockets.term()


_MAILBOXES: dict[Kind, type] = {
    Kind.DATA: StreamMailbox,
    Kind.QUESTION: QuestionMailbox,
    Kind.NEWEST: NewestMailbox,
}


@dataclass
class Route:
    """A link's way to another worker. Serves streams, calls and published values alike.

    codec: with what messages are compressed; only on the way to another host.
    """

    hub: Hub
    peer: Peer
    link: int
    codec: str = ""

    def data(self, sequence: int, message: Message) -> None:
        self._post(wire.encode(Kind.DATA, self.link, sequence, self.hub.epoch, 0, message)[0])

    def barrier(self, sequence: int, number: int) -> None:
        self.peer.post(wire.encode(Kind.BARRIER, self.link, sequence, self.hub.epoch, number)[0])

    def question(self, request: int, question: Message) -> None:
        self._post(wire.encode(Kind.QUESTION, self.link, 0, self.hub.epoch, request, question)[0])

    def newest(self, generation: int, version: int, message: Message) -> None:
        frames = wire.encode(Kind.NEWEST, self.link, generation, self.hub.epoch, version, message)[0]
        self.peer.post(ToPack(frames, self.codec) if self.codec else ValueFrames(frames, message))

    def _post(self, frames: wire.Frames) -> None:
        self.peer.post(ToPack(frames, self.codec) if self.codec else frames)

    def end(self, sequence: int) -> None:
        self.peer.post(wire.encode(Kind.END, self.link, sequence, self.hub.epoch, sequence)[0])
