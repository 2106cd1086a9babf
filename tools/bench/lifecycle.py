"""Measure how long a graph takes to be up, to go on after a worker was killed, and to be gone.

    python -m tools.bench.lifecycle

Up: from the supervisor's first step to the first message at its receiver, fork servers and their imports included.
Killed to flowing: from the SIGKILL of the sender's worker to the first message of its successor. One more worker: from
asking the fork server to the worker's first word. Beside them, in the same rounds, interpreters that import the same
and do nothing.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import trio

from flow.plan import make_plan
from flow.processes import ForkServer
from flow.run_directory import RunDirectory
from flow.supervisor import Supervisor
from tools.bench.running import edge, go, node, report, reports
from tools.bench.table import Figures, interleaved, print_table

MODULE = "tools.bench.nodes_for_lifecycle"
CHAIN = 20
BEATS = 400  # of 5 ms each: a kill after half a second leaves time to see what comes after


def main() -> None:
    """Parse the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.lifecycle", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=5, help="rounds, A B A B (default 5)")
    options = parser.parse_args()
    figures = Figures()
    cases = [
        lambda: importing(figures, "import trio, zmq, numpy", "trio, zmq, numpy"),
        lambda: importing(figures, "import torch", "torch"),
        lambda: up_and_killed(figures, "without torch", "beacon"),
        lambda: up_and_killed(figures, "with torch", "torch_beacon"),
        lambda: one_more(figures),
        lambda: gone(figures),
    ]
    interleaved(options.rounds, cases)
    for name, most in (
        ("graph up, without torch", 1.5),
        ("killed to flowing, without torch", 0.3),
        ("killed to flowing, with torch", 1.0),
        ("one more torch worker", 0.06),
        (f"{CHAIN} nodes in 4 workers gone", 2.0),
    ):
        figures.hold(name, "s", most, at_least=False)
    print_table(figures, ("flow-research", "trio", "pyzmq", "torch"))


def importing(figures: Figures, name: str, modules: str) -> None:
    """An interpreter that imports them and ends."""
    began = time.perf_counter()
    subprocess.run([sys.executable, "-c", f"import {modules}"], check=True)
    figures.add(name, "s", time.perf_counter() - began)


async def until(holds: Callable[[], bool]) -> None:
    """Wait for something that nobody tells of."""
    while not holds():  # noqa: ASYNC110 - the supervisor polls too
        await trio.sleep(0.02)


def up_and_killed(figures: Figures, name: str, sender: str) -> None:
    """A sender and a receiver in two workers; half a second after the first message the sender's worker is killed."""
    killed = 0.0

    async def kill_once(supervisor: Supervisor) -> None:
        nonlocal killed
        await until(lambda: "beats" in supervisor.progress.counters)
        await trio.sleep(0.5)
        killed = time.perf_counter()
        os.kill(supervisor.processes["a"].pid, signal.SIGKILL)

    with reports() as folder:
        nodes = [
            node("beacon", f"{MODULE}:{sender}", count=BEATS),
            node("listener", f"{MODULE}:listener", report=str(folder / "listener")),
        ]
        ran = go(nodes, [edge("beacon.beats", "listener.beats", credit=64)], {"a": ["beacon"], "b": ["listener"]},
                 beside=kill_once)  # fmt: skip
        first = report(folder / "listener")["first"]
    # By incarnation of the sender; perf_counter is one clock for all processes of a host.
    figures.add(f"graph up, {name}", "s", first["0"] - ran.started)
    figures.add(f"killed to flowing, {name}", "s", first["1"] - killed)


def one_more(figures: Figures) -> None:
    """A worker from a fork server that has torch imported."""

    async def fork() -> float:
        plan = make_plan({"idle": node("idle", f"{MODULE}:torch_beacon", count=1)}, (), {"w": [("idle", 0)]}, seed=0)
        with tempfile.TemporaryDirectory(prefix="bench-") as folder:
            words = {"run_directory": str(RunDirectory.create(Path(folder), "bench").path), "plan": plan.to_dict()}
            server = ForkServer(["flow.worker", "torch", MODULE])
            async with trio.open_nursery() as nursery:
                nursery.start_soon(server.run)
                await server.ready.wait()
                began = time.perf_counter()
                process = await server.fork("w", 0, words)
                said = await process.line.hear()
                took = time.perf_counter() - began
                assert said is not None
                assert said["say"] == "ready"
                process.line.close()
                await process.over.wait()
                nursery.cancel_scope.cancel()
            server.kill()
        return took

    figures.add("one more torch worker", "s", trio.run(fork))


def gone(figures: Figures) -> None:
    """A chain of nodes: from the decision that the run ends to its last process gone, drained and saved."""
    decided = 0.0

    async def note(supervisor: Supervisor) -> None:
        nonlocal decided
        await until(lambda: [process.started for process in supervisor.processes.values()] == [True] * 4)
        await trio.sleep(0.5)
        decided = time.perf_counter()
        supervisor.finish("done")

    names = [f"n{number}" for number in range(CHAIN)]
    nodes = [
        node(names[0], f"{MODULE}:beacon", count=1_000_000),
        *(node(name, f"{MODULE}:relay") for name in names[1:-1]),
        node(names[-1], f"{MODULE}:listener", report=os.devnull),
    ]
    edges = [edge(f"{a}.beats", f"{b}.beats" if b == names[-1] else f"{b}.inputs") for a, b in pairwise(names)]
    places = {f"w{number}": names[number * 5 : number * 5 + 5] for number in range(4)}
    go(nodes, edges, places, beside=note)
    figures.add(f"{CHAIN} nodes in 4 workers gone", "s", time.perf_counter() - decided)


if __name__ == "__main__":
    main()
