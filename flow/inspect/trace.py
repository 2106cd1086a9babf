"""What a worker's nodes do, written down while a trace is taken: who waited, handled, sent, asked, computed, and when.

    port.watch.trace ──► Recorder ──► pieces of packed records ──► `trace_read` of the control socket
                            ▲
    threads of a node ──────┘ (told in the loop, when a computation is done)

A record is 56 bytes at a fixed place; there are at most so many that wait to be read and so many in all, and what
comes then is dropped and counted here: nothing waits for a reader. Times are nanoseconds of `perf_counter_ns`, which
on Linux is CLOCK_MONOTONIC: all processes of a host read the same clock. All of it runs in the worker's loop.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from time import perf_counter_ns

import trio

from flow.inspect.trace_layout import NO_LINK, RECORD, Flow, Kind

PIECE_RECORDS = 4096
WAITING_PIECES = 64
"""Full pieces that wait for a reader: 14 MiB."""
TRACKS_LOOK = 256
"""Beyond so many tasks of a worker those that have ended give their tracks back."""


@dataclass
class Open:
    """What a task is in the middle of: since when."""

    taking: tuple[int, int] | None = None
    """Port, since."""
    handling: tuple[Kind, int, int, int, int, int, int] | None = None
    """Kind, port, since, sequence, link, a, b."""
    sending: tuple[Kind, int, int] | None = None
    """Kind, port, since."""
    asked: tuple[int, int] = (NO_LINK, 0)
    last: int = 0
    """When something of it was last heard."""


@dataclass
class Recorder:
    """Writes the records of one worker. most: in all."""

    most: int
    names: list[str] = field(default_factory=list)
    tracks: list[tuple[str, str]] = field(default_factory=list)
    """By number: the node's replica, and which task or thread of it."""
    dropped: int = 0
    written: int = 0
    began: int = field(default_factory=perf_counter_ns)
    ended: bool = False

    def __post_init__(self) -> None:
        self._numbers: dict[str, int] = {}
        self._piece, self._at = bytearray(PIECE_RECORDS * RECORD.size), 0
        self._full: deque[bytearray] = deque()
        self._tasks: dict[trio.lowlevel.Task, tuple[int, Open]] = {}
        self._spare: dict[str, list[int]] = {}
        self._threads: dict[tuple[str, str], int] = {}
        self._of_node: dict[str, int] = {}
        self._look_at = TRACKS_LOOK

    def number(self, name: str) -> int:
        """The index of a name in `names`."""
        found = self._numbers.get(name)
        if found is None:
            found = self._numbers[name] = len(self.names)
            self.names.append(name)
        return found

    def write(
        self,
        kind: Kind,
        track: int,
        name: int,
        start: int,
        end: int,
        *,
        flow: int = 0,
        sequence: int = 0,
        link: int = NO_LINK,
        a: int = 0,
        b: int = 0,
    ) -> None:
        """Write a record, or count it as dropped."""
        if self.ended or self.written >= self.most or len(self._full) >= WAITING_PIECES:
            self.dropped += not self.ended
            return
        RECORD.pack_into(self._piece, self._at, kind, track, name, flow, start, end, sequence, link, a, b)
        self.written += 1
        self._at += RECORD.size
        if self._at == len(self._piece):
            self._full.append(self._piece)
            self._piece, self._at = bytearray(len(self._piece)), 0

    def read(self) -> tuple[bytes, bool]:
        """The oldest records that wait, and whether more do."""
        if self._full:
            return bytes(self._full.popleft()), True
        records = bytes(self._piece[: self._at])
        self._at = 0
        return records, False

    def open_of(self, node: str) -> tuple[int, Open]:
        """The track of the task that runs now, and what it is in the middle of."""
        task = trio.lowlevel.current_task()
        found = self._tasks.get(task)
        if found is None:
            if len(self._tasks) >= self._look_at:
                self._give_back()
            spare = self._spare.get(node)
            found = self._tasks[task] = (spare.pop() if spare else self._track(node), Open())
        found[1].last = perf_counter_ns()
        return found

    def _track(self, node: str) -> int:
        count = self._of_node[node] = self._of_node.get(node, 0) + 1
        self.tracks.append((node, "" if count == 1 else f"task {count}"))
        return len(self.tracks) - 1

    def _give_back(self) -> None:
        """Tracks of tasks that have ended are for those that begin: their spans cannot meet."""
        for task, (track, open_) in list(self._tasks.items()):
            if _has_ended(task):
                self.close(track, open_, open_.last)
                del self._tasks[task]
                self._spare.setdefault(self.tracks[track][0], []).append(track)
        self._look_at = max(TRACKS_LOOK, 2 * len(self._tasks))

    def close(self, track: int, open_: Open, now: int) -> None:
        """End what a task has in hand."""
        if open_.handling is not None:
            kind, port, since, sequence, link, a, b = open_.handling
            self.write(kind, track, port, since, now, sequence=sequence, link=link, a=a, b=b)
            open_.handling = None

    def begins(self, node: str) -> None:
        """A node starts in the task that runs now: what that had in hand before is gone."""
        track, open_ = self.open_of(node)
        self.close(track, open_, open_.last)
        open_.taking = open_.sending = None

    def computed(self, node: str, thread: str, function: str, asked: int, began: int, ended: int) -> None:
        """A computation of a node is done; its task goes on now."""
        number = self.number(function)
        track, open_ = self.open_of(node)
        self.write(Kind.COMPUTE, track, number, max(asked, self.began), open_.last)
        key = (node, thread)
        if key not in self._threads:
            self.tracks.append((node, f"thread {thread}"))
            self._threads[key] = len(self.tracks) - 1
        self.write(Kind.RUN, self._threads[key], number, max(began, self.began), ended)

    def finish(self) -> None:
        """End the trace: what is under way is written as long as it lasted until now."""
        now = perf_counter_ns()
        for task, (track, open_) in self._tasks.items():
            over = open_.last if _has_ended(task) else now
            if open_.taking is not None:
                self.write(Kind.TAKE, track, open_.taking[0], open_.taking[1], over)
            if open_.sending is not None:
                kind, port, since = open_.sending
                self.write(kind, track, port, since, over)
            self.close(track, open_, over)
        self.ended = True


def _has_ended(task: trio.lowlevel.Task) -> bool:
    return getattr(task.coro, "cr_frame", None) is None


@dataclass
class PortTrace:
    """Tells a recorder what happens at one port. makes: whether it is the port of a source, which sets its pace."""

    recorder: Recorder
    node: str
    port: str
    makes: bool

    def __post_init__(self) -> None:
        self._name = self.recorder.number(self.port)

    def before_take(self) -> None:
        """A task asks for a message: what it had in hand is done."""
        recorder = self.recorder
        track, open_ = recorder.open_of(self.node)
        recorder.close(track, open_, open_.last)
        open_.taking = (self._name, open_.last)

    def took(self, came: Sequence[tuple[int, int]], kind: Flow, rows: int = 0, why: str = "") -> None:
        """It has one, or a batch. came: link and sequence of each."""
        recorder = self.recorder
        track, open_ = recorder.open_of(self.node)
        now = open_.last
        recorder.close(track, open_, now)
        # Whoever waits since before the trace began did not say that it would.
        name, since = open_.taking or (self._name, recorder.began)
        recorder.write(Kind.TAKE, track, name, since, now)
        open_.taking = None
        link, sequence = came[0] if len(came) == 1 else (NO_LINK, 0)
        reason = recorder.number(why) if why else NO_LINK
        open_.handling = (Kind.HANDLE, self._name, now, sequence, link, rows, reason)
        for each, number in came:
            recorder.write(Kind.CAME, track, self._name, now, now, flow=kind, sequence=number, link=each)

    def took_at_once(self, came: tuple[int, int]) -> None:
        """It took one without asking for it before."""
        track, open_ = self.recorder.open_of(self.node)
        self.recorder.close(track, open_, open_.last)
        open_.taking = (self._name, open_.last)
        self.took([came], Flow.MESSAGE)

    def before_send(self, kind: Kind) -> None:
        """A task is about to send, to ask, to answer, or to publish."""
        track, open_ = self.recorder.open_of(self.node)
        if self.makes and kind is Kind.SEND:
            self.recorder.close(track, open_, open_.last)
        open_.sending = (kind, self._name, open_.last)

    def blocked(self, since: int) -> None:
        """It waited for credit."""
        track, open_ = self.recorder.open_of(self.node)
        self.recorder.write(Kind.BLOCKED, track, self._name, max(since, self.recorder.began), open_.last)

    def sending(self, came: Iterable[tuple[int, int]], kind: Flow) -> None:
        """It hands a message over now. came: link and sequence for each of its receivers."""
        track, open_ = self.recorder.open_of(self.node)
        for link, sequence in came:
            self.recorder.write(
                Kind.LEFT, track, self._name, open_.last, open_.last, flow=kind, sequence=sequence, link=link
            )

    def sent(self) -> None:
        """What was begun with `before_send` is done."""
        recorder = self.recorder
        track, open_ = recorder.open_of(self.node)
        now = open_.last
        # One that was about to wait when the trace began waited since then.
        kind, name, since = open_.sending or (Kind.SEND, self._name, recorder.began)
        open_.sending = None
        recorder.write(kind, track, name, since, now)
        if self.makes and kind is Kind.SEND:
            open_.handling = (Kind.MAKE, self._name, now, 0, NO_LINK, 0, NO_LINK)

    def asked(self, link: int, request: int) -> None:
        """A question was given a number and goes out now."""
        _, open_ = self.recorder.open_of(self.node)
        open_.asked = (link, request)
        self.sending([open_.asked], Flow.QUESTION)

    def answered(self) -> None:
        """Its answer is here."""
        recorder = self.recorder
        track, open_ = recorder.open_of(self.node)
        now, (link, request) = open_.last, open_.asked
        _, name, since = open_.sending or (Kind.ASK, self._name, recorder.began)
        open_.sending, open_.asked = None, (NO_LINK, 0)
        if link != NO_LINK:
            recorder.write(Kind.CAME, track, name, now, now, flow=Flow.ANSWER, sequence=request, link=link)
        # Its end is later than the moment in which the answer came, so that the arrow ends inside.
        recorder.write(Kind.ASK, track, name, since, perf_counter_ns(), sequence=request, link=link)

    def answering(self, came: Iterable[tuple[int, int]]) -> None:
        """A task answers a batch now."""
        self.before_send(Kind.ANSWER)
        self.sending(came, Flow.ANSWER)

    def read(self, link: int, version: int) -> None:
        """It sees a published value for the first time."""
        recorder = self.recorder
        track, open_ = recorder.open_of(self.node)
        now = open_.last
        recorder.write(Kind.CAME, track, self._name, now, now, flow=Flow.VALUE, sequence=version, link=link)
        recorder.write(Kind.READ, track, self._name, now, perf_counter_ns(), sequence=version, link=link)
