"""Measure the inspector's page: how soon it is drawn, and what looking through it costs a run.

    python -m tools.bench.web_inspector

A stream of 28 KiB frames between two workers as fast as it goes. First screen: from the command to the graph drawn in
a headless Chromium that was already there, and what the inspector itself computes until then, which says more where the
machine is busy. Then, in turns of a few seconds, nobody looks, a page looks twice a second, and a page looks and taps
ten frames a second; beside each turn stands the one without a page of the same round. Cores are of the inspector alone.
The page's streams are read here, without a browser, whose own work is not the run's price.
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
TURNS: dict[str, tuple[str, ...]] = {
    NOBODY: (),
    "a page, twice a second": ("/api/live",),
    "a page that taps ten frames a second": ("/api/live", "/api/tap?node=receiver&port=frames"),
}
WARM_S = 1.5


@contextlib.contextmanager
def going() -> Iterator[RunDirectory]:
    """The run, while the block lasts."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
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
    """How many have arrived."""
    with contextlib.closing(Look(run)) as look:
        return next((view.counters.get("frames", 0) for view in look.views() if view.node == "receiver"), 0)


def first_screen(run: RunDirectory, figures: Figures, rounds: int) -> None:
    """From the command to the drawn graph."""
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


def turn(run: RunDirectory, name: str, seconds: float, figures: Figures) -> None:
    """A few seconds of the run with the streams of a turn open."""
    with contextlib.ExitStack() as stack:
        pid = None
        if TURNS[name]:
            process, link = stack.enter_context(page_server(str(run.path)))
            read(link, TURNS[name])
            pid = process.pid
        time.sleep(WARM_S)
        began, before, cpu = time.monotonic(), frames(run), cpu_seconds(pid) if pid else 0.0
        time.sleep(seconds)
        took = time.monotonic() - began
        figures.add(name, "frames/s", (frames(run) - before) / took)
        if pid:
            figures.add(f"  the inspector of: {name}", "cores", (cpu_seconds(pid) - cpu) / took)


def main() -> None:
    """Parse the command line, run, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.web_inspector", description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=4, help="rounds, A B C A B C (default 4)")
    parser.add_argument("--seconds", type=float, default=4.0, help="of each turn (default 4)")
    options = parser.parse_args()
    figures = Figures()
    with going() as run:
        first_screen(run, figures, options.rounds)
        for _ in range(options.rounds):
            for name in TURNS:
                turn(run, name, options.seconds, figures)
    figures.hold("first screen", "s", 1.5, at_least=False)
    for name in list(TURNS)[1:]:
        figures.relate(name, "frames/s", NOBODY, target=0.99)
        figures.hold(f"  the inspector of: {name}", "cores", 0.1, at_least=False)
    print_table(figures, ("flow-research", "trio", "hypercorn"), [f"load at the end: {os.getloadavg()[0]:.1f}"])


if __name__ == "__main__":
    main()
