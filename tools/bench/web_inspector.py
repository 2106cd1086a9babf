"""Measure the inspector's page: how soon it is drawn, and what looking through it costs a run.

    python -m tools.bench.web_inspector
    python -m tools.bench.web_inspector --atari

A stream of 28 KiB frames between two workers as fast as it goes or, with --atari, graphs/laser_atari.toml, whose actor
asks its policy with stacks of frames. First screen: from the command to the graph drawn in a headless Chromium that was
already there, and what the inspector itself computes until then, which says more where the machine is busy. Then, in
turns of a few seconds, nobody looks, a page looks twice a second, and a page looks and taps ten frames a second; beside
each turn stands the one without a page of the same round. CPU is of all workers, a frame: on a machine that is busy
with other things it says more than frames/s. Cores are of the inspector alone. The page's streams are read here,
without a browser, whose own work is not the run's price.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from flow.inspect.overview import Look
from flow.run_directory import RunDirectory
from tools.bench.running import cpu_seconds
from tools.bench.table import Figures, print_table
from tools.documents.web_picture import browser, page_server

GRAPH = """title = "bench"
[nodes.sender]
run = "tools.bench.nodes_for_inspector:sender"
[nodes.receiver]
run = "tools.bench.nodes_for_inspector:receiver"
[edges]
"sender.frames" = "receiver.frames"
[workers]
main = ["sender"]
other = ["receiver"]
"""
NOBODY = "nobody looks"
LOOKS, TAPS = "a page, twice a second", "a page that taps ten frames a second"
ATARI = Path(__file__).parents[2] / "graphs" / "laser_atari.toml"
WARM_S = 1.5


def turns_of(tapped: str) -> dict[str, tuple[str, ...]]:
    """What is read in each turn, where the page taps that port."""
    node, port = tapped.split(".")
    return {NOBODY: (), LOOKS: ("/api/live",), TAPS: ("/api/live", f"/api/tap?node={node}&port={port}")}


@contextlib.contextmanager
def going(graph: Path | None) -> Iterator[RunDirectory]:
    """A run of a graph, the streams if it is None, while the block lasts."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        if graph is None:
            graph = Path(folder) / "bench.toml"
            graph.write_text(GRAPH)
        command = [sys.executable, "-m", "flow", "run", str(graph), "--runs", folder]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            try:
                found = None
                while found is None or frames(found) == 0:
                    time.sleep(0.1)
                    found = next((RunDirectory(path.parent) for path in Path(folder).glob("*/run.json")), None)
                yield found
            finally:
                process.send_signal(signal.SIGINT)


def frames(run: RunDirectory) -> int:
    """How many there were."""
    return counted(run)[0]


def counted(run: RunDirectory) -> tuple[int, int]:
    """How many frames there were, and for how many us of CPU time of all workers.

    A page counts its worker's time: nodes of one worker say the same.
    """
    with contextlib.closing(Look(run)) as look:
        views = look.views()
    cpu_us = {view.pid: view.counters.get("_cpu_us", 0) for view in views}
    return sum(view.counters.get("frames", 0) for view in views), sum(cpu_us.values())


def first_screen(run: RunDirectory, figures: Figures, rounds: int) -> None:
    """From the command to the drawn graph."""
    if not rounds:
        return
    with browser() as chromium:
        for _ in range(rounds):
            page = chromium.new_page()
            began = time.monotonic()
            with page_server(str(run.path)) as (process, link):
                page.goto(link)
                page.wait_for_selector("#graph .node")
                page.wait_for_function("document.querySelector('#graph .number')?.textContent.includes('/s')")
                figures.add("first screen", "s", time.monotonic() - began)
                figures.add("  what the inspector computes for it", "CPU-s", cpu_seconds(process.pid))
            page.close()


def read(link: str, paths: tuple[str, ...]) -> None:
    """Open the link and read streams, in threads of their own, until the server ends."""
    address, path = re.fullmatch(r"http://([^/]+)(/.*)", link).groups()  # type: ignore[union-attr]

    def follow(path: str, cookie: str) -> None:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection(address)
            connection.request("GET", path, headers={"Cookie": cookie})
            answer = connection.getresponse()
            while answer.read1(1 << 16):
                pass

    connection = http.client.HTTPConnection(address)
    connection.request("GET", path)
    cookie = connection.getresponse().headers["set-cookie"].partition(";")[0]
    for each in paths:
        threading.Thread(target=follow, args=(each, cookie), daemon=True).start()


def turn(run: RunDirectory, name: str, streams: tuple[str, ...], seconds: float, figures: Figures) -> None:
    """A few seconds of the run with the streams of a turn open."""
    with contextlib.ExitStack() as stack:
        pid = None
        if streams:
            process, link = stack.enter_context(page_server(str(run.path)))
            read(link, streams)
            pid = process.pid
        time.sleep(WARM_S)
        began, (before, run_cpu), cpu = time.monotonic(), counted(run), cpu_seconds(pid) if pid else 0.0
        time.sleep(seconds)
        took, (after, run_cpu_after) = time.monotonic() - began, counted(run)
        figures.add(name, "frames/s", (after - before) / took)
        figures.add(name, "CPU-us", (run_cpu_after - run_cpu) / max(after - before, 1))
        if pid:
            figures.add(f"  the inspector of: {name}", "cores", (cpu_seconds(pid) - cpu) / took)


def main() -> None:
    """Parse the command line, run, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.web_inspector", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=4, help="rounds, A B C A B C (default 4)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn (default 4)")
    parser.add_argument("--atari", action="store_true", help="look at LASER on Pong, not at a bare stream")
    parser.add_argument("--screens", type=int, default=4, help="first screens; 0 needs no browser (default 4)")
    options = parser.parse_args()
    figures = Figures()
    turns = turns_of("actor.policy" if options.atari else "receiver.frames")
    with going(ATARI if options.atari else None) as run:
        first_screen(run, figures, options.screens)
        for _ in range(options.rounds):
            for name, streams in turns.items():
                turn(run, name, streams, options.seconds, figures)
    if options.screens:
        figures.hold("first screen", "s", 1.5, at_least=False)
    for name in (LOOKS, TAPS):
        figures.relate(name, "frames/s", NOBODY, target=0.99)
        figures.relate(name, "CPU-us", NOBODY, target=1.01, at_least=False)
        figures.hold(f"  the inspector of: {name}", "cores", 0.1, at_least=False)
    print_table(figures, ("flow-research", "trio", "hypercorn"), [f"load at the end: {os.getloadavg()[0]:.1f}"])


if __name__ == "__main__":
    main()
