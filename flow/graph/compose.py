"""One graph out of files: nodes and edges of each, graphs that a graph includes, and the copies of its sweeps.

    file ──► params ──► nodes, each once or a copy each ──► edges between them ──► open ports
                          │ graph = "agent.toml"                                      ▲
                          └──► the same for that file, under the node's name ─────────┘

Each file is read for itself, so that what is wrong in it is told in its own words; what it adds to the whole graph
already has the whole graph's names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flow.graph.edges import find_joint, read_edges
from flow.graph.members import Home, Joint, Member, Naming, Tie, Untied
from flow.graph.model import COPY, MAIN_WORKER, MODEL_WORKER, End, GraphNode, hosted_replicas
from flow.graph.params import NAME, Filler, Params, Unfilled, override
from flow.graph.problems import Problems, described, nearest
from flow.graph.read_nodes import read_node
from flow.graph.source import Source, Tables, beside, near_file, read_source, same_file
from flow.graph.sweep import Copy, Sweep, read_sweeps
from flow.graph.variants import FILLED, check_use, chosen_params, filled, filled_table, resolved_params, with_profile
from flow.graph.workers import Workers, check_names, merge_workers, read_workers

NODE_MAX = 100
"""Bytes of a node's name in the whole graph: it is in the names of files."""


@dataclass
class Reading:
    """The whole graph as its files add to it. homes: where each node is written."""

    nodes: dict[str, GraphNode] = field(default_factory=dict)
    homes: dict[str, Home] = field(default_factory=dict)
    ties: list[Tie] = field(default_factory=list)
    untied: list[Untied] = field(default_factory=list)


@dataclass
class Level:
    """What one file came to. tables: those of the whole graph, such as `until`, filled in. whole: it holds no node
    or port that is left out because something is wrong with it.
    """

    tables: Tables
    params: Params
    profile: str | None
    ports: dict[str, Joint]
    workers: Workers
    members: dict[str, Member]
    whole: bool


def read_level(
    source: Source,
    profile: str | None,
    change: Callable[[Params], Params],
    reading: Reading,
    naming: Naming,
    above: tuple[Path, ...],
    problems: Problems,
) -> Level:
    """Read one file into the whole graph.

    Args:
      change: what `--set`, or the graph that includes this one, makes of its params.
      above: the files that include this one.
    """
    params = chosen_params(source, profile, change, problems)
    check_use(source, params, problems)
    raw = with_profile(source, profile)
    if "resolved" in raw:
        profile, params = resolved_params(raw, problems)
    sweeps = read_sweeps(raw, params, problems)
    tables = {name: filled(name, raw[name], params, problems) for name in FILLED if name in raw}
    reader = _Nodes(source, reading, naming, (*above, source.path), problems, "resolved" in raw)
    for name, value in raw.get("nodes", {}).items():
        sweep = next((each for each in sweeps if name in each.nodes), None)
        reader.read(name, value, sweep.copies if sweep is not None else (Copy("", "", params),))
    members, broken = reader.members, raw.get("nodes", {}).keys() - reader.members.keys()
    ties = read_edges(tables.get("edges", {}), members, broken, problems)
    reading.ties += ties
    ports = _ports(tables.get("ports", {}), members, broken, {end for tie in ties for end in _ends(tie)}, problems)
    whole = not broken and not {"edges", "ports"} & problems.wrong_tables
    if "nodes" not in raw or not {"edges", "ports"} & raw.keys():
        missing = "edges" if "nodes" in raw else "nodes"
        problems.add("", "", f"there is no table [{missing}]; a graph has [nodes.NAME] and [edges]")
    elif whole:
        reading.untied += _untied(members, ties, ports, problems)
    own = read_workers(tables.get("workers", {}), members, broken, problems, resolved="resolved" in raw)
    replicas = {node: count for member in members.values() for node, count in _nodes_of(member).items()}
    workers = merge_workers(own, reader.workers, replicas)
    for sweep in sweeps:
        workers = _per_copy(sweep, workers, reader, replicas) if sweep.per_copy else workers
    check_names(workers, problems)
    return Level(tables, params, profile, ports, workers, members, whole)


@dataclass
class _Nodes:
    """Reads the nodes of one file.

    workers: those that come along with included graphs. copies: of which copy of its sweep a node is.
    """

    source: Source
    reading: Reading
    naming: Naming
    above: tuple[Path, ...]
    problems: Problems
    resolved: bool
    members: dict[str, Member] = field(default_factory=dict)
    workers: Workers = field(default_factory=dict)
    copies: dict[str, int] = field(default_factory=dict)

    def read(self, name: str, value: Any, copies: tuple[Copy, ...]) -> None:
        """Read a node, once for each copy."""
        table = f"nodes.{name}"
        if not (self.resolved or re.fullmatch(NAME, name)):
            text = "is no name of a node; use letters, digits and _, beginning with a letter"
            self.problems.add("nodes", name, text)
            return
        if not isinstance(value, dict):
            text = f'expected a table, found {described(value)}; write [{table}] with run = "…"'
            self.problems.add("nodes", name, text)
            return
        if "graph" in value and "run" in value:
            self.problems.add(table, "graph", 'it has run too; write graph = "…" for a graph, or run = "…" for a node')
            return
        found = [self._copy(name, table, value, copy) for copy in copies]
        good = [member for member in found if member is not None]
        if len(good) == len(found):
            self.copies |= {node: at for at, member in enumerate(good) for node in _nodes_of(member)}
            self.members[name] = _joined(good)

    def _copy(self, name: str, table: str, value: Tables, copy: Copy) -> Member | None:
        problems = self.problems.noting(f"in the copy {copy.label}") if copy.label else self.problems
        settings = filled_table(table, value, Filler(copy.params, problems))
        if "graph" in settings:
            return self._include(name, table, settings, copy, problems)
        full = self.naming.full(name, copy.label)
        if len(full.encode()) > NODE_MAX:
            problems.add("nodes", name, f"'{full}' is longer than {NODE_MAX} bytes; give it a shorter name")
            return None
        node = read_node(full, table, settings, lambda key: self.source.folder_of(f"{table}.{key}"), problems)
        if node is None:
            return None
        self.reading.nodes[full] = node
        written = {key: text[1:-1] for key, text in value.items() if re.fullmatch(r"\{\w+\}", str(text))}
        self.reading.homes[full] = Home(problems, table, params=written, around=self.naming.around)
        joints = {
            port.name: Joint(port, ((copy.sweep, copy.label, End(full, port.name)),))
            for port in node.type.ports.values()
        }
        return Member(name, node.type.name, joints, frozenset(node.type.settings), {name: {full: node.replicas}})

    def _include(self, name: str, table: str, settings: Tables, copy: Copy, problems: Problems) -> Member | None:
        graph, profile = settings.pop("graph"), settings.pop("profile", None)
        for key, value in (("graph", graph), ("profile", profile)):
            if not isinstance(value, str) and (key == "graph" or value is not None):
                problems.add(table, key, f"expected a text, found {described(value)}")
                return None
        at = Path(self.source.folder_of(f"{table}.graph"))
        path = beside(at / "_", graph)
        inside = problems.within(str(path), f"included as nodes.{name} of {problems.file_of(f'{table}.graph')}")
        source = self._source(path, graph, table, inside)
        if source is None:
            return None
        profiles = source.tables.get("profiles", {})
        if profile is not None and profile not in profiles:
            text = f"there is no profile '{profile}' in {path}{nearest(profile, profiles)}"
            problems.add(table, "profile", text)
            return None
        given = {key: value for key, value in settings.items() if not isinstance(value, Unfilled)}

        def change(params: Params) -> Params:
            return override(params, given, table, problems, f"[params] of {path}")

        naming = self.naming.within(name, copy.label, self.problems.file)
        level = read_level(source, profile, change, self.reading, naming, self.above, inside)
        _refuse_unused(level, naming.prefix, self.above[0], inside)
        if not level.whole:
            return None
        for worker, entries in level.workers.items():
            known = self.workers.get(f"{name}.{worker}", ())
            self.workers[f"{name}.{worker}"] = (*known, *entries)
        joints = {
            port: Joint(joint.port, tuple((copy.sweep, copy.label, end) for _, _, end in joint.ends), joint.tied)
            for port, joint in level.ports.items()
        }
        places = {f"{name}.{place}": nodes for each in level.members.values() for place, nodes in each.places.items()}
        all_nodes = {node: count for each in level.members.values() for node, count in _nodes_of(each).items()}
        return Member(name, str(path), joints, frozenset(), {name: all_nodes, **places}, str(path))

    def _source(self, path: Path, graph: str, table: str, inside: Problems) -> Source | None:
        circle = next((at for at, each in enumerate(self.above) if same_file(each, path)), None)
        if circle is not None:
            way = ", which includes ".join(f"'{each}'" for each in (*self.above[circle:], path))
            self.problems.add(table, "graph", f"a graph cannot be inside of itself: {way}")
            return None
        if not path.is_file():
            self.problems.add(table, "graph", f"there is no file '{path}'{near_file(path)}")
            return None
        return read_source(path, inside)


def _refuse_unused(level: Level, prefix: str, outermost: Path, problems: Problems) -> None:
    """Note what an included graph says of the whole's workers and hosts, which the outermost file alone can say."""
    for worker in level.tables.get("memory", {}):
        name = f"{prefix}.{worker}" if worker in level.workers else worker
        text = f"memory of an included graph is not used; say it for {name} in [memory] of {outermost}"
        problems.add("memory", worker, text)
    if level.tables.get("hosts"):
        problems.add("hosts", "", f"hosts of an included graph are not used; name them in [hosts] of {outermost}")


def _joined(copies: list[Member]) -> Member:
    """The copies of a node as the one node that the file writes."""
    first = copies[0]
    for other in copies[1:]:
        for name, joint in other.joints.items():
            joined = first.joints[name]
            first.joints[name] = Joint(joined.port, joined.ends + joint.ends, joined.tied and joint.tied)
        for place, nodes in other.places.items():
            first.places[place] |= nodes
    return first


def _nodes_of(member: Member) -> dict[str, int]:
    return member.places[member.name]


def _ends(tie: Tie) -> tuple[End, End]:
    return tie.edge.sender, tie.edge.receiver


def _ports(
    raw: Tables, members: dict[str, Member], broken: Any, tied: set[End], problems: Problems
) -> dict[str, Joint]:
    """The `[ports]` table: what this graph leaves open, by the name it has outside."""
    ports: dict[str, Joint] = {}
    for name, value in raw.items():
        texts = value if isinstance(value, list) else [value]
        if not re.fullmatch(NAME, name):
            problems.add("ports", name, "is no name of a port; use letters, digits and _, beginning with a letter")
            continue
        if not texts or any(type(text) is not str for text in texts):
            problems.add("ports", name, f'expected a port, as in "policy.requests", found {described(value)}')
            continue
        found = [find_joint("ports", name, text, "", members, broken, problems) for text in texts]
        joints = [joint for joint in found if joint is not None]
        if len(joints) == len(texts) and len({joint.port.kind for joint in joints}) == 1:
            ends = tuple(end for joint in joints for end in joint.ends)
            inside = all(joint.tied or all(end in tied for _, _, end in joint.ends) for joint in joints)
            ports[name] = Joint(joints[0].port, ends, inside)
        elif len(joints) == len(texts):
            kinds = ", ".join(f"{text} is {joint.port}" for text, joint in zip(texts, joints, strict=True))
            problems.add("ports", name, f"one port cannot stand for ports of several kinds: {kinds}")
    return ports


def _untied(
    members: dict[str, Member], ties: list[Tie], ports: dict[str, Joint], problems: Problems
) -> Iterator[Untied]:
    """Ports that have no edge and are not left open."""
    done = {end for tie in ties for end in _ends(tie)} | {end for joint in ports.values() for _, _, end in joint.ends}
    level = {
        f"{member.name}.{name}": joint.ends[0][2]
        for member in members.values()
        for name, joint in member.joints.items()
    }
    for member in members.values():
        for name, joint in member.joints.items():
            end = joint.ends[0][2]
            if not joint.tied and end not in done:
                yield Untied(end, f"{member.name}.{name}", joint.port, problems, level)


def _per_copy(sweep: Sweep, workers: Workers, reader: _Nodes, replicas: dict[str, int]) -> Workers:
    """Workers in which each copy's nodes have left for one of their own, numbered in the order of the copies."""
    swept = [node for name in sweep.nodes if name in reader.members for node in _nodes_of(reader.members[name])]
    kept: dict[str, list[str]] = {}
    home: dict[tuple[str, int], str] = {}
    for worker, entries in workers.items():
        for entry in entries:
            hosted = hosted_replicas(entry, replicas)
            if hosted[0][0] in swept:
                home |= dict.fromkeys(hosted, worker)
            else:
                kept.setdefault(worker, []).append(entry)
    for node in swept:
        default = MODEL_WORKER if "torch" in reader.reading.nodes[node].type.needs else MAIN_WORKER
        for replica in range(replicas[node]):
            worker = f"{home.get((node, replica), default)}{COPY}{reader.copies[node]}"
            kept.setdefault(worker, []).append(node if replicas[node] == 1 else f"{node}[{replica}]")
    return {worker: tuple(entries) for worker, entries in kept.items()}
