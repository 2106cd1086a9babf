"""Plant a slow node in generated graphs, run each, and ask the pages of the run which node it waits for.

    python -m tools.bench.bottleneck

The graphs are trees of streams, some with a step that asks a server; every node spends some time at each message, the
planted one three to eight times the longest of the others. The last line says how often it was the one named.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import trio

from flow.inspect.overview import Look
from flow.monitor import Monitor
from flow.plan import NodeOfGraph, make_plan
from flow.progress import Progress
from flow.run_directory import RunDirectory
from flow.supervisor import Options, Supervisor
from tools.bench.running import Edge, Node, edge, node

NODES = "tools.bench.nodes_for_bottleneck"


@dataclass
class Planted:
    """A graph and its slow node."""

    nodes: list[Node]
    edges: list[Edge]
    places: dict[str, list[str]]
    slow: str


def main() -> int:
    """Parse the command line, run, and say how often the planted node was named."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.bottleneck", description=__doc__.split("\n")[0])
    parser.add_argument("--graphs", type=int, default=20, help="how many (default 20)")
    parser.add_argument("--seconds", type=float, default=3.0, help="that each runs (default 3)")
    parser.add_argument("--seed", type=int, default=0, help="of the graphs (default 0)")
    options = parser.parse_args()
    named = 0
    for number in range(options.graphs):
        planted = plant(random.Random(f"{options.seed}/{number}"))
        found, sentence = ask(planted, options.seconds)
        named += found == planted.slow
        verdict = "named" if found == planted.slow else f"MISSED, planted {planted.slow}"
        print(f"{number + 1:>3}  {len(planted.nodes)} nodes  {verdict}: {sentence}", flush=True)
    least = -(-9 * options.graphs // 10)
    print(f"named in {named} of {options.graphs}; we aim for {least}" + ("" if named >= least else "  MISSED"))
    return 0 if named >= least else 1


def plant(dice: random.Random) -> Planted:
    """A tree of 3 to 7 nodes in one or two workers."""
    count = dice.randint(3, 7)
    costs = [dice.uniform(0.5, 4.0) for _ in range(count)]
    slow = dice.randrange(count)
    costs[slow] = dice.uniform(3.0, 8.0) * max(costs)
    parents = [None, *(dice.randrange(at) for at in range(1, count))]
    nodes: list[Node] = []
    edges: list[Edge] = []
    for at, (parent, cost) in enumerate(zip(parents, costs, strict=True)):
        leaf = at not in parents
        asks = at > 0 and not leaf and dice.random() < 0.4
        kind = "source" if parent is None else "sink" if leaf else "asker" if asks else "step"
        settings = {} if asks else {"cost_ms": cost}
        nodes.append(node(f"n{at}", f"{NODES}:{kind}", **settings))
        if asks:
            nodes.append(node(f"s{at}", f"{NODES}:server", cost_ms=cost))
            edges.append(edge(f"n{at}.model", f"s{at}.requests"))
        if parent is not None:
            edges.append(edge(f"n{parent}.out", f"n{at}.into", mode="copy"))
    name = f"s{slow}" if any(one.name == f"s{slow}" for one in nodes) else f"n{slow}"
    places: dict[str, list[str]] = {"main": []}
    for one in nodes:
        places.setdefault(dice.choice(["main", "other"]), []).append(one.name)
    return Planted(nodes, edges, {worker: those for worker, those in places.items() if those}, name)


def ask(planted: Planted, seconds: float) -> tuple[str | None, str]:
    """Run the graph for a while; which node its pages name, and how."""
    by_name: dict[str, NodeOfGraph] = {one.name: one for one in planted.nodes}
    places = {worker: [(name, 0) for name in names] for worker, names in planted.places.items()}
    plan = make_plan(by_name, tuple(planted.edges), places, seed=0)
    told: list[tuple[str | None, str]] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        directory = RunDirectory.create(Path(folder), "bench")
        look = Look(directory)

        def observe(progress: Progress) -> None:
            moved = progress.counters.get("handled")
            if moved is not None and progress.elapsed >= seconds and not told:
                overview = look.now()
                finding = overview.bottleneck_node, overview.bottleneck
                told.append(finding)
                supervisor.finish("done")

        with directory.own():
            modules: dict[tuple[str, ...], list[str]] = {(): ["flow.worker", NODES]}
            options = Options(drain_s=1.0)
            supervisor = Supervisor(plan, directory, Monitor(directory), {}, modules, observe, options)
            trio.run(supervisor.run)
        look.close()
    return told[0]


if __name__ == "__main__":
    sys.exit(main())
