"""Measure how long it takes until weights that were published are those of every reader's own module.

    python -m tools.bench.weights            about a minute

One worker publishes 100 MB of weights, 1 or 3 others take them over: each copies them into memory of its own, as
`load_state_dict` does. From just before `publish` until the last reader has them, each time when all had the ones
before. Beside it: bare pyzmq over ipc doing the same (a frame an array, sent without a copy), and one copy of 100 MB
within a process, of which the publisher makes one and each reader another. CPU is of publisher and readers together,
a publication: where other work shares the cores it says more than the time.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import trio
import zmq
from jaxtyping import Float32

from flow import Array, In, Latest, Message, Out, Publish, Range, compute, node
from tools.bench.running import edge, go, report, reports
from tools.bench.running import node as named
from tools.bench.table import Figures, interleaved, print_table

ARRAYS, TARGET_MS = 25, 25.0
WARM = 3


class Published(Message):
    """Weights, and when they were published."""

    tensors: dict[str, Float32[Array, "..."]]
    at: float
    """Seconds of a clock that all processes of a host share."""


class Adopted(Message):
    """A reader has taken weights over."""

    version: int
    seconds: float
    cpu: float
    """Seconds of the reader's process since the weights before."""


def main() -> None:
    """Parse the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.weights", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds, A B A B (default 5)")
    parser.add_argument("--megabytes", type=int, default=100, help="of weights (default 100)")
    parser.add_argument("--times", type=int, default=15, help="publications of a round (default 15)")
    parser.add_argument("--reader", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.reader:
        read_bare(options.reader, options.megabytes)
        return
    figures = Figures()
    cases = [lambda: figures.add("one copy in a process", "ms", copied(options.megabytes, options.times))]
    for readers in (1, 3):
        cases += [
            lambda readers=readers: through_flow(readers, options, figures),
            lambda readers=readers: figures.add(f"pyzmq, {readers} readers", "ms", through_zeromq(readers, options)),
        ]
    interleaved(options.rounds, cases)
    for readers in (1, 3):
        figures.relate(f"pyzmq, {readers} readers", "ms", f"flow, {readers} readers")
    figures.relate("flow, 3 readers", "ms", "flow, 1 readers")
    figures.relate("flow, 3 readers", "CPU-ms", "flow, 1 readers")
    figures.hold("flow, 1 readers", "ms", TARGET_MS, at_least=False)
    print_table(figures, ("flow-research", "pyzmq", "numpy"))


def arrays_of(megabytes: int) -> dict[str, Array]:
    count = megabytes * 1_000_000 // 4 // ARRAYS
    return {f"layer.{number}": np.full(count, number, np.float32) for number in range(ARRAYS)}


def take_over(own: dict[str, Array], tensors: dict[str, Array]) -> None:
    for name, array in own.items():
        np.copyto(array, tensors[name])


@node
async def publisher(
    adopted: In[Adopted],
    weights: Publish[Published],
    *,
    megabytes: Annotated[int, Range(1)],
    times: Annotated[int, Range(1)],
    readers: Annotated[int, Range(1)],
    report: str,
) -> None:
    """Publish again when every reader has the ones before."""
    arrays, took = arrays_of(megabytes), []
    for version in range(times):
        began = time.process_time()
        await weights.publish(Published(arrays, time.perf_counter()), version)
        said = [await adopted.receive() for _ in range(readers)]
        cpu = time.process_time() - began + sum(each.cpu for each in said)
        took.append((max(each.seconds for each in said), cpu))
    await trio.Path(report).write_text(json.dumps(took))


@node
async def reader(weights: Latest[Published], adopted: Out[Adopted], *, megabytes: Annotated[int, Range(1)]) -> None:
    """Take each over."""
    own, version, before = arrays_of(megabytes), -1, time.process_time()
    while True:
        try:
            newest = await weights.wait(newer_than=version)
        except trio.EndOfChannel:
            return
        version = weights.version
        await compute(take_over, own, newest.tensors)
        seconds, now = time.perf_counter() - newest.at, time.process_time()
        del newest
        await adopted.send(Adopted(version, seconds, now - before))
        before = now


def through_flow(readers: int, options: argparse.Namespace, figures: Figures) -> None:
    """Enter the medians of a run's publications."""
    with reports() as folder:
        to = str(folder / "took")
        common = {"megabytes": options.megabytes}
        nodes = [
            named(
                "publisher", "tools.bench.weights:publisher", times=options.times, readers=readers, report=to, **common
            )
        ]
        names = [f"reader{number}" for number in range(readers)]
        nodes += [named(name, "tools.bench.weights:reader", **common) for name in names]
        edges = [edge("publisher.weights", f"{name}.weights", mode="copy") for name in names]
        edges += [edge(f"{name}.adopted", "publisher.adopted", feedback=True) for name in names]
        go(nodes, edges, {each.name: [each.name] for each in nodes})
        took: Any = report(folder / "took")
        for unit, values in zip(("ms", "CPU-ms"), zip(*took[WARM:], strict=True), strict=True):
            figures.add(f"flow, {readers} readers", unit, 1000 * statistics.median(values))


def through_zeromq(readers: int, options: argparse.Namespace) -> float:
    """The same over bare pyzmq: a socket a reader, and one that they answer to."""
    arrays, took = arrays_of(options.megabytes), []
    with tempfile.TemporaryDirectory() as folder, zmq.Context() as context:
        back = context.socket(zmq.PULL)
        back.bind(f"ipc://{folder}/back")
        sockets: list[Any] = []
        processes = []
        for number in range(readers):
            sockets.append(context.socket(zmq.PUSH))
            sockets[-1].bind(f"ipc://{folder}/{number}")
            words = ["--reader", f"{folder}/{number}", "--megabytes", str(options.megabytes)]
            processes.append(subprocess.Popen([sys.executable, "-m", "tools.bench.weights", *words]))
        for _ in range(options.times):
            began = time.perf_counter()
            for socket in sockets:
                socket.send_multipart([array.data for array in arrays.values()], copy=False)
            took.append(max(float(back.recv()) for _ in range(readers)) - began)
        for socket in sockets:
            socket.send(b"")
        for process in processes:
            process.wait(10)
        for socket in (*sockets, back):
            socket.close(0)
    return 1000 * statistics.median(took[WARM:])


def read_bare(address: str, megabytes: int) -> None:
    """A reader of its own process."""
    own = arrays_of(megabytes)
    with zmq.Context() as context, context.socket(zmq.PULL) as socket, context.socket(zmq.PUSH) as back:
        socket.connect(f"ipc://{address}")
        back.connect(f"ipc://{Path(address).with_name('back')}")
        while len(frames := socket.recv_multipart(copy=False)) > 1:
            take_over(own, dict(zip(own, (np.frombuffer(each.buffer, np.float32) for each in frames), strict=True)))
            back.send(str(time.perf_counter()).encode())


def copied(megabytes: int, times: int) -> float:
    """Milliseconds of copying the weights once, from memory that was touched to memory that was."""
    arrays, own, took = arrays_of(megabytes), arrays_of(megabytes), []
    for _ in range(times):
        began = time.perf_counter()
        take_over(own, arrays)
        took.append(time.perf_counter() - began)
    return 1000 * statistics.median(took)


if __name__ == "__main__":
    main()
