"""What happened in a simulated run: each message from its sending to its end, a chain of hashes, and what was wrong.

A message on a link is a *passage*. Its number grows with each sending in the run, so order, doubles and losses are
seen by numbers, whatever the messages hold.
"""

from __future__ import annotations

import hashlib
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import trio

from flow import wire
from flow.message import Message
from flow.plan import LinkPlan, Plan
from flow.testing.simulation.faults import Fault, Faults

TIMELINE = 60
VIOLATIONS_MOST = 20


@dataclass(frozen=True)
class Violation:
    """Something that must not happen. rule: its name; timeline: the last events before it."""

    rule: str
    text: str
    timeline: tuple[str, ...] = ()


@dataclass(slots=True)
class Passage:
    """One message on one link. life: of its sender. arrived: it is or was in a mailbox. excused: a death may have cost
    it. answer: digest of what a server answered; answers: how often it was answered or refused.
    """

    number: int
    link: LinkPlan
    life: int
    digest: bytes
    type: type[Message]
    arrived: bool = False
    excused: bool = False
    answer: bytes = b""
    answers: int = 0


@dataclass
class LinkRecord:
    """A link: passages not yet settled, those of the sender's keys, how many wait in the mailbox by sender's life."""

    plan: LinkPlan
    pending: dict[int, Passage] = field(default_factory=dict)
    by_key: dict[tuple[int, ...], Passage] = field(default_factory=dict)
    waiting: Counter[int] = field(default_factory=Counter)
    last_arrived: int = -1
    last_taken: int = -1
    sent: int = 0
    taken: int = 0
    dropped: int = 0
    lost: int = 0


@dataclass
class Life:
    """One incarnation of a worker. over: it was killed; what its tasks still do does not count."""

    worker: str
    epoch: int
    over: bool = False


class Journal:
    """Keeps what happened. events: all of it, where two runs are to be compared; kept: what nodes took, by port."""

    def __init__(self, plan: Plan, faults: Faults, *, keep_events: bool = False, keep_messages: bool = False) -> None:
        self.plan, self.faults = plan, faults
        self.records = {link.number: LinkRecord(link) for link in plan.links}
        self.violations: list[Violation] = []
        self.events: list[tuple[Any, ...]] | None = [] if keep_events else None
        self.timeline: deque[tuple[float, tuple[Any, ...]]] = deque(maxlen=TIMELINE)
        self.kept: list[tuple[tuple[str, int, str], Message]] = []
        self.keep_messages = keep_messages
        self.arriving: Passage | None = None  # what a mailbox is about to be given
        self.messages = 0
        self.progress = 0
        self.closed = False  # the run is over, what its tasks still do does not count
        self.kills: dict[str, int] = {worker.name: 0 for worker in plan.workers}
        self._hash = hashlib.blake2b(digest_size=16)
        self._restarts_heard: Counter[tuple[int, int]] = Counter()

    # Events

    def note(self, *event: Any, text: str = "") -> None:
        """Add an event to the timeline and to the hash of the run.

        Args:
          text: for the timeline alone; it may name what is not the same in two runs, how full the disk is for instance.
        """
        if self.closed:
            return
        now = trio.current_time()
        self.timeline.append((now, (*event, text)))
        self._hash.update(f"{now!r} {event!r}\n".encode())
        if self.events is not None:
            self.events.append((now, *event))

    def violation(self, rule: str, text: str) -> None:
        """Something is wrong. Only the first few of a run are kept."""
        if not self.closed and len(self.violations) < VIOLATIONS_MOST:
            self.violations.append(Violation(rule, text, self.last_events()))
            self.note("violation", rule)

    def last_events(self) -> tuple[str, ...]:
        return tuple(f"{when:10.4f}  {' '.join(_shown(part) for part in event)}" for when, event in self.timeline)

    def digest(self) -> str:
        return self._hash.hexdigest()

    def happens(self, fault: Fault) -> None:
        """A fault is injected now."""
        self.faults.injected[fault.kind] += 1
        self.faults.last_at = trio.current_time()
        self.note("fault", str(fault))

    # Streams

    def sent(self, life: Life, number: int, key: tuple[int, ...], message: Message) -> Passage | None:
        """A message is about to be handed to a carrier; None from a worker that is dead."""
        if life.over or self.closed:
            return None
        record = self.records[number]
        self.messages += 1
        self.progress += 1
        passage = Passage(self.messages, record.plan, life.epoch, digest_of(message), type(message))
        record.by_key[life.epoch, *key] = passage
        record.sent += 1
        self.note("sent", record.plan.edge, number, passage.number, passage.digest.hex())
        return passage

    def refused(self, passage: Passage | None) -> None:
        """The carrier did not take it."""
        if passage is not None:
            record = self.records[passage.link.number]
            record.sent -= 1
            record.pending.pop(passage.number, None)

    def arrived(self, life: Life, number: int, message: Message) -> Passage | None:
        """A mailbox is given a message of a link: which one. Its bytes must be those that were sent."""
        passage, self.arriving = self.arriving, None
        if life.over or self.closed:
            return None
        edge = self.records[number].plan.edge if number in self.records else f"link {number}"
        if passage is None:
            self.violation("from nowhere", f"{edge}: a message arrived that nobody sent")
            return None
        if passage.link.number != number:
            self.violation("wrong place", f"{edge}: a message of {passage.link.edge} arrived")
        if type(message) is passage.type and digest_of(message) != passage.digest:
            self.violation("altered", f"{edge}: message {passage.number} arrived with other bytes than it was sent")
        return passage

    def in_order(self, record: LinkRecord, passage: Passage) -> None:
        """What arrives on a link comes once and after what was sent before it, which has come."""
        edge, number = record.plan.edge, passage.number
        if number == record.last_arrived or passage.arrived:
            self.violation("doubled", f"{edge}: message {number} arrived again")
        elif number < record.last_arrived:
            self.violation("reordered", f"{edge}: message {number} arrived after {record.last_arrived}")
        record.last_arrived = max(record.last_arrived, number)
        passage.arrived = True
        for earlier in list(record.pending.values()):
            if earlier.number >= number:
                break
            if not earlier.arrived:
                self.lost(record, earlier, f"{number} came after it")

    def lost(self, record: LinkRecord, passage: Passage, why: str) -> None:
        """A message will never come: that is wrong unless a death may have cost it."""
        record.pending.pop(passage.number, None)
        record.lost += 1
        if not passage.excused:
            self.violation("lost", f"{record.plan.edge}: message {passage.number} never arrived ({why})")

    def settled(self, passage: Passage, *, dropped: bool) -> None:
        """A node took a message, or its mailbox was closed."""
        record = self.records[passage.link.number]
        record.waiting[passage.life] -= 1
        self.progress += 1
        if passage.number <= record.last_taken:
            self.violation("reordered", f"{record.plan.edge}: {passage.number} was taken after {record.last_taken}")
        record.last_taken = max(record.last_taken, passage.number)
        if record.pending.pop(passage.number, None) is None:
            self.violation("doubled", f"{record.plan.edge}: message {passage.number} was taken twice")
        record.taken += not dropped
        record.dropped += dropped
        self.note("dropped" if dropped else "taken", record.plan.edge, record.plan.number, passage.number)

    # Deaths

    def killed(self, worker: str) -> None:
        """A worker is dead: what was under way to it or from it may be lost."""
        self.kills[worker] += 1
        for record in self.records.values():
            ends = [self.plan.worker_of(*end[:2]) for end in (record.plan.sender, record.plan.receiver)]
            if worker in ends:
                for passage in record.pending.values():
                    passage.excused = True
            if ends[1] == worker:
                for passage in list(record.pending.values()):
                    if passage.arrived:  # it was in a mailbox of the dead
                        self.lost(record, passage, "killed")
                record.waiting.clear()

    def receiver_restarted(self, life: Life, number: int) -> None:
        """A link is told that its receiver is another one now: what was under way to the old one is lost."""
        record = self.records[number]
        worker = self.plan.worker_of(*record.plan.receiver[:2])
        self._restarts_heard[number, life.epoch] += 1
        if self._restarts_heard[number, life.epoch] > self.kills[worker]:
            self.violation("false alarm", f"{record.plan.edge}: told of a restart of {worker} that never was")
        for passage in list(record.pending.values()):
            passage.excused = True
            self.lost(record, passage, "its receiver was killed")


def _shown(part: Any) -> str:
    return str(part)


def digest_of(message: Message) -> bytes:
    """Eight bytes of a hash of all that a message is on the wire."""
    found = hashlib.blake2b(digest_size=8)
    for frame in wire.encode(wire.Kind.DATA, 0, 0, 0, 0, message)[0]:
        found.update(frame)
    return found.digest()
