"""Plays a case: one node, from its start to its end, on a clock that jumps, and everything it did written down.

record = play(chunker, case)
play(chunker, case, How(cancel_at=17))       cancelled before its 17th step
play(chunker, case, How(reading=False))      and nobody reads what it sends
"""

from __future__ import annotations

import shutil
import tempfile
import traceback
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import trio

from flow.batch import Batch
from flow.computing import current_threads
from flow.context import Context, Live
from flow.errors import FlowError, MessageError
from flow.forgotten import no_forgotten_await
from flow.host import first_cause
from flow.message import Message
from flow.node_type import NodeType, Port
from flow.saved import Packed, Saved, pack, unpack
from flow.testing import files
from flow.testing.answers import Answers
from flow.testing.case import BEFORE, Case
from flow.testing.cases import bound_for
from flow.testing.given import given_of
from flow.testing.record import NOTHING as NOTHING
from flow.testing.record import Record as Record
from flow.testing.scheduler import run as run_loop
from flow.testing.stage import Stage
from flow.testing.steps import Alarm, DoesNotStopError, Steps, stepped, throw_into
from flow.testing.surroundings import Surroundings

# A node that does nothing for so long will never do anything. The clock jumps there at once.
STUCK_S = 1e9
# A cancelled node may take so long to clean up.
STOPPING_S = 5.0
# One that still sends, so many messages after its inputs have ended, will not end.
ENDLESS = 200
# A reader that got so many messages at one instant lets a second pass, so that a source does not stop the clock.
AT_ONCE = 16


@dataclass(frozen=True)
class How:
    """How a case is played; by default to its end.

    Attributes:
      schedule: another scheduler seed than the case's. latency: seed of how long answers to its calls take; 0, none.
      reading: whether what it sends is read. pace: seconds a reader takes for each message.
      read_from: nobody reads before this moment.
      cancel_at: the step before which it is cancelled. fail_at: the effect that fails.
      start: saved state to begin with. snapshot_at: when its state is taken.
      snapshot_sent: after how many messages that it sent its state is taken, at the next moment of rest.
      ends: whether its inputs end; end_after: how long after the last message.
      live: by setting, (moment, value). spoiled: (port, index, message) to put in the place of a good message.
      directory: `Context.directory`; one of its own if not given.
      digests: whether the content of what it says is noted as it says it.
      surroundings: what is different around it; see Surroundings.
    """

    schedule: int | None = None
    latency: int = 0
    reading: bool = True
    pace: float = 0.0
    read_from: float = 0.0
    cancel_at: int = 0
    fail_at: int = 0
    start: Packed | None = None
    snapshot_at: float | None = None
    snapshot_sent: int | None = None
    ends: bool = True
    end_after: float = 1.0
    live: Mapping[str, tuple[float, Any]] = field(default_factory=dict)
    spoiled: tuple[str, int, Any] | None = None
    directory: Path | None = None
    digests: bool = False
    surroundings: Surroundings = field(default_factory=Surroundings)


def play(node_type: NodeType[Any], case: Case, how: How | None = None) -> Record:
    """Play a case and say what happened; the node's own failures are in the record, never raised."""
    how = how or How()
    made = None
    if how.directory is None and node_type.context_parameter:
        made = Path(tempfile.mkdtemp(prefix="flow-test-"))
    trial = Trial(node_type, case, how, how.directory or made or Path())
    schedule = case.schedule if how.schedule is None else how.schedule
    try:
        with how.surroundings.around(trial.surrounded, trial.complain), Alarm():
            run_loop(trial.run, seed=schedule)
    except DoesNotStopError as error:
        trial.record.stuck = trial.record.stuck or str(error)
    finally:
        if made is not None:
            shutil.rmtree(made, ignore_errors=True)
    return trial.record


class Trial:
    """A case being played."""

    def __init__(self, node_type: NodeType[Any], case: Case, how: How, directory: Path) -> None:
        self.type, self.case, self.how, self.directory = node_type, case, how, directory
        self.record = Record()
        self.scope = trio.CancelScope()
        self.over = trio.CancelScope()
        self.lives: dict[str, Live[Any]] = {}
        self.saved = Saved(unpack(how.start.tensors, how.start.rest) if how.start else None)

    def surrounded(self) -> bool:
        """Whether a step of the node goes on now, outside its blocking work."""
        return hasattr(self, "steps") and self.steps.inside and not self.stage.blocking.depth

    def complain(self, text: str) -> None:
        if text not in self.record.complaints:
            self.record.complaints.append(text)

    async def run(self) -> None:
        try:
            self.type = bound_for(self.type, self.case.settings)
        except FlowError as error:
            self.record.error = error
            return
        settings = {name: self.case.settings.get(name, each.default) for name, each in self.type.settings.items()}
        self.steps = Steps(self)
        self.stage = Stage(self.type, settings, fail_at=self.how.fail_at, clock=self.steps.clock)
        self.stage.events, self.stage.nonconforming = self.record.events, self.record.nonconforming
        self.stage.digests, self.stage.digesting = self.record.digests, self.how.digests
        self.stage.when_resting = self._resting
        self.began = trio.current_time()
        trio.lowlevel.add_instrument(self.steps)
        try:
            with self._files(), self.over:
                async with trio.open_nursery() as nursery:
                    self._start(nursery)
        finally:
            trio.lowlevel.remove_instrument(self.steps)
            self.record.steps = self.steps.count
            self.record.hogs = self.steps.hogs
            self.record.effects = self.stage.faults.effects
            self.record.injected = self.stage.faults.raised

    def _files(self) -> AbstractContextManager[None]:
        """Hear what the node does with its files; one without a context has no directory."""
        if self.type.context_parameter is None:
            return nullcontext()
        return files.heard(self.directory, self.stage.faults.file)

    def _start(self, nursery: trio.Nursery) -> None:
        for port in self.type.ports.values():
            items = list(self.case.inputs.get(port.name, ()))
            if port.kind == "In":
                nursery.start_soon(self._feed, port.name, items)
            elif port.kind == "Serve":
                nursery.start_soon(self._ask_all, port.name, items)
            elif port.kind == "Latest":
                self._publish_early(port.name, items)
                nursery.start_soon(self._publish, port.name, items)
            elif port.kind == "Out":
                nursery.start_soon(self._read, port.name)
            elif port.kind == "Call":
                nursery.start_soon(self._answer, port)
        for name, (moment, value) in self.how.live.items():
            nursery.start_soon(self._change, name, moment, value)
        if self.how.snapshot_at is not None:
            nursery.start_soon(self._snapshot_at, self.how.snapshot_at)
        nursery.start_soon(self._watch)
        nursery.start_soon(self._node)

    def _keywords(self) -> dict[str, Any]:
        keywords: dict[str, Any] = {}
        for name, setting in self.type.settings.items():
            value = self.stage.settings[name]
            keywords[name] = Live(value) if setting.live else value
            if setting.live:
                self.lives[name] = keywords[name]
        if self.type.saved_parameter:
            keywords[self.type.saved_parameter] = self.saved
        if self.type.context_parameter:
            name = self.type.name.rpartition(":")[2]
            context = Context(name, seed=self.case.seed, directory=self.directory, metrics=self.record.metrics)
            keywords[self.type.context_parameter] = context
        return keywords

    async def _node(self) -> None:
        current_threads.set(self.stage.threads)
        self.steps.task = trio.lowlevel.current_task()
        record = self.record
        try:
            with no_forgotten_await(self.scope), self.scope:
                coroutine: Any = self.type.function(*self.stage.ports().values(), **self._keywords())
                await stepped(coroutine, self.steps)
                record.ended = not record.cancelled
        except DoesNotStopError as error:
            record.stuck = record.stuck or str(error)
        except Exception as error:
            record.error = first_cause(error)
            if _in_answering(record.error):
                record.nonconforming.append(str(record.error))
        if record.cancelled:
            record.stopping_s = trio.current_time() - self.cancelled_at
        record.state = self._packed()
        if record.ended and self.how.reading:
            # What was sent is read; who still feeds the node has nobody to feed.
            while any(self.stage.mailboxes[port.name].waiting for port in self._of("Out")):  # noqa: ASYNC110
                await trio.sleep(1.0)
        self.over.cancel()

    def _of(self, *kinds: str) -> list[Port]:
        return [port for port in self.type.ports.values() if port.kind in kinds]

    def cancel(self, why: str = "") -> None:
        """Cancel the node. why: what it did that it must not; "" where the case asks for it."""
        if not self.record.cancelled:
            self.record.cancelled, self.cancelled_at = True, trio.current_time()
            self.record.heard_before_cancel = len(self.record.events)
            self.record.stuck = self.record.stuck or why
            self.scope.cancel()

    def _resting(self, port: Port) -> None:
        wanted = self.how.snapshot_sent
        if wanted is None or self.record.snapshot is not None or port.kind != "Out":
            return
        if sum(event.kind == "sent" for event in self.record.events) == wanted:
            self._take_snapshot()

    def _take_snapshot(self) -> None:
        self.record.snapshot_events = len(self.record.events)
        self.record.snapshot = self._packed()

    def _packed(self) -> Packed:
        """The node's state as a checkpoint holds it: a copy. What cannot be saved is kept as an error."""
        try:
            state = self.saved.state()
            return pack(state) if state else NOTHING
        except Exception as error:
            self.record.state_error = error
            return NOTHING

    async def _snapshot_at(self, moment: float) -> None:
        await trio.sleep_until(self.began + moment)
        self._take_snapshot()

    async def _change(self, name: str, moment: float, value: Any) -> None:
        await trio.sleep_until(self.began + moment)
        self.lives[name].value = value

    async def _end(self, port: str) -> None:
        if self.how.ends:
            await trio.sleep_until(self.began + max(self.case.last, 0.0) + self.how.end_after)
            self.stage.end(port)

    async def _feed(self, port: str, items: list[tuple[float, Message]]) -> None:
        for index, (moment, message) in enumerate(items):
            await trio.sleep_until(self.began + moment)
            if self.how.spoiled is not None and self.how.spoiled[:2] == (port, index):
                message = self.how.spoiled[2]
            await self.stage.send(port, message)
        await self._end(port)

    async def _ask_all(self, port: str, items: list[tuple[float, Message]]) -> None:
        async with trio.open_nursery() as nursery:
            for number, (moment, question) in enumerate(items):
                if self.how.spoiled is not None and self.how.spoiled[:2] == (port, number):
                    question = self.how.spoiled[2]
                nursery.start_soon(self._ask, port, number, moment, question)
        await self._end(port)

    async def _ask(self, port: str, number: int, moment: float, question: Message) -> None:
        await trio.sleep_until(self.began + moment)
        await self.stage.ask(port, question, number)

    def _publish_early(self, port: str, items: list[tuple[float, Message]]) -> None:
        for version, (moment, message) in enumerate(items):
            if moment <= BEFORE:
                self.stage.links[port].publish(version, self._unspoiled(port, version, message), 0)

    def _unspoiled(self, port: str, index: int, message: Message) -> Any:
        spoiled = self.how.spoiled
        return spoiled[2] if spoiled is not None and spoiled[:2] == (port, index) else message

    async def _publish(self, port: str, items: list[tuple[float, Message]]) -> None:
        for version, (moment, message) in enumerate(items):
            if moment > BEFORE:
                await trio.sleep_until(self.began + moment)
                self.stage.links[port].publish(version, self._unspoiled(port, version, message), 0)
        await self._end(port)

    async def _read(self, port: str) -> None:
        instant, at_once = self.began, 0
        if not self.how.reading:
            return
        await trio.sleep_until(self.began + self.how.read_from)
        while True:
            try:
                await self.stage.take(port)
            except trio.EndOfChannel:
                return
            now = trio.current_time()
            instant, at_once = now, at_once + 1 if now == instant else 1
            self._enough()
            await trio.sleep(self.how.pace)
            if at_once >= AT_ONCE:
                await trio.sleep(1.0)

    def _enough(self) -> None:
        """Stop a source that sent what the case wants, and one that goes on when its inputs have ended."""
        sent = sum(event.kind == "sent" for event in self.record.events)
        if not self._of("In", "Serve"):
            if sent >= self.case.most:
                self.cancel()
        elif sent >= ENDLESS and trio.current_time() > self.began + self.case.last + self.how.end_after:
            self.cancel("it goes on sending when its inputs have ended")

    async def _answer(self, port: Port) -> None:
        given = given_of(self.type).answers.get(port.name)
        function = given(self.stage.settings) if given is not None else None
        sizes = self.type.port_sizes(port.name, self.stage.settings)
        answers = Answers(port, sizes, self.case.dims, self.how.latency, function)
        serve = answers.server(self.stage.mailboxes[port.name])
        async with trio.open_nursery() as nursery:
            async for batch in serve:
                self.stage.note("asked", port.name, batch.questions)
                if not self._of("In", "Serve") and not self._of("Out"):
                    self._enough_asked()
                nursery.start_soon(answers.reply, batch)

    def _enough_asked(self) -> None:
        if sum(event.kind == "asked" for event in self.record.events) >= self.case.most:
            self.cancel()

    async def _watch(self) -> None:
        """End what would go on for ever, and say why."""
        seen = -1
        while seen != len(self.record.events):
            seen = len(self.record.events)
            await trio.sleep(STUCK_S)
        self.cancel("it waits for ever" + self._left())
        await trio.sleep(STUCK_S)
        self.record.stuck = self.record.stuck or "it does not stop when it is cancelled"
        throw_into(self.steps.task, DoesNotStopError("it does not stop when it is cancelled"))

    def _left(self) -> str:
        left = [
            f"{port.name}: {len(self.stage.mailboxes[port.name].waiting)} left over"
            for port in self._of("In")
            if self.stage.mailboxes[port.name].waiting
        ]
        return f" ({'; '.join(left)})" if left else ""


def _in_answering(error: BaseException) -> bool:
    """Whether it was raised as an answer was given: what is wrong is what the node says."""
    frames = list(traceback.walk_tb(error.__traceback__))
    return isinstance(error, MessageError) and bool(frames) and frames[-1][0].f_code is Batch.answer.__code__
