"""Read a graph file: every mistake in it told at once.

    file ──► what it extends ──► profile and --set ──► nodes, included graphs, copies ──► edges ──► checks ──► Graph

The steps go on after a mistake as far as they can, so that one reading tells all; what rests on something wrong is
left out rather than told as a second mistake.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flow import generic
from flow.errors import GraphError
from flow.graph import check
from flow.graph.compose import Level, Reading, read_level
from flow.graph.hosts import check_hosts, read_hosts
from flow.graph.members import Naming
from flow.graph.memory import check_memory_limits, read_memory
from flow.graph.model import End, Graph, Report
from flow.graph.params import Params, Unfilled, override_by_sets
from flow.graph.problems import Problems, described
from flow.graph.source import Source, Tables, parse, resolve
from flow.graph.variants import known_keys


def load_graph(
    path: str | Path, *, profile: str | None = None, sets: Sequence[str] = (), packages: bool = True
) -> Graph:
    """Read and check a graph file.

    Args:
      profile: which of the file's profiles to apply.
      sets: changes of params, each "key=value"; they win over the profile.
      packages: whether what the nodes need must be installed here.

    Raises:
      GraphError: the file is wrong; it holds every problem.
    """
    problems = Problems(str(path))
    tables = parse(Path(path), problems)
    if tables is None:
        raise GraphError(problems.found)
    return graph_of(Path(path), tables, problems, profile=profile, sets=sets, packages=packages)


def graph_of(
    path: Path,
    tables: Tables,
    problems: Problems,
    *,
    profile: str | None = None,
    sets: Sequence[str] = (),
    packages: bool = True,
) -> Graph:
    """The checked graph that tables mean, wherever they come from.

    Args:
      path: the file that they stand in, or would stand in: what other files are relative to.

    Raises:
      GraphError: they are wrong.
    """
    source = resolve(path, tables, problems)
    if source is None:
        raise GraphError(problems.found)
    problems.files = source.files
    reading = Reading()
    level = read_level(source, profile, _changes(source, profile, sets, problems), reading, Naming(), (), problems)
    graph = _bound(_graph(path, level, reading, problems), reading)
    check.check_graph(graph, reading, problems, packages=packages)
    check_hosts(graph, level.tables, reading, problems)
    check_memory_limits(graph, level.tables, problems)
    problems.raise_if_any()
    return graph


def _changes(source: Source, profile: str | None, sets: Sequence[str], problems: Problems) -> Any:
    """What `--profile` and `--set` make of params, having said what is wrong with them."""

    def change(params: Params) -> Params:
        if profile is not None and profile not in source.tables.get("profiles", {}):
            known = source.tables.get("profiles", {})
            problems.unknown("profiles", profile, f"there is no profile '{profile}'", profile, known)
        if "resolved" in source.tables:
            if sets:
                text = "this file is resolved, its params are filled in; set them in the original"
                problems.add("--set", sets[0], text)
            return params
        return override_by_sets(params, sets, problems)

    return change


def _graph(path: Path, level: Level, reading: Reading, problems: Problems) -> Graph:
    tables = level.tables
    # Those of one sender side by side, as a file writes them.
    place: dict[End, int] = {}
    for tie in reading.ties:
        place.setdefault(tie.edge.sender, len(place))
    return Graph(
        path=path,
        title=tables.get("title", ""),
        paper=tables.get("paper", ""),
        params=level.params,
        profile=level.profile,
        nodes=reading.nodes,
        edges=tuple(sorted((tie.edge for tie in reading.ties), key=lambda edge: place[edge.sender])),
        workers=level.workers,
        hosts=read_hosts(tables.get("hosts", {}), problems),
        memory=read_memory(tables.get("memory", {}), problems),
        until=_until(tables.get("until", {}), problems),
        report=_report(tables.get("report", {}), problems),
        ports={name: tuple(end for _, _, end in joint.ends) for name, joint in level.ports.items()},
    )


def _bound(graph: Graph, reading: Reading) -> Graph:
    """The graph with the type variables of its ports replaced by what the edges tie them to."""
    solution = generic.solve(
        {name: node.type for name, node in graph.nodes.items()},
        {name: node.settings for name, node in graph.nodes.items()},
        [((e.sender.node, e.sender.port), (e.receiver.node, e.receiver.port)) for e in graph.edges],
        whole=not graph.ports,
    )
    for name, text in solution.problems.items():
        home = reading.homes[name]
        home.problems.add(home.table, "", text)
    nodes = {name: replace(node, type=solution.types[name]) for name, node in graph.nodes.items()}
    return replace(graph, nodes=nodes)


def _until(raw: dict[str, Any], problems: Problems) -> dict[str, float]:
    for name, value in raw.items():
        if isinstance(value, Unfilled):
            continue
        if type(value) not in (int, float) or not 0 < value < float("inf"):
            problems.add("until", name, f"expected a number above 0, found {described(value)}")
    return {name: float(value) for name, value in raw.items() if type(value) in (int, float)}


def _report(raw: dict[str, Any], problems: Problems) -> Report:
    known_keys("report", raw, ("show", "curve"), problems)
    show, curve = raw.get("show", []), raw.get("curve")
    if not isinstance(show, list) or any(type(name) is not str for name in show):
        problems.add("report", "show", f'expected a list of metrics, as in ["frames"], found {described(show)}')
        show = []
    if not isinstance(curve, (str, type(None))):
        problems.add("report", "curve", f"expected the name of a series, found {described(curve)}")
        curve = None
    return Report(tuple(show), curve)
