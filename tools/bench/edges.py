"""Measure what an edge carries between two workers, and within one.

    python -m tools.bench.edges                                  about a minute
    python -m tools.bench.edges --ray-python RAY/bin/python      beside Ray actor calls too

Beside each figure: bare pyzmq over ipc between two processes doing the same; over TCP with CURVE, on the loopback
device, for what goes between hosts; a bare trio memory channel for what stays in a worker. CPU is of both processes
with their I/O threads, a message or a call.
"""

from __future__ import annotations

import argparse

from tools.bench import bare
from tools.bench.ray_beside import Ray, add_option
from tools.bench.running import edge, go, node, report, reports
from tools.bench.table import Figures, interleaved, print_table

CREDIT = {"credit": 64, "credit_bytes": 1 << 27}
NAMES = {"64": "64 B", "1024": "1 KiB", "28224": "28 KiB", str(1 << 20): "1 MiB"}


def main() -> None:
    """Parse the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.edges", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds, A B A B (default 5)")
    parser.add_argument("--scale", type=float, default=1.0, help="times as many messages (default 1)")
    add_option(parser)
    options = parser.parse_args()
    streams = counts({"1024": 15_000, "28224": 5000, str(1 << 20): 300}, options.scale)
    calls = counts({"64": 4000, "28224": 3000}, options.scale)
    few = counts({"1024": 8000, "28224": 2000, str(1 << 20): 80}, options.scale)
    figures = Figures()
    cases = [
        lambda: flow_case(figures, "flow", streams, calls, {"a": ["source", "caller"], "b": ["sink", "echoer"]}),
        lambda: bare_case(figures, streams, calls),
        lambda: flow_case(figures, "flow over tcp", few, calls, {"a": ["source", "caller"], "b": ["sink", "echoer"]}),
        lambda: bare_case(figures, few, calls, tcp=True),
        lambda: flow_case(figures, "flow, one worker", streams, calls, {"a": ["source", "caller", "sink", "echoer"]}),
        lambda: channel_case(figures, int(30_000 * options.scale)),
    ]
    with Ray(options.ray_python) as ray:
        if ray.there:
            cases.append(lambda: ray_case(figures, ray))
        interleaved(options.rounds, cases)
        relate(figures)
        print_table(figures, ("flow-research", "trio", "pyzmq", "msgpack", "numpy"), [ray.note])


def counts(sizes: dict[str, int], scale: float) -> str:
    """How many messages of each size, as the nodes read it."""
    return ",".join(f"{size}:{max(10, int(count * scale))}" for size, count in sizes.items())


def flow_case(figures: Figures, name: str, streams: str, calls: str, places: dict[str, list[str]]) -> None:
    """One run for the streams, one for the calls: each node has its worker's CPU to itself."""
    jobs = (
        ("source", "sink", "source.blobs", "sink.blobs", streams),
        ("caller", "echoer", "caller.echo", "echoer.requests", calls),
    )
    for first, second, sender, receiver, todo in jobs:
        with reports() as folder:
            ends = [node(n, n, counts=todo, report=str(folder / n)) for n in (first, second)]
            hosts = {w: [n for n in hosted if n in (first, second)] for w, hosted in places.items()}
            go(ends, [edge(sender, receiver, **CREDIT)], hosts, tcp="tcp" in name)
            call, two = first == "caller", len(places) == 2
            note(figures, name, report(folder / first), report(folder / second), two=two, call=call)


def bare_case(figures: Figures, streams: str, calls: str, *, tcp: bool = False) -> None:
    """The same over bare pyzmq. tcp: with CURVE, which lets in the one key alone."""
    name = "pyzmq over tcp" if tcp else "pyzmq"
    note(figures, name, *bare.pair(("push", "pull"), streams, tcp=tcp), two=True)
    note(figures, name, *bare.pair(("ask", "answer"), calls, tcp=tcp), two=True, call=True)


def note(
    figures: Figures, name: str, first: bare.Results, second: bare.Results, *, two: bool, call: bool = False
) -> None:
    """Enter what the two ends measured: rates as the receiver, round trips as the caller saw them."""
    for size in first:
        label = f"{name}, {'call ' if call else ''}{NAMES[size]}"
        seen = first[size] if call else second[size]
        cpu = (first[size]["cpu"] / first[size]["n"] if two else 0) + second[size]["cpu"] / second[size]["n"]
        if call:
            figures.add(label, "us", 1e6 * seen["wall"] / seen["n"])
        elif size == "1024":
            figures.add(label, "msg/s", seen["n"] / seen["wall"])
        else:
            figures.add(label, "MiB/s", seen["n"] * int(size) / seen["wall"] / (1 << 20))
        figures.add(label, "CPU-us", 1e6 * cpu)


def channel_case(figures: Figures, count: int) -> None:
    """A bare trio memory channel."""
    took = bare.trio_channel(count)
    figures.add("trio channel, 1 KiB", "msg/s", took["n"] / took["wall"])
    figures.add("trio channel, 1 KiB", "CPU-us", 1e6 * took["cpu"] / took["n"])


def ray_case(figures: Figures, ray: Ray) -> None:
    """Ray actor calls: the CPU is of the driver and the actor, without Ray's own processes."""
    found = ray.round("edges")
    note(figures, "Ray", found["streams"], found["streams"], two=False)
    note(figures, "Ray", found["calls"], found["calls"], two=False, call=True)


def relate(figures: Figures) -> None:
    """Put each figure beside its peer."""
    for figure in list(figures):
        owner, _, what = figure.name.partition(", ")
        if owner == "Ray":
            figures.relate(figure.name, figure.unit, f"flow, {what}")
        elif figure.name.startswith("flow, one worker") and "1 KiB" in what:
            figures.relate(figure.name, figure.unit, "trio channel, 1 KiB")
        elif owner == "flow over tcp":
            figures.relate(figure.name, figure.unit, f"pyzmq over tcp, {what}")
        elif owner == "flow":
            figures.relate(figure.name, figure.unit, f"pyzmq, {what}")


if __name__ == "__main__":
    main()
