"""A worker as it is, with the means of a simulated run: its sockets, its line, its log, its blocking work."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Awaitable, Callable, Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import trio

from flow.assembly import Assembly
from flow.carrier.zeromq import Hub
from flow.computing import WorkThreads
from flow.control import Speaking
from flow.host import Host
from flow.logs import Event, EventLog, Level
from flow.node_type import NodeType
from flow.occupancy import Occupancy
from flow.plan import NodePlan
from flow.saved import Packed
from flow.stats import Page
from flow.testing.simulation.journal import Life
from flow.testing.simulation.network import Sockets
from flow.testing.simulation.processes import SimulatedLine
from flow.testing.simulation.watched import WatchedAssembly
from flow.worker import BEAT_S, Worker

if TYPE_CHECKING:
    from flow.testing.simulation.run import Simulation

R = TypeVar("R")


class JournalLog(EventLog):
    """Events of a process go to the timeline, and what should not be said is a violation."""

    def __init__(self, simulation: Simulation, life: Life) -> None:
        self._simulation, self._life = simulation, life

    def event(self, level: Level, node: str, text: str, **more: Any) -> Event:
        if not self._life.over:
            self._simulation.said(self._life.worker, level, node, text)
        return Event(0.0, level, node, text, more)

    def close(self) -> None:
        """There is nothing to close."""


class WorkInTheLoop(WorkThreads):
    """Blocking work done in the loop, after as long as the seed draws; calls that name one thread wait for each other.

    A node may raise before a call; after it the node has what came of it, as in a run.
    """

    def __init__(
        self, node: str, occupancy: Occupancy | None, step: Callable[[str], None], seconds: Callable[[], float]
    ) -> None:
        super().__init__(node, occupancy)
        self._key, self._step, self._seconds = node, step, seconds
        self._turns: dict[str, trio.Lock] = defaultdict(trio.Lock)

    async def run(self, thread: str, function: Callable[..., R], *arguments: Any) -> R:
        self._step(self._key)
        await trio.lowlevel.checkpoint()
        self._count(1)
        try:
            with trio.CancelScope(shield=True):  # a call once begun is waited for
                async with self._turns[thread]:
                    await trio.sleep(self._seconds())
                    result = function(*arguments)
            return result
        finally:
            self._count(-1)

    def ahead(self, name: str, function: Callable[[], R]) -> None:
        """There are no threads here: each result is worked for when it is asked for."""


class Driven:
    """A node's coroutine, that goes on later where it hangs. hang: seconds before its next step."""

    def __init__(self, coroutine: Awaitable[None], hang: Callable[[], float]) -> None:
        self._coroutine, self._hang = coroutine, hang

    def __await__(self) -> Generator[Any, Any, None]:
        inner = self._coroutine.__await__()
        resume: Callable[[], Any] = lambda: inner.send(None)  # noqa: E731
        while True:
            try:
                trap = resume()
            except StopIteration:
                return
            try:
                value = yield trap
            except BaseException as raised:
                error = raised
                resume = lambda error=error: inner.throw(error)  # type: ignore[misc]  # noqa: E731
            else:
                resume = lambda value=value: inner.send(value)  # type: ignore[misc]  # noqa: E731
            seconds = self._hang()
            if seconds:
                yield from _asleep(seconds).__await__()


async def _asleep(seconds: float) -> None:
    with trio.CancelScope(shield=True):
        await trio.sleep(seconds)


@dataclass(kw_only=True)
class SimulatedWorker(Worker):
    """A worker that keeps the journal. life: what is over when it is killed; end: its end of the line."""

    life: Life
    simulation: Simulation
    end: SimulatedLine

    def __post_init__(self) -> None:
        super().__post_init__()
        self.directory = self.simulation.directory
        self.simulation.workers[self.name] = self

    def make_log(self) -> EventLog:
        return JournalLog(self.simulation, self.life)

    def make_line(self) -> Speaking:
        return self.end

    def make_hub(self) -> Hub:
        sockets: Any = Sockets(self.simulation.network, self.life)
        return Hub(self.name, self.epoch, self._warn, sockets)

    def make_assembly(
        self, hub: Hub, types: dict[str, NodeType[Any]], settings: dict[str, dict[str, Any]], pages: dict[str, Page]
    ) -> Assembly:
        return WatchedAssembly(
            self.plan,
            self.name,
            hub,
            types,
            settings,
            pages,
            journal=self.simulation.journal,
            life=self.life,
            step=self._step,
        )

    def make_host(self, node: NodePlan, node_type: NodeType[Any], assembly: Assembly, page: Page, place: Path) -> Host:
        host = super().make_host(node, node_type, assembly, page, place)
        host.type = copy.copy(node_type)
        function = node_type.function

        def driven(*ports: Any, **keywords: Any) -> Driven:
            return Driven(function(*ports, **keywords), lambda: self.simulation.hang(self.life, node.key))

        host.type.function = driven
        host.make_threads = lambda key, occupancy: WorkInTheLoop(key, occupancy, self._step, self.simulation.computing)
        return host

    async def write_state(self, packed: Packed, directory: Path, key: str) -> list[str]:
        await trio.lowlevel.checkpoint()
        self.simulation.state(self.life, key, packed)
        return packed.write(directory, key)

    async def _beat(self) -> None:
        # Without telling how much of the processor each takes: they all are one process here.
        while True:
            for host in self.hosts.values():
                host.page.beat()
            await trio.sleep(BEAT_S)

    def _step(self, key: str) -> None:
        self.simulation.step(self.life, key)

    def close(self) -> None:
        """Let go of the pages, as the end of a process does."""
        for host in self.hosts.values():
            host.page.close()
