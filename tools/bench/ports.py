"""Measure what the inspector costs a message at a port while nobody looks: times, samples, and the check for a watch.

    python -m tools.bench.ports

The same stream in one process, sent and received in turn by one task, in rounds beside each other: through the ports as
they are, with a page behind them; and through ports whose send and receive lack all that is there for the inspector.
The difference is that of two ports. Shown beside them: a watched port, with a tap that wants none of the messages, and
one while a trace is taken.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any, cast

import numpy as np
import trio
from jaxtyping import Int64

from flow import Array, In, Message, Out
from flow.handling import Handling
from flow.inspect.trace import Recorder
from flow.inspect.watch import NodeWatch, Tap
from flow.message import as_library, freeze, size_in_bytes
from flow.port_spec import Measures, NeverResting, spec_of
from flow.ports import YIELD_EVERY
from flow.stats import Page
from flow.testing.memory_ports import stream
from tools.bench.table import Figures, interleaved, print_table

TARGET_NS = 150
PIECE = 400


class Number(Message):
    """A small message."""

    values: Int64[Array, "one"]


class BareIn(In[Number]):
    """An In as it was before there was an inspector."""

    async def receive(self) -> Number:
        with self._spec.rest:
            message = await self._mailbox.take()
        self._spec.check(message)
        return cast(Number, as_library(message))


class BareOut(Out[Number]):
    """An Out as it was before there was an inspector."""

    async def send(self, message: Number) -> None:
        self._spec.check(message)
        freeze(message)
        size = size_in_bytes(message)
        with self._spec.rest:
            if self._until_yield:
                self._until_yield -= 1
                await trio.lowlevel.checkpoint_if_cancelled()
            else:
                self._until_yield = YIELD_EVERY - 1
                await trio.lowlevel.checkpoint()
        for link in await self._free_links(size):
            link.send(message, size)


class NoOutbox:
    """Takes nothing: the tap that it is given wants nothing either."""

    def has_room(self, size: int) -> bool:
        return False

    def offer(self, frame: bytes) -> bool:
        return False


def main() -> None:
    """Parse the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.ports", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="rounds, A B A B (default 7)")
    parser.add_argument("--messages", type=int, default=20_000, help="of each measurement (default 20000)")
    options = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        page = Page.open(Path(folder) / "n-0.page", node="n")

        def measure(name: str) -> float:
            return trio.run(passing, name, page, options.messages)

        def round_() -> None:
            bare, ports, watched, traced = (measure(name) for name in ("bare", "ports", "watched", "traced"))
            figures.add("bare ports, send and receive", "ns", bare)
            figures.add("ports, nobody looks", "ns", ports)
            figures.add("ports, a tap that wants nothing", "ns", watched)
            figures.add("ports, traced", "ns", traced)
            figures.add("cost a message and port, nobody looks", "ns", (ports - bare) / 2)

        interleaved(options.rounds, [round_])
    figures.relate("ports, nobody looks", "ns", "bare ports, send and receive")
    figures.relate("ports, a tap that wants nothing", "ns", "bare ports, send and receive")
    figures.relate("ports, traced", "ns", "bare ports, send and receive")
    figures.hold("cost a message and port, nobody looks", "ns", TARGET_NS, at_least=False)
    print_table(figures, ("flow-research", "trio", "numpy"))


async def passing(name: str, page: Page, messages: int) -> float:
    """Nanoseconds of processor time from one message to the next: the least of short pieces, to disturb it least."""
    out, into = stream(Number)
    ports: dict[str, Any] = {"out": out, "into": into}
    if name == "bare":
        out = BareOut(spec_of(out), out._groups, out._credit_came)
        into = BareIn(spec_of(into), into._mailbox)
    else:
        for port in ("out", "into"):
            spec_of(ports[port]).measures = Measures(Handling(page.histogram(f"port.{port}.handling_us", "us")))
            ports[port]._handling = spec_of(ports[port]).measures.handling
    recorder = Recorder(1 << 40) if name == "traced" else None
    if name in ("watched", "traced"):
        watch = NodeWatch({"out": "Out", "into": "In"})
        watch.attach(ports, NeverResting(), NeverResting(), None)
        for port in ports if recorder is None else ():
            watch.open(port, Tap(0, NoOutbox(), every=1 << 60))
        watch.trace(recorder)
    message = Number(np.zeros(1, np.int64))
    pieces = []
    for _ in range(messages // PIECE):
        began = time.thread_time_ns()
        for _ in range(PIECE):
            await out.send(message)
            await into.receive()
        pieces.append((time.thread_time_ns() - began) / PIECE)
        while recorder is not None and recorder.read()[1]:
            pass  # as a viewer does, so that none is dropped
    return min(pieces)


if __name__ == "__main__":
    main()
