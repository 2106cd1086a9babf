"""Takes a trace of a live run and writes it as Chrome's trace format, which Perfetto and chrome://tracing open.

    a process        a worker
    a thread         a task of a node, or a thread of it that computes
    a slice          waiting, a message in hand, sending, blocked on credit, asking, answering, computing
    an arrow         a message, question, answer or published value, from where it left to where it was taken

The format: https://docs.google.com/document/d/1CvAClvFfyA5R-PhYUmn5OOQtYMH4h6I0nSsKchNAySU ("X", "s", "f" and "M"
events, times in microseconds).
"""

from __future__ import annotations

import contextlib
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flow.errors import ControlError
from flow.inspect.client import CONNECT_S, Connection, connect
from flow.inspect.overview import Look
from flow.inspect.protocol import Words
from flow.inspect.trace_layout import NO_LINK, RECORD, Flow, Kind
from flow.run_directory import RunDirectory

POLL_S = 0.1
SUCCESSOR_S = 1.0
"""For a worker that was started again to say hello, while the others wait to be read."""
TITLES = {
    Kind.TAKE: "wait for {}",
    Kind.HANDLE: "handle {}",
    Kind.SEND: "send {}",
    Kind.BLOCKED: "blocked on credit",
    Kind.ASK: "ask {}",
    Kind.ANSWER: "answer {}",
    Kind.COMPUTE: "compute {}",
    Kind.RUN: "{}",
    Kind.MAKE: "make {}",
    Kind.PUBLISH: "publish {}",
    Kind.READ: "read {}",
}
FLOWS = {Flow.MESSAGE: "message", Flow.QUESTION: "question", Flow.ANSWER: "answer", Flow.VALUE: "value"}
Record = tuple[int, int, int, int, int, int, int, int, int, int]


@dataclass
class TracedWorker:
    """What one process of a worker wrote. edges: by link. gone: why nothing more came of it."""

    worker: str
    pid: int
    edges: dict[int, str]
    began: int
    names: list[str] = field(default_factory=list)
    tracks: list[tuple[str, str]] = field(default_factory=list)
    records: list[bytes] = field(default_factory=list)
    dropped: int = 0
    gone: str = ""
    again: bool = False
    """Whether it was started in the place of one that died while the trace was taken."""

    def each(self) -> Iterator[Record]:
        """Its records, in the order in which they were written."""
        for piece in self.records:
            yield from RECORD.iter_unpack(piece)


@dataclass
class Timeline:
    """A trace of a run."""

    run: str
    seconds: float
    workers: list[TracedWorker]

    @property
    def records(self) -> int:
        return sum(len(piece) // RECORD.size for worker in self.workers for piece in worker.records)

    @property
    def dropped(self) -> int:
        return sum(worker.dropped for worker in self.workers)

    def events(self) -> Iterator[dict[str, Any]]:
        """Events of Chrome's trace format, in no order."""
        ends: dict[tuple[int, int, int], list[tuple[int, bool, int, int, str]]] = defaultdict(list)
        tids: dict[int, dict[tuple[str, str], int]] = defaultdict(dict)
        for worker in self.workers:
            # By name: a process that was traced twice numbered its tracks twice.
            known = tids[worker.pid]
            threads = [known.setdefault(track, len(known)) for track in worker.tracks]
            again = " (started again)" if worker.again else ""
            yield _meta("process_name", worker.pid, 0, name=f"worker {worker.worker}{again}")
            for place, track in enumerate(sorted(worker.tracks)):
                yield _meta("thread_name", worker.pid, known[track], name=_track_name(*track))
                yield _meta("thread_sort_index", worker.pid, known[track], sort_index=place)
            for record in worker.each():
                kind, number, _, flow, start, _, sequence, link, _, _ = record
                if kind in (Kind.LEFT, Kind.CAME):
                    end = (start, kind == Kind.CAME, worker.pid, threads[number], worker.edges.get(link, ""))
                    ends[link, flow, sequence].append(end)
                else:
                    yield _slice(worker, record, threads[number])
        yield from _arrows(ends)

    def write(self, path: Path) -> None:
        """Write it as JSON."""
        about = {
            "run": self.run,
            "seconds": self.seconds,
            "dropped": {
                name: sum(each.dropped for each in self.workers if each.worker == name)
                for name in (worker.worker for worker in self.workers)
            },
            "gone": {worker.worker: worker.gone for worker in self.workers if worker.gone},
        }
        with path.open("w", encoding="utf-8") as file:
            file.write('{"displayTimeUnit": "ms", "otherData": ' + json.dumps(about) + ', "traceEvents": [\n')
            for number, event in enumerate(self.events()):
                file.write((",\n" if number else "") + json.dumps(event, separators=(",", ":")))
            file.write("\n]}\n")


def _meta(what: str, pid: int, tid: int, **args: Any) -> dict[str, Any]:
    return {"ph": "M", "name": what, "pid": pid, "tid": tid, "args": args}


def _track_name(node: str, which: str) -> str:
    name, _, replica = node.rpartition("-")
    return f"{name}[{replica}] {which}".rstrip()


def _slice(worker: TracedWorker, record: Record, tid: int) -> dict[str, Any]:
    number, _, name, _, start, end, sequence, link, a, b = record
    kind = Kind(number)
    args: dict[str, Any] = {}
    if link != NO_LINK:
        args = {"edge": worker.edges.get(link, ""), "link": link, "sequence": sequence}
    if kind is Kind.HANDLE and a:
        args |= {"rows": a, "batch ends": worker.names[b] if b != NO_LINK else ""}
    return {
        "ph": "X",
        "cat": kind.name.lower(),
        "name": TITLES[kind].format(worker.names[name]),
        "pid": worker.pid,
        "tid": tid,
        "ts": start / 1000,
        "dur": (end - start) / 1000,
        "args": args,
    }


def _arrows(ends: dict[tuple[int, int, int], list[tuple[int, bool, int, int, str]]]) -> Iterator[dict[str, Any]]:
    """An arrow for each that left and came. A number is used again when an end was started again: the last that left
    before is what came. What one of the two ends did not see is under way, or was replaced by something newer."""
    arrow = 0
    for (_, flow, _), found in ends.items():
        left: tuple[int, bool, int, int, str] | None = None
        for end in sorted(found):
            if not end[1]:
                left = end
            elif left is not None:
                arrow += 1
                for phase, (at, came, pid, tid, edge) in (("s", left), ("f", end)):
                    yield {
                        "ph": phase,
                        "bp": "e",
                        "cat": FLOWS[Flow(flow)],
                        "name": left[4] or edge,
                        "id": arrow,
                        "pid": pid,
                        "tid": tid,
                        # What comes begins the slice that it belongs to: a moment later is inside.
                        "ts": (at + came) / 1000,
                    }
                if flow != Flow.VALUE:
                    left = None


def take(
    run: RunDirectory,
    seconds: float,
    *,
    most: int = 1_000_000,
    over: Callable[[], bool] = bool,
) -> Timeline:
    """Trace a live run.

    Args:
      seconds: for how long.
      most: records of each worker; a slice or an end of an arrow is one.
      over: true when it should end before.

    Raises:
      ControlError: no worker can be reached, or one is being traced already.
    """
    look = Look(run)
    names = sorted({view.worker for view in look.views()})
    look.close()
    if not names:
        raise ControlError(f"{run.name} has no workers yet; try again")
    with contextlib.ExitStack() as stack:
        now = {name: _begin(stack, run, name, most) for name in names}
        workers = [worker for worker, _ in now.values()]
        began = time.monotonic()
        with contextlib.suppress(KeyboardInterrupt):  # what was written until then is a trace too
            while time.monotonic() < began + seconds and not over():
                for name, (worker, connection) in list(now.items()):
                    _read(worker, connection)
                    if worker.gone and (successor := _successor(stack, run, worker, most)) is not None:
                        now[name] = successor
                        workers.append(successor[0])
                if run.owner() is None:
                    break
                time.sleep(POLL_S)
        for worker, connection in now.values():
            _end(worker, connection)
        return Timeline(run.name, round(time.monotonic() - began, 3), workers)


def new_file(run: RunDirectory) -> Path:
    """Where a trace is put that nobody gave a place."""
    folder = run.path / "traces"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder / f"trace-{time.strftime('%Y%m%d-%H%M%S')}.json"


def _begin(
    stack: contextlib.ExitStack, run: RunDirectory, name: str, most: int, seconds: float = CONNECT_S
) -> tuple[TracedWorker, Connection]:
    """Let a worker write; until the end of the stack."""
    with contextlib.ExitStack() as own:
        connection = own.enter_context(connect(run, name, seconds))
        told = connection.ask("trace_start", most=most)
        stack.enter_context(own.pop_all())
    edges = {int(link): str(edge) for link, edge in told["edges"].items()}
    return TracedWorker(name, int(connection.hello["pid"]), edges, int(told["now"])), connection


def _successor(
    stack: contextlib.ExitStack, run: RunDirectory, gone: TracedWorker, most: int
) -> tuple[TracedWorker, Connection] | None:
    """The process that was started in the place of one that died, or the same that answers again, if it does yet."""
    try:
        worker, connection = _begin(stack, run, gone.worker, most, SUCCESSOR_S)
    except ControlError:  # not yet; the next look tries again
        return None
    worker.again = worker.pid != gone.pid
    return worker, connection


def _read(worker: TracedWorker, connection: Connection) -> None:
    """Take what waits. A worker that died in between, or does not answer any more, has said what it had."""
    try:
        while not worker.gone:
            told: Words = connection.ask("trace_read", names=len(worker.names), tracks=len(worker.tracks))
            worker.records.append(told["records"])
            worker.names += told["names"]
            worker.tracks += [(str(node), str(which)) for node, which in told["tracks"]]
            worker.dropped = int(told["dropped"])
            if not told["more"]:
                return
    except ControlError as error:
        worker.gone = str(error)
        connection.close()  # for a loop that was held up: it takes one trace at a time, which ends with its viewer


def _end(worker: TracedWorker, connection: Connection) -> None:
    try:
        if not worker.gone:
            connection.ask("trace_stop")
    except ControlError as error:
        worker.gone = str(error)
    _read(worker, connection)
