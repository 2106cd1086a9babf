"""A host that joined a run: starts the workers that home asks for, and passes on what they and home say.

It knows no graph but the one that home sends, imports no code from there, and outlives the run by no more than the
time after which home counts as gone: what it started dies with it, by the kernel's hand.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import os
import secrets
import shutil
import signal
import socket
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lz4.frame
import msgpack
import trio
import zmq

from flow import checkpoints
from flow.carrier.curve import be_client
from flow.control import Words
from flow.errors import RunError
from flow.hosts import fit
from flow.hosts.channel import Channel
from flow.hosts.inflow import pieces
from flow.hosts.line import SocketLine, limited
from flow.hosts.mirror import LogSource, PageSource
from flow.hosts.secret import JoinSecret
from flow.hosts.tunnel import Tunnel
from flow.inspect.protocol import socket_file
from flow.logs import EventLog
from flow.plan import Plan
from flow.processes import ForkServers, Process, modules
from flow.restarts import Restarts
from flow.run_directory import RunDirectory, versions

BEAT_S = 0.25
SHIP_S = 0.25
_END_MS = 500
_LOG_EVERY = 2
"""Looks at the pages from one look at the logs to the next."""


@dataclass
class Place:
    """A host's part of a run: what it is, and where it writes."""

    host: str
    plan: Plan
    directory: RunDirectory
    log: EventLog
    pages: PageSource
    logs: LogSource


class Agent:
    """One `flow worker --join`."""

    def __init__(self, address: str, secret: JoinSecret, host: str, runs: Path, wait_s: float) -> None:
        """host: which host of the graph this is, "" for the only one that is free. wait_s: for home to answer."""
        self._address, self._asked, self._runs, self._wait_s = address, host, runs, wait_s
        self._sockets: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        dealer = limited(self._sockets.socket(zmq.DEALER))
        dealer.setsockopt(zmq.ROUTING_ID, b"h" + secrets.token_bytes(15))
        # Not IMMEDIATE: with it what came just before the connection was closed, a goodbye for instance, is not read.
        be_client(dealer, secret.own, secret.server)
        try:
            dealer.connect(f"tcp://{address}")
        except zmq.ZMQError as error:
            dealer.close()
            raise RunError(f"--join {address}: expected HOST:PORT, as `flow run` prints it ({error})") from error
        self._line = SocketLine(dealer, self._take)
        self._channel = Channel(self._line.send)
        self._lost_s = wait_s
        self._place: Place | None = None
        self._tunnel = Tunnel(self._say_of_stream)
        self._servers: ForkServers | None = None
        self._processes: dict[tuple[str, int], Process] = {}
        self._told: dict[tuple[str, int], trio.MemorySendChannel[Words]] = {}  # what home says to each
        self._written: dict[str, Path] = {}  # where each worker wrote for the last checkpoint
        self._ended = trio.Event()
        self._text, self._status = "", 1

    async def run(self) -> int:
        """Take part until the run ends, home is gone or somebody ends it; returns the exit status."""
        with contextlib.ExitStack() as stack:
            self._stack = stack
            stack.callback(self._sockets.term)
            stack.callback(self._line.close, _END_MS)
            async with trio.open_nursery() as nursery:
                self._nursery = nursery
                self._heard_at = trio.current_time()
                for task in (self._line.run, self._beat, self._ship_now_and_then, self._obey_signals):
                    nursery.start_soon(task)
                machine = f"{socket.gethostname()}, pid {os.getpid()}"
                self._channel.say_nowait(say="hello", host=self._asked, facts=fit.facts(), machine=machine)
                await self._ended.wait()
                nursery.cancel_scope.cancel()
            if self._servers is not None:
                self._servers.close()
        print(self._text, flush=True)
        return self._status

    def _end(self, text: str, status: int) -> None:
        if not self._ended.is_set():
            self._text, self._status = text, status
            self._ended.set()

    async def _obey_signals(self) -> None:
        with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM, signal.SIGHUP) as received:
            async for number in received:
                name = signal.Signals(number).name
                self._channel.bye(f"it was ended by {name}", wrong=True)
                self._end(f"ended by {name}; its workers are dead, and the run knows", 128 + number)

    async def _beat(self) -> None:
        """Apart from all that may wait for room: whatever goes on, home's silence is noticed."""
        while True:
            silent = trio.current_time() - self._heard_at
            if silent > self._lost_s:
                await self._give_up(silent)
            self._channel.beat()
            await trio.sleep(BEAT_S)

    async def _ship_now_and_then(self) -> None:
        for times in itertools.count():
            if self._place is not None and not self._channel.is_behind and not self._channel.over:
                with contextlib.suppress(trio.BrokenResourceError):  # over meanwhile
                    await self._ship(self._place, with_logs=times % _LOG_EVERY == 0)
            await trio.sleep(SHIP_S)

    async def _give_up(self, silent: float) -> None:
        if self._place is not None:
            text = (
                f"nothing was heard of the run at {self._address} for {silent:.0f} s: it is gone, or cannot be reached"
            )
            self._end(f"{text}; the workers here were ended", 1)
            return
        host, _, port = self._address.rpartition(":")
        try:
            with trio.fail_after(3):
                stream = await trio.open_tcp_stream(host, int(port))
            await stream.aclose()
        except (OSError, trio.TooSlowError, ValueError) as error:
            why = (
                f"it cannot be reached ({error or 'no answer'}): is `flow run` running there, and does the network let"
            )
            why += " this through?"
        else:
            why = "something listens there, and does not take this secret: each start of a run makes a new one, copy it"
        self._end(f"no run at {self._address} answered within {self._wait_s:g} s: {why}", 1)

    async def _ship(self, place: Place, *, with_logs: bool, only: str = "") -> None:
        """Send home what is new of the counters and the logs."""
        for name, text in place.pages.changes():
            await self._channel.say(say="page", name=name, text=text)
        if with_logs:
            for name, text in place.logs.news(only):
                await self._channel.say(say="log", name=name, text=text)

    # What home says

    def _take(self, frames: list[zmq.Frame]) -> None:
        self._heard_at = trio.current_time()
        try:
            words = self._channel.take([frame.buffer for frame in frames])
        except (ValueError, msgpack.UnpackException) as error:
            self._end(f"the run at {self._address} says what this flow does not understand ({error}); "
                      "install the same flow on both", 1)  # fmt: skip
            return
        if self._channel.over:
            self._end(self._channel.over, int(self._channel.wrong))
        elif words is not None:
            try:
                self._obey(words)
            except OSError as error:
                text = f"what belongs to the run cannot be written here: {error}"
                self._channel.bye(text, wrong=True)
                self._end(text, 1)

    def _obey(self, words: Words) -> None:
        match words["do"]:
            case "welcome":
                self._lost_s = words["lost_s"]
                self._nursery.start_soon(self._begin, words)
            case "fork":
                self._nursery.start_soon(self._fork, words)
            case "tell":
                self._tell(words)
            case "kill":
                process = self._processes.get((words["worker"], words["epoch"]))
                if process is not None:
                    process.kill(words["signal"])
            case "state":
                self._take_state(words)
            case "reach":
                self._tunnel.expect(words["number"])
                self._nursery.start_soon(self._reach, words["number"], words["worker"])
            case "bytes" | "closed" as what:
                self._tunnel.take(what, words["number"], words["data"])

    async def _begin(self, words: Words) -> None:
        """Become a part of the run, or say why not."""
        plan = Plan.from_dict(words["plan"])
        problems = await trio.to_thread.run_sync(fit.missing, words["modules"], plan, words["host"])
        try:
            if problems:
                raise RunError("\n  ".join([f"host {words['host']} cannot take part:", *problems]))
            self._place = self._open(words, plan)
        except RunError as error:
            self._channel.say_nowait(say="cannot", text=str(error))
            return  # home says goodbye, and why
        mine = [worker for worker in plan.workers if worker.host == words["host"]]
        self._servers = ForkServers(modules(mine), Restarts(3, 60.0), self._place.log, words["environment"])
        self._servers.start(self._nursery)
        self._channel.say_nowait(say="ready", machine=socket.gethostname())
        names = ", ".join(worker.name for worker in mine)
        print(
            f"joined {words['run']} as {words['host']}; workers here: {names}; {self._place.directory.path}", flush=True
        )

    def _open(self, words: Words, plan: Plan) -> Place:
        """The directory of this host's part, and its counters from before if another machine had them.

        Raises:
          RunError: it cannot be made, or another process has it.
        """
        host = words["host"]
        directory = open_directory(self._runs, words["run"], host, words["graph"])
        self._stack.enter_context(directory.own())
        directory.remove_sockets()
        self._stack.callback(directory.remove_sockets)
        nodes = [node for worker in plan.workers if worker.host == host for node in worker.nodes]
        pages = [directory.page_file(node.name, node.replica) for node in nodes]
        for page in pages:
            if page.name in words["pages"] and not page.exists():
                page.write_bytes(lz4.frame.decompress(words["pages"][page.name]))
        logs = LogSource(directory.logs)
        return Place(host, plan, directory, EventLog(directory.logs, f"host {host}"), PageSource(pages), logs)

    async def _fork(self, words: Words) -> None:
        """Start a worker, and pass on what it says until it is gone."""
        assert self._place is not None
        assert self._servers is not None
        name, epoch = words["worker"], words["epoch"]
        plan = self._place.plan.worker(name)
        begin = {**words["words"], "run_directory": str(self._place.directory.path)}
        try:
            process = await self._servers.fork(plan, epoch, begin)
        except RunError as error:
            await self._channel.say(say="unforked", worker=name, epoch=epoch, text=str(error))
            return
        self._processes[name, epoch] = process
        self._told[name, epoch], told = trio.open_memory_channel[Words](math.inf)
        self._nursery.start_soon(self._pass_on, process, told)
        with contextlib.suppress(trio.BrokenResourceError):  # it is over, and the agent about to end
            await self._channel.say(say="forked", worker=name, epoch=epoch, pid=process.pid)
            while (said := await process.line.hear()) is not None:
                if said["say"] == "checkpointed":
                    await self._ship_state(self._written[name], said["files"])
                await self._channel.say(say="heard", worker=name, epoch=epoch, words=said)
            with trio.move_on_after(1):
                await process.over.wait()
            await self._ship(self._place, with_logs=True, only=f"{name}.")
            await self._channel.say(say="exited", worker=name, epoch=epoch, status=process.status)
        process.line.close()
        self._told.pop((name, epoch)).close()
        del self._processes[name, epoch]

    def _tell(self, words: Words) -> None:
        """Pass on what home says to a worker, with this host's paths instead of home's."""
        process, told = self._processes.get((words["worker"], words["epoch"])), words["words"]
        if process is None:
            return
        assert self._place is not None
        folder = self._place.directory.checkpoints
        if told.get("restore"):
            told["restore"] = str(folder / Path(told["restore"]).name)
        if told["do"] == "checkpoint":
            place = folder / Path(told["directory"]).name
            place.mkdir(parents=True, exist_ok=True)  # of all workers here
            self._written[words["worker"]] = place
            told["directory"] = str(place)
        self._told[words["worker"], words["epoch"]].send_nowait(told)

    async def _pass_on(self, process: Process, told: trio.MemoryReceiveChannel[Words]) -> None:
        """Say to a worker what home says, in that order."""
        with contextlib.suppress(trio.BrokenResourceError, trio.ClosedResourceError):  # who hears it deals with that
            async for words in told:
                await process.line.say(**words)

    async def _say_of_stream(self, what: str, number: int, data: bytes) -> None:
        await self._channel.say(say=what, number=number, data=data)

    async def _reach(self, number: int, worker: str) -> None:
        """Join a connection of an inspector at home to a worker here."""
        assert self._place is not None
        try:
            end = await trio.open_unix_socket(socket_file(self._place.directory, worker))
        except OSError:  # it is starting, or gone
            self._tunnel.forget(number)
            with contextlib.suppress(trio.BrokenResourceError):
                await self._say_of_stream("closed", number, b"")
            return
        await self._tunnel.carry(number, end)

    async def _ship_state(self, folder: Path, files: list[str]) -> None:
        """Send home what a worker has written for a checkpoint."""
        for name in files:
            for first, text in pieces(folder / name):
                await self._channel.say(say="state", checkpoint=folder.name, name=name, first=first, text=text)
            with contextlib.suppress(FileNotFoundError):  # of a checkpoint that was given up meanwhile
                os.unlink(folder / name)
        with contextlib.suppress(OSError):  # another worker writes into it still
            os.rmdir(folder)

    def _take_state(self, words: Words) -> None:
        """Write what a node of this host is to begin with."""
        assert self._place is not None
        folder = self._place.directory.checkpoints / Path(words["checkpoint"]).name
        folder.mkdir(parents=True, exist_ok=True)
        for other in folder.parent.glob("[0-9]*"):  # of checkpoints long before
            if other.name < folder.name and other.suffix != ".part" and words["name"] == checkpoints.MANIFEST:
                shutil.rmtree(other, ignore_errors=True)
        with (folder / Path(words["name"]).name).open("wb" if words["first"] else "ab") as file:
            file.write(words["text"])


def open_directory(base: Path, run: str, host: str, graph: str) -> RunDirectory:
    """The directory of a host's part of a run: that of before, or a new one.

    Raises:
      RunError: it cannot be made.
    """
    directory = RunDirectory((base / f"{run}.{host}").absolute())
    about: dict[str, Any] = {"title": run, "name": directory.name, "host": host, "started": time.time()}
    try:
        for folder in (directory.path, directory.state, directory.logs, directory.metrics, directory.checkpoints):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.graph_file.write_text(graph, encoding="utf-8")
        directory.about_file.write_text(json.dumps({**about, "until": {}, "versions": versions()}, indent=1) + "\n")
    except OSError as error:
        raise RunError(
            f"{directory.path}: cannot be made: {error.strerror}; choose another place: --runs DIR"
        ) from error
    return directory
