"""What a worker does for inspectors: taps, a look into queues, pausing, stepping, settings, restarts, stacks.

open_tap close_tap peek describe stack        look
trace_start trace_read trace_stop             look, in worker_trace.py
pause resume step set restart inject          change: written down, the run is touched from then on
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import trio

from flow import checkpoints
from flow import saved as saved_state
from flow.errors import CheckpointError, ControlError
from flow.graph.model import HOME
from flow.inspect import live
from flow.inspect.inject import Injections
from flow.inspect.protocol import Words, socket_file
from flow.inspect.samples import fields_of
from flow.inspect.server import Client, ControlServer, asked
from flow.inspect.stacks import task_stacks, thread_stacks
from flow.inspect.touched import touch
from flow.inspect.watch import Tap
from flow.inspect.worker_trace import WorkerTrace

if TYPE_CHECKING:
    from flow.host import Host
    from flow.worker import Worker

SAMPLE_BYTES, SAMPLE_BYTES_MAX = 1 << 20, 64 << 20
REST_S = 5.0
"""How long a node may take to the end of its message before a request that waits for it is refused."""


async def serve_worker(worker: Worker) -> None:
    """Serve inspectors of a worker until cancelled."""
    await WorkerControl(worker).run()


@dataclass
class WorkerControl:
    """The handlers of one worker."""

    worker: Worker
    _numbers: Any = field(default_factory=itertools.count)

    async def run(self) -> None:
        worker = self.worker
        hello = {"run": worker.directory.name, "who": f"worker {worker.name}", "pid": worker.pid}
        does = (self.open_tap, self.close_tap, self.peek, self.describe, self.stack)
        changes = (self.pause, self.resume, self.step, self.set, self.restart, Injections(worker).inject)
        trace = WorkerTrace(worker)
        traces = (trace.trace_start, trace.trace_read, trace.trace_stop)
        handlers = {each.__name__: each for each in (*does, *traces, *changes)}
        await ControlServer(socket_file(worker.directory, worker.name), hello, handlers, self._warn).run()

    def _warn(self, text: str) -> None:
        self.worker.log.warning(self.worker.name, text)

    def _host(self, request: Words) -> Host:
        key = asked(request, "node", str)
        host = self.worker.hosts.get(key)
        if host is None:
            raise ControlError(f"worker {self.worker.name} hosts no {key}; it hosts {', '.join(self.worker.hosts)}")
        return host

    def _running(self, request: Words) -> Host:
        host = self._host(request)
        if not host.running:
            raise ControlError(f"{host.plan.key} does not run: it {'ended' if host.ended else 'failed'}")
        return host

    def _touch(self, host: Host, text: str) -> None:
        touch(self.worker.directory, host.plan.key, text, messages=host.messages)

    async def open_tap(self, client: Client, request: Words) -> Words:
        host, port = self._host(request), asked(request, "port", str)
        kind = host.watch.kinds.get(port)
        if kind is None:
            raise ControlError(f"{host.plan.name} has no port '{port}'; it has {', '.join(host.watch.kinds)}")
        if kind == "Latest":
            raise ControlError(f"{host.plan.name}.{port} reads what another node publishes; tap that node's port")
        hertz = asked(request, "hz_max", float, 0.0)
        count = asked(request, "count", int, 0)
        tap = Tap(
            next(self._numbers),
            client,
            every=max(asked(request, "every", int, 1), 1),
            gap_s=1.0 / hertz if hertz > 0 else 0.0,
            left=count if count > 0 else None,
            most_bytes=min(max(asked(request, "most_bytes", int, SAMPLE_BYTES), 0), SAMPLE_BYTES_MAX),
            only=asked(request, "only", str, ""),
        )
        host.watch.open(port, tap)
        client.closing[tap.number] = lambda: host.watch.close(port, tap)
        return {"tap": tap.number}

    async def close_tap(self, client: Client, request: Words) -> Words:
        close = client.closing.pop(asked(request, "tap", int), None)
        if close is None:
            raise ControlError(f"no tap {request['tap']} of yours is open")
        close()
        return {}

    async def peek(self, client: Client, request: Words) -> Words:
        host, port = self._host(request), asked(request, "port", str)
        mailbox = self.worker.assembly.mailboxes.get((host.plan.name, host.plan.replica, port))
        most = min(max(asked(request, "count", int, 3), 1), 100)
        size = min(max(asked(request, "most_bytes", int, SAMPLE_BYTES), 0), SAMPLE_BYTES_MAX) // most
        if mailbox is None:
            ins = [name for name, kind in host.watch.kinds.items() if kind in ("In", "Serve", "Latest")]
            here = f"nothing waits at {host.plan.name}.{port}"
            raise ControlError(f"{here}; ports with a queue: {', '.join(ins) or 'none'}")
        queued = mailbox.queued()
        shown = [{"type": type(each).__name__, "fields": fields_of(each, size)} for each in queued[:most]]
        return {"depth": len(queued), "messages": shown}

    async def describe(self, client: Client, request: Words) -> Words:
        host = self._host(request)
        changed = live.read_live(host.directory)
        settings = [
            {
                "name": name,
                "value": changed.get(name, host.plan.settings.get(name, setting.default)),
                "live": setting.live,
                "takes": str(setting),
                "doc": setting.doc,
                "changed": name in changed,
            }
            for name, setting in host.type.settings.items()
        ]
        ports = [
            {
                "name": port.name,
                "kind": port.kind,
                "messages": [message.__name__ for message in port.messages],
                "fields": [f"{each.name}: {each}" for message in port.messages for each in message.fields],
                "doc": port.doc,
                "taps": len(host.watch.taps.get(port.name, ())),
            }
            for port in host.type.ports.values()
        ]
        return {
            "node": host.plan.name,
            "replica": host.plan.replica,
            "type": host.type.name,
            "doc": host.type.doc,
            "paused": host.watch.paused,
            "messages": host.messages,
            "settings": settings,
            "ports": ports,
        }

    async def stack(self, client: Client, request: Words) -> Words:
        host = self._running(request)
        tasks = task_stacks(host.task) if host.task is not None else []
        return {"tasks": tasks, "threads": thread_stacks(f"{host.plan.key} ")}

    async def pause(self, client: Client, request: Words) -> Words:
        host = self._running(request)
        if not host.watch.paused:
            host.watch.pause()
            host.page.set_state("paused")
            self._touch(host, "paused")
        return {"at_rest": await self._rests(host, 1.0), "messages": host.messages}

    async def _rests(self, host: Host, seconds: float) -> bool:
        """Whether it came to the end of its message in hand by then."""
        resting = trio.Event()
        host.rest.when_resting.append(resting.set)
        host.rest.look()
        with trio.move_on_after(seconds):
            await resting.wait()
        if resting.set in host.rest.when_resting:
            host.rest.when_resting.remove(resting.set)
        return resting.is_set()

    async def resume(self, client: Client, request: Words) -> Words:
        host = self._host(request)
        held = host.watch.paused
        if held:
            host.resume()
            self._touch(host, "resumed")
        return {"was_paused": held, "messages": host.messages}

    async def step(self, client: Client, request: Words) -> Words:
        host, count = self._running(request), asked(request, "count", int, 1)
        if not host.watch.paused or host.watch.gate is None:
            raise ControlError(f"{host.plan.key} is not paused; pause it first: flow pause RUN {host.plan.name}")
        if count < 1:
            raise ControlError(f"step: expected count to be at least 1, found {count}")
        gate = host.watch.gate
        target = gate.passed + count
        gate.allow(count)
        self._touch(host, f"stepped by {count}")
        with trio.move_on_after(asked(request, "wait_s", float, 2.0)):
            await gate.wait_passed(target)
            await self._rests(host, REST_S)
        return {"passed": count - max(target - gate.passed, 0), "messages": host.messages}

    async def set(self, client: Client, request: Words) -> Words:
        host, name = self._host(request), asked(request, "name", str)
        value = live.accept(host.plan.name, host.type.settings, name, request.get("value"))
        changed = live.read_live(host.directory)
        before = changed.get(name, host.plan.settings.get(name, host.type.settings[name].default))
        live.write_live(host.directory, {**changed, name: value})
        if name in host.live:
            host.live[name].value = value
        # What it has in hand may have read the old value.
        holds_from = host.messages + 1
        touch(self.worker.directory, host.plan.key, f"{name}: {before} -> {value}", holds_from=holds_from)
        return {"before": before, "value": value, "holds_from": holds_from}

    async def restart(self, client: Client, request: Words) -> Words:
        """Start a node again in its worker: from its state at rest or, where it never rests, the last checkpoint."""
        host, lose = self._running(request), asked(request, "lose_state", bool, False)
        if lose:
            host.restart(await self._checkpointed(host))
        else:
            await self._restart_at_rest(host)
        self._touch(host, "restarted" + (" from the last checkpoint" if lose else ""))
        with trio.move_on_after(REST_S):
            await host.begun.wait()
        if not host.begun.is_set():
            raise ControlError(
                f"{host.plan.key} was told to stop and still computes; it is started again when that ends. If it never "
                f"does, kill its worker and flow starts that again: kill -9 {self.worker.pid}"
            )
        return {"restarts": host.incarnation}

    async def _restart_at_rest(self, host: Host) -> None:
        try:
            with trio.move_on_after(REST_S) as scope:
                await host.restart_at_rest()
        except CheckpointError as error:
            raise ControlError(f"{host.plan.key}: {error}; restart it with --lose-state") from error
        if scope.cancelled_caught:
            raise ControlError(
                f"{host.plan.key} did not come to the end of its message within {REST_S:g} s, so its state cannot be "
                "kept; restart it with --lose-state to go on from the last checkpoint"
            )

    async def _checkpointed(self, host: Host) -> dict[str, Any] | None:
        if self.worker.mine.host not in ("", HOME):
            raise ControlError(
                f"{host.plan.key} lives on host {self.worker.mine.host}, and the checkpoints lie at home; to have it "
                f"go on from the last one kill its worker there, which is started again: kill -9 {self.worker.pid}"
            )

        def read() -> dict[str, Any] | None:
            newest, _ = checkpoints.newest(self.worker.directory.checkpoints)
            return None if newest is None else saved_state.read(newest.directory, host.plan.key)

        try:
            return await trio.to_thread.run_sync(read)
        except CheckpointError as error:
            raise ControlError(f"the last checkpoint cannot be read: {error}") from error
