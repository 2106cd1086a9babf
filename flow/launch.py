"""Runs a graph in a run directory, from the lock to the closing summary: what `flow run` does.

The supervisor's loop runs in the main thread. Showing and writing go through a thread of their own, since a terminal
that was stopped, or a full pipe, would hold up the supervisor.
"""

from __future__ import annotations

import os
import queue
import signal
import sys
import threading
from types import FrameType
from typing import Any

import trio

from flow import checkpoints
from flow.checkpoints import Checkpoint
from flow.disk_space import watch_disk
from flow.errors import CheckpointError, MissingError
from flow.graph.cuts import not_as_before, not_determined
from flow.graph.hosts import placement
from flow.graph.model import Graph, place
from flow.graph.write import write_graph
from flow.hosts.home import at_home, open_home
from flow.inspect.supervisor_control import serve_supervisor
from flow.liveness import shown_after_s
from flow.missing import MissingMetrics
from flow.monitor import Monitor
from flow.plan import Plan, make_plan
from flow.progress import Progress
from flow.run_directory import RunDirectory
from flow.supervisor import Options, Outcome, Supervisor
from flow.view.curve import draw_curve
from flow.view.summary import summary
from flow.view.tensorboard import MetricsWriter, read_curves
from flow.view.terminal import View, make_view

INTERRUPTED = 130  # what a shell expects of a program that Ctrl-C ended
_SHOW_CURSOR = "\x1b[?25h"


def launch(graph: Graph, directory: RunDirectory, *, seed: int, resumed: bool, options: Options | None = None) -> int:
    """Run a graph to its end, as `run_graph`. Returns the exit status."""
    outcome = run_graph(graph, directory, seed=seed, resumed=resumed, options=options)
    return 1 if outcome.how == "failed" else 0


def run_graph(
    graph: Graph, directory: RunDirectory, *, seed: int, resumed: bool, options: Options | None = None
) -> Outcome:
    """Run a graph to its end, and show how it goes.

    Raises:
      RunError: another process has this run.
      CheckpointError: the run's checkpoint is of another graph, or none of its checkpoints is whole.
    """
    with directory.own():
        directory.remove_sockets()  # of a supervisor that was killed; workers refuse a path that exists
        checkpoint = _checkpoint(graph, directory) if resumed else None
        plan, join = _plan(graph, seed)
        options = options or Options()
        about = directory.begin(
            write_graph(graph),
            seed=seed,
            until=graph.until,
            profile=graph.profile,
            show=list(graph.report.show),
            curve=graph.report.curve,
            shown_s=shown_after_s(options.stall_s),
            deterministic=options.deterministic,
            **({"title": graph.title} if graph.title else {}),
        )
        show = list(graph.report.show) or None
        monitor = Monitor(directory, show, graph.report.curve, graph.until, started=about["started"])
        if resumed:
            monitor.restore(*read_curves(directory.metrics))
        with make_view(graph.title, directory.name) as view, Reporter(view, directory) as reporter:
            missing = MissingMetrics(graph.until, graph.report.show, graph.report.curve)

            def observe(progress: Progress) -> None:
                for text in missing.early(progress):
                    supervisor.log.warning("", text)
                reporter.put(progress)

            supervisor = Supervisor(plan, directory, monitor, graph.until, at_home(plan), observe, options, checkpoint)
            supervisor.beside, supervisor.resumed = _beside, resumed
            _say_what_is_weaker(supervisor, graph)
            if join:
                print(open_home(supervisor, join, write_graph(graph)).invitation())
            with Interrupts(supervisor, directory):
                outcome = trio.run(supervisor.run)
            reporter.put(outcome.progress)
        notes = [reporter.note, *missing.late(outcome.progress, outcome.how)]
        _close(graph, directory, outcome, "\n".join(note for note in notes if note))
        monitor.close()
    return outcome


def _plan(graph: Graph, seed: int) -> tuple[Plan, str]:
    """The plan of a run, and where other hosts join it, "" if it has none."""
    where = placement(graph)
    plan = make_plan(
        dict(graph.nodes),
        graph.edges,
        place(graph),
        seed=seed,
        hosts=where.hosts,
        listen=where.listen,
        memory=graph.memory,
    )
    return plan, where.join


def _say_what_is_weaker(supervisor: Supervisor, graph: Graph) -> None:
    """Log what a resumption of this run, or another of its seed, will not repeat."""
    if supervisor.options.deterministic:
        what, weaker = "depends on time, also in a deterministic run", not_determined(graph)
    else:
        what, weaker = "goes on otherwise if the run is resumed", not_as_before(graph)
    for node, why in weaker.items():
        supervisor.log.info(node, f"{what}: {why}")
    before = supervisor.resume_from
    if before is not None and not before.consistent:
        text = "each node's state was taken by itself: messages may be lost or doubled between them"
        supervisor.log.warning("", f"going on from checkpoint {before.number}, in which {text}")


async def _beside(supervisor: Supervisor) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve_supervisor, supervisor)
        nursery.start_soon(watch_disk, supervisor)


def _checkpoint(graph: Graph, directory: RunDirectory) -> Checkpoint | None:
    checkpoint, problems = checkpoints.newest(directory.checkpoints)
    for problem in problems:
        print(problem, file=sys.stderr)
    if checkpoint is None and problems:
        raise CheckpointError(
            f"{directory.name}: none of its checkpoints is whole, and going on without would begin anew; if that is "
            f"what you want, remove {directory.checkpoints} and resume"
        )
    if checkpoint is None:
        print(f"{directory.name} has no checkpoint yet: its nodes start afresh, on what they stored", file=sys.stderr)
        return None
    checkpoints.require_same_graph(checkpoint, {name: node.type.name for name, node in graph.nodes.items()})
    return checkpoint


def _close(graph: Graph, directory: RunDirectory, outcome: Outcome, note: str) -> None:
    """Write down and say how the run ended."""
    directory.remove_sockets()
    try:
        directory.finish(outcome.how, outcome.cause)
    except OSError as error:
        note = f"{note}\n{directory.about_file}: how the run ended could not be written: {error.strerror}".strip()
    if outcome.progress.curve is not None:
        try:
            draw_curve(outcome.progress.curve, directory.curve_file, graph.title, outcome.progress.copy_curves)
        except (MissingError, OSError) as error:
            note = f"{note}\n{error}".strip()
    if note:
        print(note)
    print(summary(outcome.progress, directory, outcome.how, outcome.cause))  # last: its last line is the cause


class Reporter:
    """Writes every progress in one thread and shows the newest in another, which a stopped terminal may hold up."""

    def __init__(self, view: View, directory: RunDirectory) -> None:
        self._view = view
        self._writer = MetricsWriter(directory.metrics)
        self._queue: queue.SimpleQueue[Progress | None] = queue.SimpleQueue()
        self._newest: Progress | None = None
        self._fresh = threading.Event()
        self._ended = False
        self._writing = threading.Thread(target=self._write, name="writer", daemon=True)
        self._showing = threading.Thread(target=self._show, name="view", daemon=True)

    @property
    def note(self) -> str:
        """A line for the user about what is not written, and why."""
        return self._writer.note

    def put(self, progress: Progress) -> None:
        """Take in how the run stands; never waits."""
        self._queue.put(progress)
        self._newest = progress
        self._fresh.set()

    def __enter__(self) -> Reporter:
        self._writing.start()
        self._showing.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._queue.put(None)
        self._ended = True
        self._fresh.set()
        for thread in (self._writing, self._showing):
            thread.join(timeout=5)  # a stopped terminal or a hanging disk must not keep the run from ending
        if not self._writing.is_alive():
            self._writer.close()

    def _write(self) -> None:
        while (progress := self._queue.get()) is not None:
            self._writer.write(progress)

    def _show(self) -> None:
        shown: Progress | None = None
        while not self._ended or shown is not self._newest:
            self._fresh.wait()
            self._fresh.clear()
            shown = self._newest
            if shown is not None:
                self._view.show(shown)


class Interrupts:
    """The first Ctrl-C or SIGTERM drains and saves, the second ends everything at once."""

    def __init__(self, supervisor: Supervisor, directory: RunDirectory) -> None:
        self._supervisor = supervisor
        self._directory = directory
        self._count = 0
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Interrupts:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *exc: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        self._count += 1
        if self._count == 1:
            self._supervisor.interrupt()
            return
        # From here nothing may wait: not for the loop, a lock or a worker.
        try:
            self._supervisor.kill()
            if sys.stdout.isatty():
                os.write(1, f"{_SHOW_CURSOR}\nstopped at once\n".encode())
            self._directory.finish("stopped", "by a second Ctrl-C; the last checkpoint is whole")
            self._directory.remove_sockets()
        finally:  # also where the disk is full
            os._exit(INTERRUPTED)
