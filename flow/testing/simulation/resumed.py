"""A simulated run that is killed whole, at moments that are given, and resumed from its last checkpoint until it ends.

What its nodes then keep is what a run that was never killed keeps, if checkpoints are one cut through the graph.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

import trio

from flow import checkpoints, saved
from flow.checkpoints import Checkpoint
from flow.supervisor import Outcome
from flow.testing.simulation.faults import Fault
from flow.testing.simulation.isolation import Temporary, seed_globals
from flow.testing.simulation.journal import Violation
from flow.testing.simulation.run import Case, SimulatedDirectory, Simulation, simulated

KILLED = "killed"


@dataclass(frozen=True)
class Resumed:
    """What came of a run over all its lives.

    states: what each node replica kept at the end. resumed_from: the checkpoint each life but the first began with.
    events: how many a life had, of those that a kill is counted in. doubtful: warnings of checkpoints without barriers.
    """

    states: dict[str, dict[str, Any] | None]
    violations: tuple[Violation, ...]
    resumed_from: tuple[Checkpoint | None, ...]
    events: tuple[int, ...]
    outcome: str
    doubtful: tuple[str, ...] = ()


@dataclass
class MortalSimulation(Simulation):
    """One life of a run. dies_at: the count of its workers' events at which all is gone; 0 for never."""

    life: int = 0
    dies_at: int = 0
    said_by: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._scope = trio.CancelScope()
        if self.life:  # other ways and waits than before the kill, and the same seed of the nodes
            self.random.seed(f"{self.seed}/{self.life}")

    async def run(self) -> Outcome:
        with self._scope:
            return await super().run()
        return Outcome(KILLED, "", self.supervisor.progress)

    def worker_event(self, worker: str) -> None:
        super().worker_event(worker)
        if self.dies_at and self.coming.counts["total", ""] == self.dies_at and not self.journal.closed:
            self.journal.closed = True
            self.processes.kill()
            self._scope.cancel()

    def said(self, worker: str, level: Any, node: str, text: str) -> None:
        super().said(worker, level, node, text)
        if "by itself" in text:
            self.said_by.append(text)


def run_with_kills(case: Case, seed: int, dies_at: Sequence[int], faults: Sequence[Fault] = ()) -> Resumed:
    """Run a graph, kill all of it at each of these counts of events, counted from its last start, and let it end."""
    violations: list[Violation] = []
    begun: list[Checkpoint | None] = []
    events: list[int] = []
    doubtful: list[str] = []
    with Temporary() as path:
        directory = SimulatedDirectory(path)
        for life, at in enumerate((*dies_at, 0)):
            seed_globals(f"{seed}/{life}")
            newest = checkpoints.newest(directory.checkpoints)[0] if life else None
            if life:
                begun.append(newest)
                _forget_counts(path)
            simulation = MortalSimulation(
                case,
                seed,
                faults if not life else (),
                directory,
                resume_from=newest,
                resumed=bool(life),
                life=life,
                dies_at=at,
            )
            result = simulated(simulation)
            violations += result.violations
            events.append(result.counts["total", ""])
            doubtful += simulation.said_by
            if result.outcome != KILLED:
                break
        hosts = {key: host for worker in simulation.workers.values() for key, host in worker.hosts.items()}
        ended = {key: host.state for key, host in hosts.items()}
    states = {key: saved.unpack(each.tensors, each.rest) if each is not None else None for key, each in ended.items()}
    return Resumed(states, tuple(violations), tuple(begun), tuple(events), result.outcome, tuple(doubtful))


def _forget_counts(path: Path) -> None:
    """Pages outlive a run, and the journal that they are held to does not."""
    for page in (path / "state").glob("*.page"):
        page.unlink()


def moments(random: Random, events: int, most: int = 3) -> tuple[int, ...]:
    """When a run is killed: from once to a few times, anywhere in its length."""
    return tuple(random.randint(1, max(1, events)) for _ in range(random.randint(1, most)))
