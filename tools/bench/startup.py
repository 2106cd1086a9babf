"""Measure how long things take to begin, and what idle workers hold.

    python -m tools.bench.startup

Memory is of a worker alone with a node that waits: Rss with what it shares, Pss with its part of that.
"""

from __future__ import annotations

import argparse
import importlib.util
import subprocess
import sys
import time
from pathlib import Path

from tools.bench.laser import laser_run
from tools.bench.running import Node, edge, go, node
from tools.bench.table import Figures, interleaved, print_table

FIRST_STEP_S, LIGHT_MB = 8.0, 80.0
GRAPH = Path("graphs/laser_atari.toml")


def main() -> None:
    """Parse the command line, measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.startup", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=3, help="rounds, A B A B (default 3)")
    options = parser.parse_args()
    figures = Figures()
    notes = []
    cases = [
        lambda: timed(figures, "python -c pass", "-c", "pass"),
        lambda: timed(figures, "import flow", "-c", "import flow"),
    ]
    if importlib.util.find_spec("flow.cli.main") and GRAPH.exists():
        words = ("-c", "from flow.cli.main import main; main()", "check", str(GRAPH))
        cases.append(lambda: timed(figures, "flow check", *words))
    else:
        notes.append(f"flow check: not measured, there is no flow.cli.main or no {GRAPH} here")
    cases.append(lambda: first_step(figures))
    cases.append(lambda: idle_worker(figures))
    interleaved(options.rounds, cases)
    figures.relate("import flow", "s", "python -c pass")
    figures.hold("LASER to its first step", "s", FIRST_STEP_S, at_least=False)
    figures.hold("light worker", "MB Rss", LIGHT_MB, at_least=False)
    print_table(figures, ("flow-research", "trio", "numpy", "torch"), notes)


def timed(figures: Figures, name: str, *words: str) -> None:
    """Wall time of a new interpreter."""
    began = time.perf_counter()
    subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
    figures.add(name, "s", time.perf_counter() - began)


def first_step(figures: Figures) -> None:
    """From `go` to the first frame of a game, torch's import included."""
    ran = laser_run(share=0.0, until={"frames": 1})
    figures.add("LASER to its first step", "s", ran.first_moved("frames"))
    for name, worker in (("actor's worker", "actor"), ("torch worker", "model")):
        remember(figures, name, ran.memory[worker])


def idle_worker(figures: Figures) -> None:
    """A worker without packages, whose node waits for messages that never come."""
    nodes: list[Node] = [node("idle", "idler"), node("other", "idler")]
    ran = go(nodes, [edge("idle.blobs", "other.inputs"), edge("other.blobs", "idle.inputs")],
             {"light": ["idle"], "other": ["other"]}, {"seconds": 2}, memory=True)  # fmt: skip
    remember(figures, "light worker", ran.memory["light"])


def remember(figures: Figures, name: str, held: dict[str, float]) -> None:
    """Enter a worker's memory."""
    for kind, size in held.items():
        figures.add(name, f"MB {kind}", size)


if __name__ == "__main__":
    main()
