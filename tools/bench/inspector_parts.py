"""What is measured of the inspector by itself: its screen, nodes that hang, ports that nobody watches, and bottlenecks
that were planted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import random
import select
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import trio

from flow.inspect.overview import Look
from flow.run_directory import RunDirectory
from flow.stats import Page
from tools.bench import bottleneck, ports
from tools.bench.running import cpu_seconds
from tools.bench.table import Figures

FLOW = [sys.executable, "-m", "flow"]
NODES = "tools.bench.nodes_for_inspector"
SCREEN = struct.pack("HHHH", 44, 140, 0, 0)
PATIENCE_S = 60.0
STALL_S = 6.0
SHOWN_AFTER_S = STALL_S / 3
T = TypeVar("T")

STREAMS = f"""
title = "bench"
[nodes.sender]
run = "{NODES}:sender"
[nodes.receiver]
run = "{NODES}:receiver"
[edges]
"sender.frames" = "receiver.frames"
[workers]
other = ["receiver"]
"""
HANGS = f"""
title = "bench"
[nodes.stamper]
run = "{NODES}:stamper"
[nodes.hanger]
run = "{NODES}:hanger"
held = "HELD"
[edges]
"stamper.stamps" = "hanger.stamps"
[workers]
other = ["hanger"]
"""


@contextlib.contextmanager
def going(graph: str, *words: str) -> Iterator[RunDirectory]:
    """A `flow run` of a graph."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        file = Path(folder) / "bench.toml"
        file.write_text(graph)
        line = [*FLOW, "run", str(file), "--runs", folder, *words]
        process = subprocess.Popen(line, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
        try:
            yield RunDirectory(soon(lambda: next(Path(folder).glob("*/run.json"), None)).parent)
        finally:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            time.sleep(0.5)  # its workers go with it


def soon(look: Callable[[], T | None]) -> T:
    """What is found as soon as something is."""
    end = time.monotonic() + PATIENCE_S
    while (found := look()) is None:
        if time.monotonic() > end:
            raise TimeoutError(f"waited {PATIENCE_S:g} s")
        time.sleep(0.02)
    return found


def screen(figures: Figures, seconds: float) -> None:
    """How soon `flow inspect` shows the run as it is, and what of a core it takes to go on showing it."""
    with going(STREAMS) as run:
        look = Look(run)
        soon(lambda: [view for view in look.views() if view.counters.get("frames", 0) > 1000] or None)
        look.close()
        pid, terminal = pty.fork()
        if pid == 0:
            os.environ["TERM"] = "xterm-256color"
            os.execv(sys.executable, [*FLOW, "inspect", str(run.path)])
        fcntl.ioctl(terminal, termios.TIOCSWINSZ, SCREEN)
        began = time.perf_counter()
        try:
            shown = b""
            # The graph and the table are drawn with figures of the run: a rate stands in both.
            while not all(word in shown for word in (b"bottleneck", b"receiver", b"/s")):
                shown += _read(terminal, 0.1)
                if time.perf_counter() > began + PATIENCE_S:
                    raise TimeoutError(f"no screen within {PATIENCE_S:g} s, but this: {shown[-2000:]!r}")
            figures.add("flow inspect: first true screen", "s", time.perf_counter() - began)
            figures.add("flow inspect: processor time until then", "s", cpu_seconds(pid))
            while time.perf_counter() < began + 3.0:  # what starting costs is no part of what going on does
                _read(terminal, 0.1)
            used, since = cpu_seconds(pid), time.perf_counter()
            while time.perf_counter() < since + seconds:
                _read(terminal, 0.1)
            figures.add("flow inspect: its processor time", "cores", (cpu_seconds(pid) - used) / seconds)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(terminal)


def _read(terminal: int, seconds: float) -> bytes:
    readable, _, _ = select.select([terminal], [], [], seconds)
    return os.read(terminal, 1 << 16) if readable else b""


def hang(figures: Figures, held: str) -> None:
    """How long after its deadline a node that hangs is shown with file and line."""
    with going(HANGS.replace("HELD", held), "--stall", f"{STALL_S:g}") as run:
        look = Look(run)

        def shown() -> float | None:
            nodes = {node.node: node for node in look.now().nodes}
            found = nodes.get("hanger")
            is_shown = found is not None and found.state in ("hung", "computing") and "line " in found.last_error
            return time.time() if is_shown else None

        when = soon(shown)
        since = next(view.gauges["held_since"] for view in look.views() if view.node == "hanger")
        look.close()
        what = {"loop": "a hanging loop", "thread": "an endless computation"}[held]
        figures.add(f"{what}, shown with its line after its deadline", "s", when - since - SHOWN_AFTER_S)


def unwatched(figures: Figures) -> None:
    """What a message costs more at a port that could be watched, and is not."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        page = Page.open(Path(folder) / "n-0.page", node="n")
        bare, plain = (trio.run(ports.passing, name, page, 20_000) for name in ("bare", "ports"))
    figures.add("a message and port, nobody attached", "ns", (plain - bare) / 2)


def planted(figures: Figures, graphs: int, seconds: float) -> None:
    """Of how many generated graphs the planted slow node is the one named."""
    named = 0
    for number in range(graphs):
        one = bottleneck.plant(random.Random(f"0/{number}"))
        found, _ = bottleneck.ask(one, seconds)
        named += found == one.slow
    figures.add(f"bottlenecks named, of {graphs} planted", "graphs", named)
    figures.hold(f"bottlenecks named, of {graphs} planted", "graphs", -(-9 * graphs // 10))
