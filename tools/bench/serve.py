"""Measure the batched call: 8 environments of 84x84x4 bytes in two groups of 4, a model that takes no time.

    python -m tools.bench.serve                                  half a minute
    python -m tools.bench.serve --ray-python RAY/bin/python      beside Ray actor calls too

Beside it in the same rounds: bare pyzmq doing the same job, a message a group, both groups in flight.
CPU is of both processes with their I/O threads, an observation.
"""

from __future__ import annotations

import argparse

from tools.bench import bare
from tools.bench.ray_beside import Ray, add_option
from tools.bench.running import edge, go, node, report, reports
from tools.bench.table import Figures, interleaved, print_table

LANES = 8
GROUP = 4
TO_PYZMQ, RAY_TO_US = 0.8, 0.2


def main() -> None:
    """Parse the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.serve", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7, help="rounds, A B A B (default 7)")
    parser.add_argument("--count", type=int, default=6000, help="questions of a group each round (default 6000)")
    add_option(parser)
    options = parser.parse_args()
    figures = Figures()
    cases = [lambda: flow_case(figures, options.count), lambda: bare_case(figures, options.count)]
    with Ray(options.ray_python) as ray:
        if ray.there:
            cases.append(lambda: note(figures, "Ray", *[ray.round("serve")] * 2, two=False))
        interleaved(options.rounds, cases)
        for unit in ("obs/s", "CPU-us"):
            figures.relate("flow", unit, "pyzmq", target=TO_PYZMQ if unit == "obs/s" else None)
            figures.relate("Ray", unit, "flow", target=RAY_TO_US if unit == "obs/s" else None, at_least=False)
        print_table(figures, ("flow-research", "trio", "pyzmq", "msgpack", "numpy"), [ray.note])


def flow_case(figures: Figures, count: int) -> None:
    """One run."""
    with reports() as folder:
        nodes = [
            node("environments", "environments", lanes=LANES, count=count, report=str(folder / "environments")),
            node("model", "model", count=count, report=str(folder / "model")),
        ]
        places = {"environments": ["environments"], "model": ["model"]}
        go(nodes, [edge("environments.policy", "model.requests")], places)
        note(figures, "flow", report(folder / "environments"), report(folder / "model"), two=True)


def bare_case(figures: Figures, count: int) -> None:
    """The same in bare pyzmq."""
    note(figures, "pyzmq", *bare.pair(("environments", "model"), f"groups:{count}"), two=True)


def note(figures: Figures, name: str, first: bare.Results, second: bare.Results, *, two: bool) -> None:
    """Enter observations a second as the environments had them answered."""
    asked, served = first["groups"], second["groups"]
    cpu = asked["cpu"] / asked["n"] + (served["cpu"] / served["n"] if two else 0)
    figures.add(name, "obs/s", GROUP * asked["n"] / asked["wall"])
    figures.add(name, "CPU-us", 1e6 * cpu / GROUP)


if __name__ == "__main__":
    main()
