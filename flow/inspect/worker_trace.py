"""What a worker does for a trace: begins to write, hands over what is written piece by piece, ends.

    trace_start {most}    {"now": ns, "edges": {link: edge}}
    trace_read {names}    {"records": …, "more": …, "names": […], "tracks": […], "dropped": …}
    trace_stop            {}                          what is left can still be read

One trace at a time; it ends when its client goes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter_ns
from typing import TYPE_CHECKING

from flow.errors import ControlError
from flow.inspect.protocol import Words
from flow.inspect.server import Client, asked
from flow.inspect.trace import Recorder

if TYPE_CHECKING:
    from flow.host import Host
    from flow.worker import Worker

RECORDS_MAX = 5_000_000


@dataclass
class WorkerTrace:
    """The trace of one worker, if one is taken."""

    worker: Worker
    recorder: Recorder | None = None
    client: Client | None = None

    async def trace_start(self, client: Client, request: Words) -> Words:
        if self.recorder is not None:
            raise ControlError(f"worker {self.worker.name} is being traced already; wait until that trace is taken")
        most = asked(request, "most", int, 1_000_000)
        if not 1 <= most <= RECORDS_MAX:
            raise ControlError(f"trace_start: expected most from 1 to {RECORDS_MAX} records, found {most}")
        self.recorder, self.client = Recorder(most), client
        client.closing[WorkerTrace] = self._end
        for host in self._hosts():
            host.watch.trace(self.recorder)
        plan = self.worker.plan
        edges = {str(link.number): link.edge for link in plan.links_of(self.worker.name)}
        return {"now": perf_counter_ns(), "edges": edges}

    async def trace_read(self, client: Client, request: Words) -> Words:
        recorder = self._mine(client)
        records, more = recorder.read()
        return {
            "records": records,
            "more": more,
            "names": recorder.names[asked(request, "names", int, 0) :],
            "tracks": recorder.tracks[asked(request, "tracks", int, 0) :],
            "dropped": recorder.dropped,
        }

    async def trace_stop(self, client: Client, request: Words) -> Words:
        recorder = self._mine(client)
        if not recorder.ended:
            recorder.finish()
        for host in self._hosts():
            host.watch.trace(None)
        return {}

    def _mine(self, client: Client) -> Recorder:
        if self.recorder is None or self.client is not client:
            raise ControlError("no trace of yours is being taken; begin with trace_start")
        return self.recorder

    def _hosts(self) -> Iterable[Host]:
        return self.worker.hosts.values()

    def _end(self) -> None:
        """The client is gone."""
        self.recorder = self.client = None
        for host in self._hosts():
            host.watch.trace(None)
