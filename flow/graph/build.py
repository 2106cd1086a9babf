"""A graph built in Python, for notebooks, scripts and tests: the same as a file, and written out as one.

    graph = Graph(title="Play")
    actor = graph.add("actor", "nodes.env.atari:actor", replicas=2, game="pong", lanes=16)
    policy = graph.add("policy", policy_type, game="pong")
    graph.connect(actor.policy, policy.requests)
    graph.until(frames=100_000)
    result = graph.run(seed=1)

What it holds is what a file would say, so it is read, checked and run as a file is.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from flow import node_files
from flow.errors import GraphError, NodeTypeError
from flow.graph.bound import check_memory
from flow.graph.check import require_closed
from flow.graph.load import graph_of
from flow.graph.model import Graph as CheckedGraph
from flow.graph.problems import Problems, nearest
from flow.graph.registry import find_type
from flow.graph.source import Tables, read_source
from flow.graph.write import escaped_tables, write_tables
from flow.node_type import NodeType, Port

if TYPE_CHECKING:
    from flow.run_directory import RunDirectory


@dataclass(frozen=True)
class PortOf:
    """A port of a node that was added to a graph: what `connect` ties."""

    node: Node
    name: str
    port: Port | None = field(default=None, compare=False)

    def __str__(self) -> str:
        return f"{self.node.name}.{self.name}"


class Node:
    """A node that was added to a graph.

    Its ports are attributes, `actor.trajectories`; one that is called as something else here is `actor["name"]`.
    `actor[0]` is one replica, for `workers`.
    """

    def __init__(self, graph: Graph, name: str, what: str, ports: dict[str, Port | None]) -> None:
        self._graph = graph
        self._what = what
        self._ports = ports
        self.name = name

    def __getattr__(self, name: str) -> PortOf:
        if name.startswith("__"):  # asked for by copy, pickle and notebooks
            raise AttributeError(name)
        return self._port(name)

    def _port(self, name: str) -> PortOf:
        if name not in self._ports:
            raise AttributeError(f"node '{self.name}' ({self._what}) has no port '{name}'{nearest(name, self._ports)}")
        return PortOf(self, name, self._ports[name])

    def __dir__(self) -> list[str]:
        return ["name", *self._ports]

    @overload
    def __getitem__(self, replica: int) -> str: ...
    @overload
    def __getitem__(self, replica: str) -> PortOf: ...
    def __getitem__(self, replica: int | str) -> str | PortOf:
        return self._port(replica) if isinstance(replica, str) else f"{self.name}[{replica}]"

    def __repr__(self) -> str:
        ports = ", ".join(f"{name}: {port}" if port is not None else name for name, port in self._ports.items())
        return f"<node {self.name}, {self._what}: {ports}>"


@dataclass(frozen=True)
class Result:
    """How a run ended.

    outcome: "done", "stopped" or "failed". cause: the first cause of a failure, or what else ended it. metrics: totals
    of counters, last values of gauges, and means of the last 100 values of series, by name.
    """

    outcome: str
    cause: str
    directory: RunDirectory
    metrics: dict[str, float]


class Graph:
    """A graph being built. `check` gives the checked graph that it means, as `flow.graph.load_graph` does of a file."""

    def __init__(self, title: str = "", paper: str = "") -> None:
        self._top = {"title": title, "paper": paper}
        self._nodes: dict[str, Tables] = {}
        self._edges: dict[str, list[Tables]] = {}
        self._tables: dict[str, Tables] = {"workers": {}, "hosts": {}, "memory": {}, "until": {}, "report": {}}
        self._members: dict[str, Node] = {}

    def add(self, name: str, type: str | NodeType[Any], *, replicas: int = 1, **settings: Any) -> Node:  # noqa: A002
        """Add a node.

        Args:
          name: what it is called in this graph.
          type: a node type, or its name: "module:function", "file.py:function", or one that a package registers.
          replicas: how many of it there are.
          settings: of the node type.

        Raises:
          GraphError: there is a node of that name, or no such type.
          NodeTypeError: workers could not import the type.
        """
        if isinstance(type, str):
            try:
                found = find_type(type)
            except NodeTypeError as error:
                raise GraphError([f"{self._file}, nodes.{name}, \"run\": '{type}': {error}"]) from error
            run = found.name if ".py:" in type else type
        else:
            found, run = type, _importable(type)
        many = {} if replicas == 1 else {"replicas": replicas}
        given = {key: value for key, value in settings.items() if value is not None}
        return self._add(name, {"run": run, **many, **given}, found.name, dict(found.ports))

    def include(self, name: str, path: str | Path, *, profile: str | None = None, **params: Any) -> Node:
        """Add a graph file as one node, whose ports are those that the file leaves open in `[ports]`.

        Args:
          path: of the file, from where this program runs.
          profile: one of the file's.
          params: of the file.

        Raises:
          GraphError: there is a node of that name, or the file cannot be read.
        """
        file = Path(path).resolve()
        problems = Problems(str(path))
        source = read_source(file, problems)
        if source is None:
            raise GraphError(problems.found)
        chosen = {} if profile is None else {"profile": profile}
        ports: dict[str, Port | None] = dict.fromkeys(source.tables.get("ports", {}))
        return self._add(name, {"graph": str(file), **chosen, **params}, str(path), ports)

    def connect(
        self,
        sender: PortOf,
        *receivers: PortOf,
        mode: str | None = None,
        credit: int | None = None,
        credit_bytes: int | None = None,
        feedback: bool = False,
        compress: str | None = None,
    ) -> None:
        """Tie a sending port to receiving ones; what an edge of a file can say it can say too.

        Raises:
          GraphError: one of them is no port of this graph.
        """
        said = {"mode": mode, "credit": credit, "credit_bytes": credit_bytes, "feedback": feedback or None}
        said["compress"] = compress
        given = {key: value for key, value in said.items() if value is not None}
        for end in (sender, *receivers):
            if not isinstance(end, PortOf) or end.node is not self._members.get(end.node.name):
                text = f"expected a port of a node that was added here, as in actor.trajectories, found {end!r}"
                raise GraphError([f"{self._file}, edges: {text}"])
        for receiver in receivers:
            self._edges.setdefault(str(sender), []).append({"to": str(receiver), **given})

    def workers(self, **hosted: Sequence[Node | str]) -> None:
        """Say which nodes share a process: `workers(play=[actor[0], policy])`."""
        entries = {
            worker: [each.name if isinstance(each, Node) else each for each in those]
            for worker, those in hosted.items()
        }
        self._tables["workers"] |= entries

    def hosts(self, **listening: tuple[str, Sequence[str]] | str) -> None:
        """Say where it runs, by address and workers: `hosts(home="10.0.0.1:7000", rig=("10.0.0.2", ["model"]))`."""
        self._tables["hosts"] |= {
            name: {"listen": said} if isinstance(said, str) else {"listen": said[0], "workers": list(said[1])}
            for name, said in listening.items()
        }

    def memory(self, **limits: str) -> None:
        """Say how much memory a worker may take before it is started again: `memory(play="2 GiB")`."""
        self._tables["memory"] |= limits

    def until(self, **goals: float) -> None:
        """Say when a run is done: totals of counters, or `seconds`, `minutes`, `hours`."""
        self._tables["until"] |= goals

    def report(self, show: Sequence[str] = (), curve: str | None = None) -> None:
        """Say which metrics a run shows, and which series is its learning curve."""
        self._tables["report"] = {**({"show": list(show)} if show else {}), **({"curve": curve} if curve else {})}

    def check(self) -> CheckedGraph:
        """The checked graph.

        Raises:
          GraphError: something is wrong; it holds every problem.
        """
        return graph_of(Path(self._file), escaped_tables(self._raw()), Problems(self._file))

    def run(self, *, seed: int = 0, directory: str | Path = "runs") -> Result:
        """Run the graph to its end, as `flow run` does: Ctrl-C drains and ends it, a second one ends this process.

        Args:
          seed: of everything random.
          directory: where run directories are made.

        Raises:
          GraphError: the graph is wrong, or leaves ports open.
          RunError: it cannot start.
        """
        from flow.launch import run_graph  # late: it needs trio, zmq and the supervisor
        from flow.run_directory import RunDirectory

        graph = self.check()
        require_closed(graph)
        check_memory(graph)
        run = RunDirectory.create(Path(directory), graph.title or "graph")
        outcome = run_graph(graph, run, seed=seed, resumed=False)
        progress = outcome.progress
        metrics = {name: float(one.total) for name, one in progress.counters.items()}
        metrics |= {name: one.value for name, one in progress.gauges.items()}
        metrics |= {name: one.mean for name, one in progress.series.items() if one.mean is not None}
        return Result(outcome.how, outcome.cause, run, metrics)

    def to_toml(self) -> str:
        """The graph as the text of a file, which loads to an equal graph."""
        return write_tables(escaped_tables(self._raw()))

    def write(self, path: str | Path) -> None:
        """Write `to_toml` to a file, with the files that it names relative to that file's folder."""
        folder = Path(path).resolve().parent
        raw = self._raw()
        nodes = {
            name: {key: _relative(key, value, folder) for key, value in table.items()}
            for name, table in raw["nodes"].items()
        }
        Path(path).write_text(write_tables(escaped_tables({**raw, "nodes": nodes})), encoding="utf-8")

    @property
    def _file(self) -> str:
        return f"Graph({self._top['title']!r})"

    def _add(self, name: str, table: Tables, what: str, ports: dict[str, Port | None]) -> Node:
        if name in self._nodes:
            raise GraphError([f"{self._file}, nodes: there is a node '{name}' already; give each a name of its own"])
        self._nodes[name] = table
        self._members[name] = node = Node(self, name, what, ports)
        return node

    def _raw(self) -> Tables:
        """The tables of the file that this graph would be. There are no params, so braces are but braces."""
        edges = {sender: _short(receivers) for sender, receivers in self._edges.items()}
        tables = {"nodes": self._nodes, "edges": edges, **self._tables}
        top = {key: value for key, value in self._top.items() if value}
        return {**top, **{name: table for name, table in tables.items() if table or name in ("nodes", "edges")}}


def _relative(key: str, value: Any, folder: Path) -> Any:
    file, colon, function = value.rpartition(":") if key == "run" else (value, "", "")
    if key == "graph" or (key == "run" and node_files.is_file(file)):
        return os.path.relpath(file, folder) + colon + function
    return value


def _short(receivers: list[Tables]) -> Any:
    short = [table["to"] if len(table) == 1 else table for table in receivers]
    return short[0] if len(short) == 1 else short


def _importable(found: NodeType[Any]) -> str:
    """The name by which workers import a node type.

    Raises:
      NodeTypeError: they cannot.
    """
    module, _, function = found.name.rpartition(":")
    if module == "__main__":
        raise NodeTypeError(
            f"{function} is defined in the program that runs now, which workers cannot import; put it in a file of "
            f'its own and import it from there, or write "that_file.py:{function}"'
        )
    if "<locals>" in function:
        raise NodeTypeError(f"{found.name} is defined inside of a function; put it at the top of its module")
    if not node_files.is_file(module) and module not in sys.modules:
        raise NodeTypeError(f"{found.name} cannot be imported: there is no module '{module}'")
    return found.name
