"""An inspector's dealings with one run: which worker hosts what, and a connection to each that is asked."""

from __future__ import annotations

import contextlib
import difflib
import math
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from flow.errors import ControlError
from flow.inspect.client import CONNECT_S, Connection, connect
from flow.inspect.overview import Look
from flow.inspect.protocol import SUPERVISOR, Words, key_of, split_address
from flow.inspect.samples import Sample, read_sample
from flow.run_directory import RunDirectory


@dataclass(frozen=True)
class Replica:
    """A node's replica and the worker that hosts it."""

    node: str
    replica: int
    worker: str
    alone: bool

    @property
    def key(self) -> str:
        return key_of(self.node, self.replica)

    @property
    def name(self) -> str:
        """As a user writes it: the number only where there are several."""
        return self.node if self.alone else f"{self.node}[{self.replica}]"


class Session:
    """Connections to the processes of one run, made when first needed. Not for several threads at once."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._connections: dict[str, Connection] = {}

    def replicas(self, address: str | None = None) -> list[Replica]:
        """The replicas that an address names; all of the run without one.

        Raises:
          ControlError: there is none of that name; the text has the nearest.
        """
        look = Look(self.run)
        views = look.views()
        look.close()
        counts: dict[str, int] = {}
        for view in views:
            counts[view.node] = counts.get(view.node, 0) + 1
        found = [Replica(view.node, view.replica, view.worker, counts[view.node] == 1) for view in views]
        if address is None:
            return found
        node, replica = split_address(address)
        chosen = [each for each in found if each.node == node and replica in (None, each.replica)]
        if not chosen and node in counts:
            raise ControlError(f"{self.run.name}: {node} has replicas 0 to {counts[node] - 1}, found '{address}'")
        if not chosen:
            near = difflib.get_close_matches(node, counts, n=1)
            hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(counts) or 'none yet'}"
            raise ControlError(f"{self.run.name} has no node '{node}'; {hint}")
        return chosen

    def connection(self, who: str, seconds: float = CONNECT_S) -> Connection:
        """The connection to a process.

        Raises:
          ControlError: it cannot be reached.
        """
        if who not in self._connections:
            self._connections[who] = connect(self.run, who, seconds)
        return self._connections[who]

    def ask(self, replica: Replica, what: str, **arguments: Any) -> Words:
        """Ask the worker that hosts a replica."""
        return self._ask(replica.worker, what, node=replica.key, **arguments)

    def ask_supervisor(self, what: str, **arguments: Any) -> Words:
        """Ask the run's supervisor."""
        return self._ask(SUPERVISOR, what, **arguments)

    def _ask(self, who: str, what: str, **arguments: Any) -> Words:
        try:
            return self.connection(who).ask(what, **arguments)
        except ControlError:
            # A process that was started again has another socket: the next request finds it.
            with contextlib.suppress(KeyError):
                self._connections.pop(who).close()
            raise

    def stack(self, replica: Replica) -> list[str]:
        """Where a node is now, in lines: its tasks and threads or, where its loop hangs, what holds it."""
        try:
            self.connection(replica.worker, 1.0)
            told = self.ask(replica, "stack", seconds=1.0)
        except ControlError as error:
            text = self.ask_supervisor("stack", worker=replica.worker)["text"]
            return [str(error), *text.rstrip().splitlines()]
        lines = []
        for what, those in (("task", told["tasks"]), ("thread", told["threads"])):
            for name, *frames in those:
                lines += [f"{what} {name}", *(f"  {frame}" for frame in frames)]
        return lines

    def tap(
        self, replicas: list[Replica], port: str, *, seconds: float, until: float = math.inf, **wanted: Any
    ) -> Iterator[tuple[Replica, Sample]]:
        """What passes a port, as it comes; ends when nothing passed for `seconds`.

        Args:
          until: when it ends at the latest, of `time.monotonic`.
          wanted: of `open_tap`: every, hz_max, count, most_bytes, only.
        """
        taps: dict[tuple[str, int], Replica] = {}
        for replica in replicas:
            taps[replica.worker, self.ask(replica, "open_tap", port=port, **wanted)["tap"]] = replica
        connections = {self.connection(worker): worker for worker, _ in taps}
        end = min(time.monotonic() + seconds, until)
        while time.monotonic() < end:
            ready = [each for each in connections if each.has_heard()]
            if not ready:
                readable, _, _ = select.select(list(connections), [], [], max(end - time.monotonic(), 0.0))
                ready = list(readable)
            for connection in ready:
                for words in connection.samples(0.0):
                    one = taps.get((connections[connection], int(words["tap"])))
                    if one is not None:
                        yield one, read_sample(words["sample"])
                        end = min(time.monotonic() + seconds, until)
                if time.monotonic() >= until:
                    return

    def overviews(self, hz: float, *, seconds: float = 10.0) -> Iterator[Words]:
        """The whole run as it stands, pushed by its supervisor so many times a second: `Overview` as values.

        Ends when nothing came for `seconds`.
        """
        supervisor = self.connection(SUPERVISOR)
        self.ask_supervisor("subscribe", hz_max=hz)
        for words in supervisor.samples(seconds):
            yield words["overview"]

    def close(self) -> None:
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
