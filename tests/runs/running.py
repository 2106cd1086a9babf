"""Starts `flow` in processes of its own, as a user does, and looks at what they leave."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from flow import ledger
from flow.ledger import EdgeCount
from flow.run_directory import RunDirectory
from flow.stats import read_page

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
MARK = "FLOW_TEST_MARK"
FLOW = [sys.executable, "-m", "flow"]
PATIENCE_S = 30.0
NODES = "tests.runs.nodes_for_runs"


def graph_text(
    nodes: dict[str, dict[str, Any]],
    edges: dict[str, str],
    workers: dict[str, list[str]] | None = None,
    until: dict[str, float] | None = None,
) -> str:
    """A graph file; `run` of a node is one of `nodes_for_runs`."""
    lines = ['title = "a small graph"']
    for name, settings in nodes.items():
        lines.append(f"[nodes.{name}]")
        for key, value in settings.items():
            told = f"{NODES}:{value}" if key == "run" else value
            lines.append(f"{key} = {json.dumps(told)}")
    lines.append("[edges]")
    lines += [f"{json.dumps(sender)} = {json.dumps(receiver)}" for sender, receiver in edges.items()]
    for table, content in (("workers", workers), ("until", until)):
        if content:
            lines.append(f"[{table}]")
            lines += [f"{key} = {json.dumps(value)}" for key, value in content.items()]
    return "\n".join(lines) + "\n"


def line_graph(
    *between: dict[str, Any],
    source: dict[str, Any] | None = None,
    sink: dict[str, Any] | None = None,
    until: dict[str, float] | None = None,
    workers: dict[str, list[str]] | None = None,
) -> str:
    """source ──► step0 ──► … ──► sink; the source in a worker of its own, unless told otherwise."""
    nodes = {"source": {"run": "source", **(source or {})}}
    edges, before = {}, "source.numbers"
    for index, step in enumerate(between):
        nodes[f"step{index}"] = step
        edges[before] = f"step{index}.numbers"
        before = f"step{index}.{'passed' if step['run'] == 'trouble' else 'doubled'}"
    nodes["sink"] = {"run": "sink", **(sink or {})}
    edges[before] = "sink.numbers"
    return graph_text(nodes, edges, workers or {"making": ["source"]}, until)


def marked(mark: str) -> dict[int, str]:
    """Living processes that carry the mark in their environment, with their command lines."""
    found = {}
    needle = f"{MARK}={mark}".encode()
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if needle not in (place / "environ").read_bytes():
                continue
            if (place / "stat").read_text().rpartition(")")[2].split()[0] in "ZX":
                continue
            found[int(place.name)] = (place / "cmdline").read_bytes().replace(b"\0", b" ").decode()
    return found


@dataclass
class Home:
    """A place for runs, and a registry of its own."""

    path: Path
    mark: str = field(default_factory=lambda: secrets.token_hex(8))

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "FLOW_STATE_HOME": str(self.path / "state"),
            MARK: self.mark,
        }

    def flow(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        """A command that ends soon."""
        return subprocess.run(
            [*FLOW, *map(str, arguments)],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
            check=False,
        )

    def graph(self, text: str) -> Path:
        path = self.path / "small.toml"
        path.write_text(text)
        return path

    def start(self, text: str, *arguments: str | Path, within: Sequence[str] = ()) -> Running:
        """Start a run of a graph. within: the command that starts the command."""
        return Running(self, ["run", self.graph(text), "--runs", self.path / "runs", *arguments], within=within)

    def resume(self, run: RunDirectory, *arguments: str | Path) -> Running:
        return Running(self, ["run", "--resume", run.path, *arguments], run)

    def processes(self) -> dict[int, str]:
        """All that is alive of this home's runs."""
        return marked(self.mark)

    def end_all(self) -> dict[int, str]:
        """Kill what is left; returns what that was."""
        left = self.processes()
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return left


class Running:
    """A `flow run` in a process of its own."""

    def __init__(
        self,
        home: Home,
        arguments: list[str | Path],
        run: RunDirectory | None = None,
        within: Sequence[str] = (),
    ) -> None:
        self.home = home
        self._before = set(self._directories())
        self._run = run
        self._output = home.path / f"output.{secrets.token_hex(4)}"
        with self._output.open("wb") as output:
            self.process = subprocess.Popen(
                [*within, *FLOW, *map(str, arguments)],
                cwd=ROOT,
                env=home.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _directories(self) -> Iterator[Path]:
        return (self.home.path / "runs").glob("*/run.json")

    @property
    def output(self) -> str:
        return self._output.read_text()

    @property
    def run(self) -> RunDirectory:
        """Its run directory, once there is one."""
        if self._run is None:
            new = self.until(lambda: set(self._directories()) - self._before, "a run directory")
            self._run = RunDirectory(new.pop().parent)
        return self._run

    def wait(self, seconds: float = PATIENCE_S) -> int:
        """Its exit status."""
        try:
            return self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"still running after {seconds} s\n{self.story()}") from None

    def until(self, look: Callable[[], T], what: str, seconds: float = PATIENCE_S) -> T:
        """What `look` finds as soon as it finds something."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = look()
            if found:
                return found
            time.sleep(0.01)
        raise AssertionError(f"waited {seconds} s for {what}\n{self.story()}")

    def until_arrived(self, count: int) -> None:
        self.until(lambda: len(self.received()) >= count, f"{count} numbers to arrive")

    def story(self) -> str:
        """All there is to say of it when a test fails."""
        parts = [self.output]
        if self._run is not None:
            parts += [f"--- {path.name}\n{path.read_text()}" for path in sorted(self._run.logs.glob("*.log"))]
            parts += [f"--- {path.name}\n{path.read_text()}" for path in sorted(self._run.logs.glob("*.out"))]
            parts += [f"{edge}: {count}" for edge, count in self.ledger().items()]
        return "\n".join(parts)[-6000:]

    def received(self) -> list[int]:
        """What the sink wrote down."""
        try:
            text = (self.run.path / "nodes" / "sink-0" / "received").read_text()
        except OSError:
            return []
        return [int(line) for line in text.split()]

    def ledger(self) -> dict[str, EdgeCount]:
        return ledger.edge_counts(self.run.state)

    def counter(self, name: str) -> int:
        """Its total over all pages."""
        pages = (read_page(path) for path in self.run.state.glob("*.page"))
        return sum(page.counters.get(name, 0) for page in pages if page is not None)

    def log(self, name: str = "supervisor") -> str:
        return "".join(path.read_text() for path in self.run.logs.glob(f"{name}.log"))

    def events(self) -> list[dict[str, Any]]:
        """What the supervisor logged."""
        place = self.run.logs / "supervisor.jsonl"
        text = place.read_text() if place.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def worker_pids(self) -> dict[str, int]:
        """The pid of each worker's last start, from the log."""
        return {
            event["node"]: int(event["text"].rpartition(" ")[2])
            for event in self.events()
            if event["text"].startswith("started, pid")
        }

    def checkpoints(self) -> list[Path]:
        return sorted(self.run.checkpoints.glob("[0-9]*[0-9]/manifest.json"))

    def assert_no_process_left(self, seconds: float = 1.0) -> None:
        self.until(lambda: not self.home.processes(), f"no survivor of {self.home.processes()}", seconds)

    def assert_nothing_left(self, seconds: float = 1.0) -> None:
        """No process and no socket is left of it."""
        self.assert_no_process_left(seconds)
        place = RunDirectory(self.run.path).sockets  # asking makes the directory
        left = list(place.iterdir())
        place.rmdir() if not left else None
        assert not left
