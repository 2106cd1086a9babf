"""What the supervisor does for inspectors: checkpoints, an end to the run, the stack of a worker that hangs, and how it
all stands, pushed to who subscribed.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from flow.errors import ControlError
from flow.inspect.overviews import Overviews
from flow.inspect.protocol import SUPERVISOR, Words, socket_file
from flow.inspect.server import Client, ControlServer, asked
from flow.inspect.touched import touch

if TYPE_CHECKING:
    from flow.supervisor import Supervisor

STACK_S = 1.0


async def serve_supervisor(supervisor: Supervisor) -> None:
    """Serve inspectors of a run's supervisor until cancelled."""
    await SupervisorControl(supervisor).run()


@dataclass
class SupervisorControl:
    """The handlers of the supervisor."""

    supervisor: Supervisor

    async def run(self) -> None:
        directory = self.supervisor.directory
        hello = {"run": directory.name, "who": SUPERVISOR, "pid": os.getpid()}
        pushed = Overviews(directory)
        handlers = {each.__name__: each for each in (self.checkpoint, self.stop, self.stack, pushed.subscribe)}

        def warn(text: str) -> None:
            self.supervisor.log.warning("", text)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(ControlServer(socket_file(directory, SUPERVISOR), hello, handlers, warn).run)
            nursery.start_soon(pushed.run)

    async def checkpoint(self, client: Client, request: Words) -> Words:
        """Take one now; it changes nothing that a run computes, so nothing is touched."""
        if self.supervisor.finishing.is_set():
            raise ControlError("the run is about to end, with a last checkpoint")
        taken = await self.supervisor.take_checkpoint(asked(request, "seconds", float, 10.0))
        if taken is None:
            raise ControlError("no checkpoint could be had; the run's log says why: flow top --once")
        return {"number": taken.number}

    async def stop(self, client: Client, request: Words) -> Words:
        """Drain, save and end, as Ctrl-C does."""
        touch(self.supervisor.directory, "", "stopped by an inspector")
        self.supervisor.interrupted.set()
        return {}

    async def stack(self, client: Client, request: Words) -> Words:
        """The threads of a worker, written by a signal handler: also while its loop hangs in C code."""
        process = self.supervisor.processes.get(asked(request, "worker", str))
        if process is None:
            alive = ", ".join(self.supervisor.processes) or "none"
            raise ControlError(f"no worker '{request['worker']}' is alive; alive are: {alive}")
        path = self.supervisor.directory.logs / f"{process.worker}.stack"
        before = path.stat().st_size if path.exists() else 0
        process.kill(signal.SIGUSR1)
        with trio.move_on_after(STACK_S):
            while not path.exists() or path.stat().st_size <= before:  # noqa: ASYNC110 (a file has no event)
                await trio.sleep(0.02)
            await trio.sleep(0.05)  # for the rest of it
        text = path.read_text(errors="replace")[before:] if path.exists() else ""
        if not text:
            raise ControlError(f"worker {process.worker} wrote no stack within {STACK_S:g} s")
        return {"text": text}
