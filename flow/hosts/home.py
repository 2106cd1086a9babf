"""Home's end of a run of several hosts: lets hosts join, has them start workers, and takes in what comes back of them.

    supervisor ── Home ─┬─ fork servers ──► workers of this host
                        └══ CURVE ══ flow worker --join ── fork servers ──► workers there

To the supervisor a worker there is a process like any other: it is asked for, says that it is ready, dies, is asked
for again. What home hears nothing of for `lost_s` is gone, with all its workers; it may join again.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgpack
import trio
import zmq

from flow import deterministic
from flow.carrier.curve import Gatekeeper, KeyPair, be_server
from flow.control import Words
from flow.errors import RunError
from flow.graph.model import HOME
from flow.graph.problems import nearest
from flow.hosts import addresses, fit
from flow.hosts.channel import Channel, begins
from flow.hosts.inflow import Inflow
from flow.hosts.line import SocketLine, limited
from flow.hosts.remote import RemoteLine, RemoteProcess
from flow.hosts.secret import JoinSecret
from flow.hosts.tunnel import Tunnel
from flow.inspect.protocol import socket_file
from flow.inspect.server import CLIENTS_MAX, is_own_user, listening
from flow.plan import Plan, WorkerPlan
from flow.processes import modules

if TYPE_CHECKING:
    from flow.processes import MakesProcesses, Process
    from flow.supervisor import Supervisor

BEAT_S = 0.25
SECRET = "join.secret"
_END_MS = 1000
_GONE_MAX = 100


@dataclass(eq=False)
class Member:
    """Who joined, or wants to. host: "" until it is known. ready: it can start workers."""

    identity: bytes
    channel: Channel
    heard_at: float
    host: str = ""
    ready: bool = False
    processes: dict[tuple[str, int], RemoteProcess] = field(default_factory=dict)
    refusals: dict[tuple[str, int], str] = field(default_factory=dict)
    tunnel: Tunnel = field(init=False)

    def __post_init__(self) -> None:
        self.tunnel = Tunnel(self._say_of_stream)

    def has_answered(self, key: tuple[str, int]) -> bool:
        """Whether it has started a worker, or cannot."""
        return key in self.processes or key in self.refusals

    async def _say_of_stream(self, what: str, number: int, data: bytes) -> None:
        await self.channel.say(do=what, number=number, data=data)


class Home:
    """Makes the processes of a run of several hosts. local: those of this host."""

    def __init__(self, supervisor: Supervisor, local: MakesProcesses, endpoint: str, graph: str) -> None:
        """Listen for hosts that join.

        Args:
          graph: the resolved graph, as TOML.

        Raises:
          RunError: the endpoint cannot be listened at.
        """
        self._options = supervisor.options
        self._supervisor, self._local, self._graph = supervisor, local, graph
        self._plan, self._directory, self._log = supervisor.plan, supervisor.directory, supervisor.log
        self._hosts = {worker.host for worker in self._plan.workers} - {HOME}
        self._members: dict[bytes, Member] = {}
        self._joined: dict[str, Member] = {}
        self._gone: dict[bytes, str] = {}  # who was sent away or lost, and why
        self._changed = trio.lowlevel.ParkingLot()
        self._numbers = itertools.count()
        self._inflow = Inflow(self._plan, self._directory, self._log)
        self._modules = fit.node_modules(self._plan)
        self._sockets: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        keys, joining = KeyPair.make(), KeyPair.make()
        self._keeper = Gatekeeper(self._sockets, self._warn)
        self._keeper.allow("hosts", joining.public)
        router = limited(self._sockets.socket(zmq.ROUTER))
        # Else what is for a host that is not connected would be dropped, and nobody told.
        router.setsockopt(zmq.ROUTER_MANDATORY, 1)
        # One that connects again takes the place of its connection that was cut.
        router.setsockopt(zmq.ROUTER_HANDOVER, 1)
        be_server(router, keys)
        try:
            router.bind(addresses.numeric(endpoint))
        except zmq.ZMQError as error:
            router.close()
            self._sockets.term()
            raise RunError(addresses.cannot_listen("flow run", HOME, endpoint, error)) from error
        self.address = router.getsockopt_string(zmq.LAST_ENDPOINT).removeprefix("tcp://")
        self._line = SocketLine(router, self._take)
        self.secret_file = self._directory.path / SECRET
        JoinSecret(keys.public, joining).write(self.secret_file)

    def _warn(self, text: str) -> None:
        self._log.warning("", text)

    def command(self, host: str) -> str:
        """What to type on a host for it to join."""
        return f"flow worker --join {self.address} --as {host} --secret {SECRET}"

    def invitation(self) -> str:
        """How the other hosts join, for the user."""
        workers = {
            host: ", ".join(each.name for each in self._plan.workers if each.host == host) for host in self._hosts
        }
        lines = [f"  {host} ({workers[host]}):  {self.command(host)}" for host in sorted(self._hosts)]
        return "\n".join(["these hosts are to join, each with this command:", *lines, f"  secret: {self.secret_file}"])

    # As the supervisor's maker of processes

    def start(self, nursery: trio.Nursery) -> None:
        """Get ready; what runs meanwhile runs in the nursery."""
        self._nursery = nursery
        self._local.start(nursery)
        nursery.start_soon(self._line.run)
        nursery.start_soon(self._beat)
        nursery.start_soon(self._wait_no_longer)

    async def fork(self, plan: WorkerPlan, epoch: int, words: Words) -> Process:
        """A new process for a worker, on its host.

        Raises:
          RunError: the host did not join, or cannot start it.
        """
        if plan.host == HOME:
            return await self._local.fork(plan, epoch, words)
        key = (plan.name, epoch)
        told = {name: value for name, value in words.items() if name != "run_directory"}
        while True:
            member = await self._wait_joined(plan)
            try:
                await member.channel.say(do="fork", worker=plan.name, epoch=epoch, words=told)
            except trio.BrokenResourceError:
                continue
            while self._joined.get(plan.host) is member and not member.has_answered(key):
                await self._changed.park()
            if key in member.refusals:
                raise RunError(member.refusals.pop(key))
            if key in member.processes:
                return member.processes[key]

    def kill(self) -> None:
        """Kill what is here, and wait for nothing. The other hosts notice. Safe in a signal handler."""
        self._local.kill()

    def close(self) -> None:
        """End whatever is left, here and there."""
        for member in list(self._members.values()):
            member.channel.bye("the run has ended", wrong=False)
        self._line.close(_END_MS)
        self._local.close()
        self._sockets.term()
        self.secret_file.unlink(missing_ok=True)

    async def _wait_joined(self, plan: WorkerPlan) -> Member:
        with trio.move_on_after(self._options.await_s):
            while not self._supervisor.finishing.is_set():
                member = self._joined.get(plan.host)
                if member is not None and member.ready:
                    return member
                await self._changed.park()
        waited = f"host {plan.host} did not join within {self._options.await_s:g} s"
        raise RunError(f"worker {plan.name} cannot start: {waited}; there: {self.command(plan.host)}")

    async def _wait_no_longer(self) -> None:
        """When the run ends nobody is waited for."""
        await self._supervisor.finishing.wait()
        self._changed.unpark_all()

    async def _beat(self) -> None:
        while True:
            for member in list(self._members.values()):
                silent = trio.current_time() - member.heard_at
                if silent > self._options.lost_s:
                    self._lose(member, f"nothing was heard of it for {silent:.0f} s")
                else:
                    member.channel.beat()
            await trio.sleep(BEAT_S)

    # What hosts say

    def _take(self, frames: list[zmq.Frame]) -> None:
        identity, buffers = frames[0].bytes, [frame.buffer for frame in frames[1:]]
        member = self._members.get(identity)
        if member is None:
            channel = Channel(lambda said: self._line.send([identity, *said]))
            if identity in self._gone or not buffers or not begins(buffers[0]):
                channel.bye(self._gone.get(identity, "this run does not know this host; join again"), wrong=True)
                return
            member = self._members[identity] = Member(identity, channel, trio.current_time())
        member.heard_at = trio.current_time()
        try:
            words = member.channel.take(buffers)
            if words is not None:
                self._heard(member, words)
        except (ValueError, TypeError, KeyError, IndexError, AttributeError, msgpack.UnpackException) as error:
            self._lose(member, f"it said what no host says ({type(error).__name__}: {error})")
        else:
            if member.channel.over:
                self._lose(member, member.channel.over)

    def _heard(self, member: Member, words: Words) -> None:
        match words["say"]:
            case "hello":
                self._hello(member, words)
            case "ready":
                member.ready = True
                self._log.info("", f"host {member.host} joined, from {words['machine']}")
                self._changed.unpark_all()
            case "cannot":
                self._refuse(member, words["text"])
            case "forked":
                self._forked(member, (words["worker"], words["epoch"]), words["pid"])
            case "unforked":
                member.refusals[words["worker"], words["epoch"]] = f"on host {member.host}: {words['text']}"
                self._changed.unpark_all()
            case "heard":
                process = member.processes.get((words["worker"], words["epoch"]))
                if process is not None and isinstance(process.line, RemoteLine):
                    process.line.put(self._inflow.reply(member.host, words["words"]))
            case "exited":
                process = member.processes.pop((words["worker"], words["epoch"]), None)
                if process is not None:
                    process.status = words["status"]
                    self._over(process)
            case "bytes" | "closed" as what:
                member.tunnel.take(what, words["number"], words["data"])
            case _:
                self._inflow.take(member.host, words)

    def _hello(self, member: Member, words: Words) -> None:
        free = sorted(self._hosts - self._joined.keys())
        host = words["host"] or (free[0] if len(free) == 1 else "")
        torch = fit.needs_torch(self._plan, host)
        if not host:
            self._refuse(member, f"say which host it is: --as {' or --as '.join(free or sorted(self._hosts))}")
        elif host not in self._hosts:
            text = f"there is no host '{host}' in this run to be joined as{nearest(host, sorted(self._hosts))}"
            self._refuse(member, text)
        elif host in self._joined:
            text = f"host {host} has joined already; if that one is dead it is forgotten within"
            self._refuse(member, f"{text} {self._options.lost_s:g} s: try again")
        elif differs := fit.differing(fit.facts(), words["facts"], torch=torch):
            self._refuse(member, f"host {host} cannot take part: {differs}")
        else:
            member.host = host
            self._joined[host] = member
            member.channel.say_nowait(
                do="welcome",
                host=host,
                run=self._directory.name,
                graph=self._graph,
                plan=self._plan.to_dict(),
                modules=self._modules,
                pages=self._inflow.pages(host),
                lost_s=self._options.lost_s,
                environment=deterministic.ENVIRONMENT if self._options.deterministic else {},
            )

    def _refuse(self, member: Member, text: str) -> None:
        self._log.warning("", f"a host that wanted to join was sent away: {text}")
        self._part(member, text)

    def _part(self, member: Member, why: str) -> None:
        member.channel.bye(why, wrong=True)
        self._gone[member.identity] = why  # what it says before it has heard is answered with the same
        if len(self._gone) > _GONE_MAX:
            del self._gone[next(iter(self._gone))]
        self._members.pop(member.identity, None)
        if self._joined.get(member.host) is member:
            del self._joined[member.host]
        self._changed.unpark_all()

    def _lose(self, member: Member, why: str) -> None:
        """It is gone, and all its workers with it."""
        self._part(member, f"home gave this host up: {why}")
        if not member.ready:
            return
        workers = ", ".join(worker for worker, _ in member.processes) or "none"
        again = (
            "" if self._supervisor.finishing.is_set() else f"; to go on it must join again: {self.command(member.host)}"
        )
        self._log.error("", f"host {member.host} is gone: {why}; workers lost with it: {workers}{again}")
        for process in member.processes.values():
            process.gone = f"is gone with host {member.host}: {why}"
            self._over(process)

    def _over(self, process: RemoteProcess) -> None:
        self._inflow.gone(process.worker)
        process.reached.cancel()
        process.over.set()
        process.line.close()

    def _forked(self, member: Member, key: tuple[str, int], pid: int) -> None:
        async def tell(words: Words) -> None:
            async for piece in self._inflow.state_for(words):
                await member.channel.say(**piece)
            await member.channel.say(do="tell", worker=key[0], epoch=key[1], words=words)

        def send_signal(number: int) -> None:
            if not member.channel.over:
                member.channel.say_nowait(do="kill", worker=key[0], epoch=key[1], signal=number)

        process = RemoteProcess(*key, pid, RemoteLine(tell), send_signal=send_signal)
        member.processes[key] = process
        self._nursery.start_soon(self._serve_inspectors, member, process)
        self._changed.unpark_all()

    async def _serve_inspectors(self, member: Member, process: RemoteProcess) -> None:
        """Take inspectors' connections to a worker as if it were here."""
        with process.reached, listening(socket_file(self._directory, process.worker)) as listener:
            async with trio.open_nursery() as nursery:
                while True:
                    connection, _ = await listener.accept()
                    if len(nursery.child_tasks) >= CLIENTS_MAX or not is_own_user(connection):
                        connection.close()
                        continue
                    number = next(self._numbers)
                    nursery.start_soon(self._join_inspector, member, process, number, trio.SocketStream(connection))

    async def _join_inspector(
        self, member: Member, process: RemoteProcess, number: int, end: trio.SocketStream
    ) -> None:
        try:
            await member.channel.say(do="reach", number=number, worker=process.worker)
        except trio.BrokenResourceError:
            end.socket.close()
        else:
            await member.tunnel.carry(number, end)


def open_home(supervisor: Supervisor, endpoint: str, graph: str) -> Home:
    """Let other hosts take part in a supervisor's run."""
    home = Home(supervisor, supervisor.servers, endpoint, graph)
    supervisor.servers = home
    return home


def at_home(plan: Plan) -> dict[tuple[str, ...], list[str]]:
    """What the fork servers of this host import."""
    return modules(worker for worker in plan.workers if worker.host in ("", HOME))
