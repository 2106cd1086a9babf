"""Runs one node in its worker: hands it its ports and settings, takes its state when it is at rest, closes its ends."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from flow import saved as saved_state
from flow.assembly import Assembly
from flow.computing import WorkThreads, current_threads
from flow.context import Context, Level, Live
from flow.deterministic import Generators
from flow.errors import CheckpointError, DiskFullError, ForgottenAwaitError, MissingError, SettingError
from flow.forgotten import no_forgotten_await
from flow.inspect.live import read_live
from flow.inspect.watch import NodeWatch
from flow.logs import EventLog
from flow.mailbox import NewestMailbox
from flow.node_type import NodeType
from flow.occupancy import Occupancy
from flow.plan import NodePlan
from flow.port_spec import spec_of
from flow.resting import AtRest, Taking
from flow.saved import Packed, Saved
from flow.snapshot import Snapshot
from flow.stats import Counter, Gauge, Page, Series, State

# A node that has none of these makes what others process, so draining a run begins with it.
_CONSUMING = ("In", "Serve")
# Errors that the same node, settings, files and disk would give again.
_FOR_GOOD = (SettingError, MissingError, CheckpointError, DiskFullError, ForgottenAwaitError)


class PageMetrics:
    """A node's metrics, kept in its stats page."""

    def __init__(self, page: Page) -> None:
        self._page = page
        self._known: dict[str, Any] = {}

    def count(self, name: str, n: float = 1) -> None:
        counter: Counter | None = self._known.get(name)
        if counter is None:
            counter = self._known[name] = self._page.counter(name)
        counter.add(int(n))

    def gauge(self, name: str, value: float) -> None:
        gauge: Gauge | None = self._known.get(name)
        if gauge is None:
            gauge = self._known[name] = self._page.gauge(name)
        gauge.set(float(value))

    def record(self, name: str, value: float) -> None:
        series: Series | None = self._known.get(name)
        if series is None:
            series = self._known[name] = self._page.series(name)
        series.append(float(value))


def first_cause(error: BaseException) -> BaseException:
    """The first error of a group, which is what a nursery raises."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


@dataclass
class Host:
    """One node replica in its worker.

    state: its kept state when it ended, for a checkpoint made after. cause: the error it died of, in a line.
    failed_for_good: starting it again would fail the same way. make_threads: where its blocking work is done. rewound:
    its next start is that of a run that is resumed. generators: what it draws from as if it had the process for itself,
    in a deterministic run.
    """

    plan: NodePlan
    type: NodeType[Any]
    assembly: Assembly
    page: Page
    log: EventLog
    directory: Path
    incarnation: int = 0
    running: bool = False
    ended: bool = False
    failed: bool = False
    rewound: bool = False
    generators: Generators | None = None
    state: Packed | None = None
    cause: str = ""
    failed_for_good: bool = False
    make_threads: Callable[[str, Occupancy], WorkThreads] = WorkThreads
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    rest: AtRest = field(default_factory=AtRest)
    snapshot: Snapshot | None = None
    saved: Saved = field(default_factory=Saved)
    live: dict[str, Live[Any]] = field(default_factory=dict)
    task: trio.lowlevel.Task | None = None
    begun: trio.Event = field(default_factory=trio.Event)  # the start that was asked for last
    _again: list[dict[str, Any] | None] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.watch = NodeWatch({port.name: port.kind for port in self.type.ports.values()}, self.plan.key)

    @property
    def messages(self) -> int:
        """How many messages and questions it took in all; of a source, how many it sent."""
        return self.assembly.messages(self.plan, sent=self.is_source)

    @property
    def is_source(self) -> bool:
        return not any(port.kind in _CONSUMING for port in self.type.ports.values())

    def begin(self) -> None:
        """The node is about to run: from here on it can be cancelled."""
        self.running, self.failed = True, False
        self.scope, self.rest = trio.CancelScope(), AtRest()

    async def run(self, incarnation: int, restored: dict[str, Any] | None) -> str | None:
        """Run the node, after `begin`, to its end, with starts by hand between.

        Returns None when it ended, else its traceback.
        """
        trace = await self._run(incarnation, restored)
        while self._again:
            restored = self._again.pop()
            incarnation += 1
            self.page.set_incarnation(incarnation)
            self.begin()
            trace = await self._run(incarnation, restored)
        return trace

    def _nothing_comes(self) -> bool:
        """Whether no task that waits for a message is about to get one."""
        mailboxes = self.assembly.mailboxes_of(self.plan)
        return self.watch.paused or not any(
            mailbox.queued() for mailbox in mailboxes if not isinstance(mailbox, NewestMailbox)
        )

    def restart(self, restored: dict[str, Any] | None) -> None:
        """End it and start it again, from that state. What it has in hand is lost."""
        self._again, self.begun = [restored], trio.Event()
        self.scope.cancel()

    async def restart_at_rest(self) -> None:
        """End it when it next has nothing in hand, and start it again with the state it has then.

        Raises:
          CheckpointError: it keeps something that cannot be saved.
        """
        errors: list[CheckpointError] = []
        done = trio.Event()

        def act() -> None:
            try:
                packed = self.pack()
                self.restart(None if packed is None else saved_state.unpack(packed.tensors, packed.rest))
            except CheckpointError as error:
                errors.append(error)
            done.set()

        # A source has in hand what it is about to send, and makes that again.
        acts = self.rest.when_resting if self.is_source else self.rest.when_empty_handed
        acts.append(act)
        self.rest.look()
        try:
            await done.wait()
        finally:
            for each in (self.rest.when_resting, self.rest.when_empty_handed):
                if act in each:
                    each.remove(act)
        if errors:
            raise errors[0]

    def resume(self) -> None:
        """Let it run on, if it was paused."""
        if self.watch.paused:
            self.watch.resume()
            if self.running:
                self.page.set_state("running")

    async def _run(self, incarnation: int, restored: dict[str, Any] | None) -> str | None:
        self.incarnation, self.saved = incarnation, Saved(restored, rewound=self.rewound)
        self.rewound = False
        occupancy = self.assembly.occupancy(self.plan.key)
        occupancy.start()
        threads = self.make_threads(self.plan.key, occupancy)
        threads.told = self.watch.computed
        self.rest.threads = threads
        current_threads.set(threads)
        ports = self.assembly.ports(self.plan, self.rest)
        taking = Taking(self.rest)
        self.rest.nothing_comes = self._nothing_comes
        for port in self.type.ports.values():
            if port.kind in _CONSUMING and port.name in ports:
                spec_of(ports[port.name]).rest = taking
        self.watch.attach(ports, self.rest, taking, occupancy)
        self.task = trio.lowlevel.current_task()
        self.begun.set()
        self.page.set_state("paused" if self.watch.paused else "running")
        self.page.set_text("")
        try:
            with no_forgotten_await(self.scope), self.scope:
                await self.type.function(*ports.values(), **self._keywords())
        except Exception as error:
            self._again.clear()
            first = first_cause(error)
            self.cause = f"{type(first).__name__}: {first}{self._where(first)}"
            self.failed_for_good = isinstance(first, _FOR_GOOD)
            self.failed = True
            error.add_note(f"in node {self.plan.name}, replica {self.plan.replica}, start {incarnation}")
            self.page.set_state("failed")
            self.page.set_text(self.cause)
            self._no_snapshot(f"it failed: {self.cause}")
            self.assembly.node_failed(self.plan)
            return "".join(traceback.format_exception(error))
        else:
            if self._again and self.scope.cancelled_caught:
                self._no_snapshot("it is being started again")
                self.assembly.node_failed(self.plan)
            else:
                self._again.clear()
                self._finish(ports)
            return None
        finally:
            self.running = False
            threads.stop()
            occupancy.stop()

    def _where(self, error: BaseException) -> str:
        """Where in the node's own file an error came up, else where it did at all; "" where its text says enough."""
        if isinstance(error, _FOR_GOOD):
            return ""
        frames = traceback.extract_tb(error.__traceback__)
        file = inspect.unwrap(self.type.function).__code__.co_filename
        own = [frame for frame in frames if frame.filename == file] or frames
        return f" ({Path(own[-1].filename).name}:{own[-1].lineno})" if own else ""

    def abandon(self, state: State = "failed") -> None:
        """The node will not be started again here: its receivers are told that no more comes.

        Its state is not taken: it failed in the middle of something, or never began. The checkpoint before counts.
        """
        if not self.running and not self.ended:
            self.failed = state == "failed"
            self._end(self.assembly.ports(self.plan, self.rest))
            self.page.set_state(state)

    def _finish(self, ports: dict[str, Any]) -> None:
        self.state = self.pack()
        for act in self.rest.when_resting:
            act()
        if self.snapshot is not None:
            self.snapshot.node_ended(self.state)
        self._end(ports)

    def _no_snapshot(self, why: str) -> None:
        if self.snapshot is not None:
            self.snapshot.fail(CheckpointError(why))

    def _end(self, ports: dict[str, Any]) -> None:
        self.ended = True
        for port in ports.values():
            if hasattr(port, "end"):
                port.end()
        for mailbox in self.assembly.mailboxes_of(self.plan):
            mailbox.close()
        self.page.set_state("ended")

    def _keywords(self) -> dict[str, Any]:
        keywords: dict[str, Any] = {}
        changed = read_live(self.directory)
        for name, setting in self.type.settings.items():
            value = self.plan.settings.get(name, setting.default)
            keywords[name] = value
            if setting.live:
                keywords[name] = self.live[name] = Live(changed.get(name, value))
        if self.type.context_parameter:
            keywords[self.type.context_parameter] = self._context()
        if self.type.saved_parameter:
            keywords[self.type.saved_parameter] = self.saved
        return keywords

    def _context(self) -> Context:
        def log(text: str, level: Level = "info") -> None:
            self.log.event(level, self.plan.key, text)

        return Context(
            self.plan.name,
            self.plan.replica,
            self.plan.replicas,
            self.plan.seed,
            self.directory,
            self._starts_before(),
            PageMetrics(self.page),
            log,
            self.plan.number,
        )

    def _starts_before(self) -> int:
        """How many starts the node has had in this run directory, those before a resumption included."""
        file = self.directory / "starts"
        before = int(file.read_text()) if file.exists() else 0
        # As a whole: a kill inside would leave an empty file, and a node that never starts again.
        unfinished = self.directory / "starts.part"
        unfinished.write_text(str(before + 1))
        unfinished.replace(file)
        return before

    async def take_state(self) -> Packed | None:
        """A copy of the node's state when it next rests.

        None if it keeps nothing, and if it failed or has not begun: what it goes on from is the checkpoint before.

        Raises:
          CheckpointError: it keeps something that cannot be saved.
        """
        if self.type.saved_parameter is None or self.failed or not (self.running or self.ended):
            return None
        if self.ended:
            return self.state
        taken: list[Packed | None] = []
        errors: list[CheckpointError] = []
        resting = trio.Event()

        def act() -> None:
            try:
                taken.append(self.pack())
            except CheckpointError as error:  # told to who asked: the node, in whose step this runs, did not
                errors.append(error)
            resting.set()

        rest = self.rest
        rest.when_resting.append(act)
        rest.look()
        try:
            await resting.wait()
        finally:
            if act in rest.when_resting:
                rest.when_resting.remove(act)
        if errors:
            raise errors[0]
        return taken[0]

    def pack(self) -> Packed | None:
        """A copy of the node's state, None if it keeps none.

        Raises:
          CheckpointError: it keeps something that cannot be saved.
        """
        state = self.saved.state()
        return saved_state.pack(state) if state else None
