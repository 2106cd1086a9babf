"""Workers of a simulated run: tasks instead of processes, that can be killed without their cleanup counting.

A kill takes three steps, since a task cannot simply be gone. From the moment of the kill the worker is mute: what it
sends, says or counts does not leave it. What its nodes had on disk and in their pages at that moment is copied. Then
its tasks are cancelled, which lets go of files and threads, and the copies are put back over whatever they did
meanwhile. Only then is the supervisor told.
"""

from __future__ import annotations

import shutil
import signal
import socket
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import msgpack
import trio

from flow.control import Words
from flow.plan import WorkerPlan
from flow.processes import Process
from flow.testing.simulation.journal import Life

if TYPE_CHECKING:
    from flow.testing.simulation.run import Simulation

_FORK_S = 0.03
# A worker whose tasks are cancelled ends at once; one that does not holds on to something behind a shield.
_MUTE_S = 60.0


@dataclass(eq=False)
class SimulatedLine:
    """One end of what joins a worker to its supervisor; `join` makes the two."""

    simulation: Simulation
    came: deque[bytes] = field(default_factory=deque)
    over: bool = False
    other: SimulatedLine | None = None
    event: Callable[[], None] | None = None
    _last: float = 0.0
    _arrival: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)

    async def say(self, **words: Any) -> None:
        await trio.lowlevel.checkpoint()
        if self.event is not None:
            self.event()
        if self.over:
            raise trio.BrokenResourceError
        self._deliver(msgpack.packb(words))

    def _deliver(self, said: bytes | None) -> None:
        """Let it arrive at the other end, after what was said before; None is the end."""
        other, network = self.other, self.simulation.network
        assert other is not None

        def arrive() -> None:
            if said is None:
                other.over = True
            else:
                other.came.append(said)
            other._arrival.unpark_all()

        self._last = max(self._last, trio.current_time() + network.latency())
        network.at(self._last, arrive)

    async def hear(self) -> Words | None:
        await trio.lowlevel.checkpoint()
        while not self.came:
            if self.over:
                return None
            await self._arrival.park()
        if self.event is not None:
            self.event()
        words: Words = msgpack.unpackb(self.came.popleft(), strict_map_key=False)
        return words

    def close(self) -> None:
        if not self.over:
            self.over = True
            self._deliver(None)


def join(simulation: Simulation) -> tuple[SimulatedLine, SimulatedLine]:
    """Both ends of a line."""
    ours, theirs = SimulatedLine(simulation), SimulatedLine(simulation)
    ours.other, theirs.other = theirs, ours
    return ours, theirs


@dataclass
class SimulatedProcess(Process):
    """One incarnation of a worker. life: what is dead when it is killed; scope: of its tasks."""

    life: Life = field(default_factory=lambda: Life("", 0))
    scope: trio.CancelScope = field(default_factory=trio.CancelScope)
    end: SimulatedLine | None = None
    simulation: Simulation | None = None
    kept: Kept | None = None

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Gone, from here on."""
        simulation = self.simulation
        assert simulation is not None
        assert self.end is not None
        if number != signal.SIGKILL or self.life.over:
            return
        self.life.over = True
        simulation.journal.killed(self.worker)
        simulation.network.killed(self.life)
        self.end.close()
        nodes = next(each for each in simulation.plan.workers if each.name == self.worker).nodes
        pages = [simulation.directory.page_file(node.name, node.replica) for node in nodes]
        self.kept = Kept([simulation.directory.path / "nodes" / node.key for node in nodes], pages)
        self.scope.cancel()


class Kept:
    """What lay in some directories and pages at the moment of a kill, to be put back after the cleanup."""

    def __init__(self, directories: list[Path], pages: list[Path]) -> None:
        self._pages = {page: page.read_bytes() for page in pages if page.exists()}
        self._directories = {
            directory: {path: path.read_bytes() for path in directory.rglob("*") if path.is_file()}
            for directory in directories
            if directory.exists()
        }

    def put_back(self) -> None:
        for page, content in self._pages.items():
            with page.open("r+b") as file:  # the same file: the supervisor has it mapped
                file.write(content)
        for directory, files in self._directories.items():
            shutil.rmtree(directory)
            directory.mkdir()
            for path, content in files.items():
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


class SimulatedProcesses:
    """Makes workers as the supervisor asks for them."""

    def __init__(self, simulation: Simulation) -> None:
        self._simulation = simulation
        self.living: list[SimulatedProcess] = []

    def start(self, nursery: trio.Nursery) -> None:
        self._nursery = nursery

    async def fork(self, plan: WorkerPlan, epoch: int, words: Words) -> Process:
        await trio.sleep(_FORK_S)
        simulation = self._simulation
        ours, theirs = join(simulation)
        process = SimulatedProcess(plan.name, epoch, epoch, ours, life=Life(plan.name, epoch), end=theirs)
        process.simulation = simulation
        theirs.event = lambda: simulation.worker_event(plan.name)
        # As the fork server gets them: through msgpack.
        told = msgpack.unpackb(msgpack.packb({**words, "worker": plan.name, "epoch": epoch}), strict_map_key=False)
        self.living.append(process)
        self._nursery.start_soon(self._live, process, told)
        return process

    async def _live(self, process: SimulatedProcess, words: Words) -> None:
        from flow.testing.simulation.worker import SimulatedWorker

        simulation, end = self._simulation, process.end
        assert end is not None
        worker: SimulatedWorker | None = None
        process.status = 0
        try:
            with process.scope:
                # The control socket is the line's, which is another here.
                control = cast(socket.socket, None)
                worker = SimulatedWorker(words, control, life=process.life, simulation=simulation, end=end)
                await worker.run()
        except BaseExceptionGroup as group:
            cancelled, failed = group.split(trio.Cancelled)
            if failed is not None:
                self._failed(process, failed)
            if cancelled is not None:  # the run is over
                raise cancelled from None
        except Exception as error:
            self._failed(process, error)
        finally:
            if worker is not None:
                worker.close()
            if process.kept is not None:
                process.kept.put_back()
                process.status = -signal.SIGKILL
            self.living.remove(process)
            end.close()
            process.over.set()

    def _failed(self, process: SimulatedProcess, error: BaseException) -> None:
        """A worker raised, as its code never should; one that is dead, or left when the run is over, may."""
        simulation = self._simulation
        if not process.life.over and not simulation.journal.closed:
            trace = "".join(traceback.format_exception(error))
            simulation.journal.violation("worker failed", f"worker {process.worker}: {trace}")
            process.status = 1
            simulation.supervisor.finish("failed", "a worker failed")

    def find(self, worker: str) -> SimulatedProcess | None:
        return next((process for process in reversed(self.living) if process.worker == worker), None)

    def kill(self) -> None:
        for process in list(self.living):
            process.kill()

    def close(self) -> None:
        """What is left is cancelled with the run."""
