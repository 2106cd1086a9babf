"""What a port does for an inspector while one looks: taps that copy what passes, a gate that holds its node, a trace.

    port.watch is None                  nobody looks: one attribute check a message
    port.watch = Watch(gate, taps)      someone does

A tap copies what it asked for into the bounded outbox of its client, or counts what it drops; nothing here waits
for a client. One that wants ten samples a second sleeps between them: its port is not watched meanwhile, and what
passes is known from the counts that the port keeps anyway. The gate is what a paused node waits at, between two
messages, and each step lets one through.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import trio

from flow.inspect.protocol import pack
from flow.inspect.samples import fields_of
from flow.inspect.trace import PortTrace, Recorder
from flow.inspect.trace_layout import Flow, Kind
from flow.message import Message, size_in_bytes
from flow.occupancy import Occupancy
from flow.port_spec import Rest, spec_of
from flow.ports import counts_of

# A frame around the samples of a tap.
_AROUND = 1024


class Outbox(Protocol):
    """Where a tap puts what it copied."""

    def offer(self, frame: bytes) -> bool:
        """Take a frame to be sent, or refuse it because the client is behind."""

    def has_room(self, size: int) -> bool:
        """Whether a frame of so many bytes would be taken."""


@dataclass
class Tap:
    """An open tap on one port of one replica.

    every: each how many-th message is wanted. gap_s: least time between two samples. left: samples still wanted,
    None without end. most_bytes: of a sample's arrays. only: what is wanted, "question" for instance; all if empty.
    """

    number: int
    outbox: Outbox
    every: int = 1
    gap_s: float = 0.0
    left: int | None = None
    most_bytes: int = 1 << 20
    only: str = ""
    seen: int = 0
    sent: int = 0
    dropped: int = 0
    asleep: bool = False
    _skipped: int = 0
    _dropped: int = 0
    _next_at: float = 0.0

    def offer(self, message: Message, what: str) -> None:
        """A message passes."""
        if self.only and what != self.only:
            return
        number, self.seen = self.seen, self.seen + 1
        now = trio.current_time()
        if self.left == 0 or number % self.every or now < self._next_at:
            self._skipped += 1
            return
        self._next_at = now + self.gap_s
        if not self.outbox.has_room(min(size_in_bytes(message), self.most_bytes) + _AROUND):
            self.dropped += 1
            self._dropped += 1
            return
        sample = {
            "type": type(message).__name__,
            "what": what,
            "number": number,
            "time": time.time(),
            "skipped": self._skipped,
            "dropped": self._dropped,
            "fields": fields_of(message, self.most_bytes),
        }
        self.outbox.offer(pack({"tap": self.number, "sample": sample}))
        self.sent += 1
        self._skipped = self._dropped = 0
        if self.left is not None:
            self.left -= 1

    def rests_s(self) -> float:
        """For how long it wants nothing of what passes; 0 if it wants the next or has to count to the one it wants."""
        return max(self._next_at - trio.current_time(), 0.0) if self.gap_s and self.every == 1 else 0.0

    def passed_unseen(self, messages: int) -> None:
        """So many messages passed while it slept."""
        self.seen += messages
        self._skipped += messages


@dataclass
class Gate:
    """Holds a paused node between two messages.

    allowed: how many messages may pass all the same. rest: the node's, held with a message in hand; taking: the same
    with none.
    """

    rest: Rest
    taking: Rest
    occupancy: Occupancy | None
    closed: bool = False
    allowed: int = 0
    passed: int = 0
    _admitted: int = 0
    _opened: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)
    _moved: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    def open(self) -> None:
        self.closed, self.allowed, self._admitted = False, 0, 0
        self._opened.unpark_all()

    def allow(self, messages: int) -> None:
        self.allowed += messages
        self._opened.unpark_all()

    async def before(self) -> None:
        """The node is about to take a message."""
        if self.closed and await self._admission(self.taking):
            self._admitted += 1

    async def after(self) -> None:
        """The node took one: if it waited for it since before the pause, it is held with it."""
        if not self.closed:
            return
        if self._admitted:
            self._admitted -= 1
        else:
            await self._admission(self.rest)

    async def sending(self) -> None:
        """A source is about to send a message."""
        if self.closed:
            await self._admission(self.rest)

    async def _admission(self, rest: Rest) -> bool:
        """Wait to be let through; false if the gate was opened meanwhile, to all."""
        while self.closed and not self.allowed:
            with rest, _Held(self.occupancy):
                await self._opened.park()
        if not self.closed:
            return False
        self.allowed -= 1
        self.passed += 1
        self._moved.unpark_all()
        return True

    async def wait_passed(self, total: int) -> None:
        """Wait until so many messages passed while it was closed."""
        while self.passed < total:
            await self._moved.park()


class _Held:
    def __init__(self, occupancy: Occupancy | None) -> None:
        self._occupancy = occupancy

    def __enter__(self) -> None:
        if self._occupancy is not None:
            self._occupancy.wait("paused", 1)

    def __exit__(self, *exc: object) -> None:
        if self._occupancy is not None:
            self._occupancy.wait("paused", -1)


@dataclass
class Watch:
    """What one port does for inspectors. paces: whether the gate of its node stands at this port.

    Of what is traced, `came` is the link and the number there of each message. slept: told when a tap may sleep.
    """

    gate: Gate
    taps: Sequence[Tap]
    paces: bool
    trace: PortTrace | None = None
    slept: Callable[[Tap], None] | None = None

    async def before_take(self) -> None:
        if self.trace is not None:
            self.trace.before_take()
        if self.paces:
            await self.gate.before()

    async def took(
        self, message: Message, what: str, came: Sequence[tuple[int, int]], rows: int = 0, why: str = ""
    ) -> None:
        if self.trace is not None:
            self.trace.took(came, Flow.QUESTION if why else Flow.MESSAGE, rows, why)
        self._offer(message, what)
        if self.paces:
            await self.gate.after()

    def took_at_once(self, message: Message, came: tuple[int, int]) -> None:
        if self.trace is not None:
            self.trace.took_at_once(came)
        self._offer(message, "message")

    async def before_send(self) -> None:
        if self.trace is not None:
            self.trace.before_send(Kind.SEND)
        if self.paces:
            await self.gate.sending()

    async def before_ask(self) -> None:
        if self.trace is not None:
            self.trace.before_send(Kind.ASK)
        if self.paces:
            await self.gate.sending()

    def blocked(self, since: int) -> None:
        if self.trace is not None:
            self.trace.blocked(since)

    def sending(self, came: Iterable[tuple[int, int]]) -> None:
        if self.trace is not None:
            self.trace.sending(came, Flow.MESSAGE)

    def passed(self, message: Message, what: str) -> None:
        if self.trace is not None:
            self.trace.sent()
        self._offer(message, what)

    def asking(self, question: Message) -> None:
        self._offer(question, "question")

    def asked(self, link: int, request: int) -> None:
        if self.trace is not None:
            self.trace.asked(link, request)

    def answered(self, answer: Message) -> None:
        if self.trace is not None:
            self.trace.answered()
        self._offer(answer, "answer")

    def answering(self, came: Iterable[tuple[int, int]]) -> None:
        if self.trace is not None:
            self.trace.answering(came)

    def batch_answered(self) -> None:
        if self.trace is not None:
            self.trace.sent()

    def publishing(self, came: Iterable[tuple[int, int]]) -> None:
        if self.trace is not None:
            self.trace.before_send(Kind.PUBLISH)
            self.trace.sending(came, Flow.VALUE)

    def published(self, message: Message) -> None:
        if self.trace is not None:
            self.trace.sent()
        self._offer(message, "value")

    def read(self, link: int, version: int) -> None:
        if self.trace is not None:
            self.trace.read(link, version)

    def _offer(self, message: Message, what: str) -> None:
        for tap in self.taps:
            tap.offer(message, what)
            if self.slept is not None and tap.rests_s():
                self.slept(tap)


@dataclass
class NodeWatch:
    """The watches of one node replica; they outlive its starts."""

    kinds: dict[str, str]
    """Kind of each port by its name."""
    node: str = ""
    """The replica's key."""
    taps: dict[str, list[Tap]] = field(default_factory=dict)
    gate: Gate | None = None
    paused: bool = False
    recorder: Recorder | None = None
    _ports: dict[str, object] = field(default_factory=dict)

    def attach(self, ports: dict[str, object], rest: Rest, taking: Rest, occupancy: Occupancy | None) -> None:
        """The node starts, with new ports, in the task that runs now."""
        self._ports = ports
        self.gate = Gate(rest, taking, occupancy, closed=self.paused)
        if self.recorder is not None:
            self.recorder.begins(self.node)
        self._refresh()

    def trace(self, recorder: Recorder | None) -> None:
        """Write down what the node does, from now on or no more."""
        self.recorder = recorder
        self._refresh()

    def computed(self, thread: str, function: str, asked: int, began: int, ended: int) -> None:
        """A computation of the node is done; its task goes on now. Times in ns of `perf_counter_ns`."""
        if self.recorder is not None:
            self.recorder.computed(self.node, thread, function, asked, began, ended)

    def pause(self) -> None:
        self.paused = True
        if self.gate is not None:
            self.gate.closed = True
        self._refresh()

    def resume(self) -> None:
        self.paused = False
        if self.gate is not None:
            self.gate.open()
        self._refresh()

    def open(self, port: str, tap: Tap) -> None:
        self.taps.setdefault(port, []).append(tap)
        self._refresh()

    def close(self, port: str, tap: Tap) -> None:
        self.taps[port].remove(tap)
        self._refresh()

    def _sleep(self, port: str, tap: Tap) -> None:
        tap.asleep = True
        trio.lowlevel.spawn_system_task(self._wake, port, tap, self._passed(port), tap.rests_s())
        self._refresh()

    def _passed(self, port: str) -> int:
        return sum(count.value for count in counts_of(self._ports[port]))

    async def _wake(self, port: str, tap: Tap, before: int, after_s: float) -> None:
        await trio.sleep(after_s)
        tap.passed_unseen(self._passed(port) - before)
        tap.asleep = False
        self._refresh()

    def _refresh(self) -> None:
        if self.gate is None:
            return
        consuming = [name for name, kind in self.kinds.items() if kind in ("In", "Serve")]
        pacing = consuming or [name for name, kind in self.kinds.items() if kind in ("Out", "Call")]
        for name, port in self._ports.items():
            spec, kind = spec_of(port), self.kinds[name]
            taps = [tap for tap in self.taps.get(name, []) if not tap.asleep]
            paces, trace = name in pacing and self.paused, None
            if self.recorder is not None:
                makes = not consuming and kind == "Out"
                trace = PortTrace(self.recorder, self.node, name, makes)
            slept = partial(self._sleep, name) if counts_of(port) else None
            watch = Watch(self.gate, taps, paces, trace, slept)
            spec.watch = watch if taps or paces or trace is not None else None
