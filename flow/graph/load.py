"""Read a graph file: every mistake in it told at once.

    file ──► tables ──► profile and --set ──► params filled in ──► nodes, edges, workers ──► checks ──► Graph

The steps go on after a mistake as far as they can, so that one reading tells all; what rests on something wrong is
left out rather than told as a second mistake.
"""

from __future__ import annotations

import difflib
import re
import tomllib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from flow import generic
from flow.errors import GraphError, NodeTypeError, SettingError
from flow.graph import check
from flow.graph.edges import read_edges
from flow.graph.model import Edge, Graph, GraphNode, Report, hosted_replicas
from flow.graph.params import NAME, Filler, Params, Unfilled, names_in, override, override_by_sets, read_params
from flow.graph.problems import Problems, described, expected
from flow.graph.registry import find_type
from flow.node_type import NodeType
from flow.setting import GRAPH_KEYS, Setting

TABLES: dict[str, type] = {
    "title": str,
    "paper": str,
    "params": dict,
    "nodes": dict,
    "edges": dict,
    "workers": dict,
    "until": dict,
    "report": dict,
    "profiles": dict,
    "resolved": dict,
}
PROFILE_TABLES = ("params", "nodes", "workers", "until")
_FILLED = ("title", "paper", "nodes", "edges", "workers", "until", "report")


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
    raw = _tables(_parse(Path(path), problems), problems)
    params = _params(raw, profile, sets, problems)
    _check_use(raw, params, problems)
    raw = _with_profile(raw, profile)
    if "resolved" in raw:
        profile, params = _resolved(raw, sets, problems)
    filled = {name: _filled(name, raw[name], params, problems) for name in _FILLED if name in raw}
    nodes, broken = _nodes(filled.get("nodes", {}), problems)
    edges = read_edges(filled.get("edges", {}), nodes, broken, problems)
    nodes = _bound(nodes, edges, problems)
    for table in ("nodes", "edges"):
        if table not in raw:
            problems.add("", "", f"there is no table [{table}]; a graph has [nodes.NAME] and [edges]")
    graph = Graph(
        path=Path(path),
        title=filled.get("title", ""),
        paper=filled.get("paper", ""),
        params=params,
        profile=profile,
        nodes=nodes,
        edges=edges,
        workers=_workers(filled.get("workers", {}), nodes, broken, problems),
        until=_until(filled.get("until", {}), problems),
        report=_report(filled.get("report", {}), problems),
    )
    # Who is tied to what is not known where the table is missing, or where a node's ports are not known.
    check.check_graph(graph, problems, tied="edges" in raw and not broken, packages=packages)
    problems.raise_if_any()
    return graph


def _parse(path: Path, problems: Problems) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        problems.add("", "", f"is not valid TOML: {error}{_toml_hint(str(error))}")
    except UnicodeDecodeError as error:
        problems.add("", "", f"is not UTF-8 text: {error}")
    except OSError as error:
        near = difflib.get_close_matches(path.name, [each.name for each in path.parent.glob("*.toml")], n=1)
        hint = f"; did you mean '{path.parent / near[0]}'?" if near else ""
        problems.add("", "", f"cannot be read: {error.strerror or error}{hint}")
    raise GraphError(problems.found)


def _toml_hint(text: str) -> str:
    if "overwrite" in text:
        return '; a key stands twice: an edge to several receivers is a list, "a.out" = ["b.in", "c.in"]'
    return ""


def _tables(raw: dict[str, Any], problems: Problems) -> dict[str, Any]:
    """The file's tables, each of the right type; what is unknown or of another type is told and left out."""
    good = {}
    for name, value in raw.items():
        kind = TABLES.get(name)
        if kind is None:
            problems.unknown("", name, f"there is no table or key '{name}' in a graph", name, TABLES)
        elif type(value) is not kind:
            problems.add("", name, f"expected {expected(kind)}, found {described(value)}")
        else:
            good[name] = value
    return good


def _params(raw: dict[str, Any], profile: str | None, sets: Sequence[str], problems: Problems) -> Params:
    """The params' values; every profile is held to them, also those not asked for."""
    base = read_params(raw.get("params", {}), problems)
    profiles = raw.get("profiles", {})
    chosen = dict(base)
    for name, changes in list(profiles.items()):
        if not _check_profile(name, changes, raw, problems):
            del profiles[name]
            continue
        changed = override(base, changes.get("params", {}), f"profiles.{name}.params", problems)
        chosen = changed if name == profile else chosen
    if profile is not None and profile not in profiles:
        problems.unknown("profiles", profile, f"there is no profile '{profile}'", profile, profiles)
    return override_by_sets(chosen, () if "resolved" in raw else sets, problems)


def _check_profile(name: str, changes: Any, raw: dict[str, Any], problems: Problems) -> bool:
    table = f"profiles.{name}"
    if not isinstance(changes, dict):
        problems.add("profiles", name, f"expected a table, found {described(changes)}; write [{table}.params]")
        return False
    before = len(problems.found)
    for key, value in changes.items():
        if key not in PROFILE_TABLES:
            problems.unknown(table, key, f"a profile has no '{key}'", key, PROFILE_TABLES)
        elif not isinstance(value, dict):
            problems.add(table, key, f"expected a table, found {described(value)}")
    nodes = changes.get("nodes", {})
    for node, value in nodes.items() if isinstance(nodes, dict) else ():
        if node not in raw.get("nodes", {}):
            problems.unknown(f"{table}.nodes", node, f"there is no node '{node}'", node, raw.get("nodes", {}))
        elif not isinstance(value, dict):
            problems.add(f"{table}.nodes", node, f"expected a table, found {described(value)}")
    return len(problems.found) == before


def _check_use(raw: dict[str, Any], params: Params, problems: Problems) -> None:
    """A param that nothing asks for does nothing, so it is a mistake."""
    used = names_in({name: value for name, value in raw.items() if name not in ("params", "resolved")})
    for name in params:
        if name not in used and re.fullmatch(NAME, name):
            problems.add("params", name, f'is used nowhere; write "{{{name}}}" where its value belongs, or remove it')


def _with_profile(raw: dict[str, Any], profile: str | None) -> dict[str, Any]:
    """The tables with the profile's merged in. `until` and each node merge by key; `workers` is replaced whole."""
    changes = raw.get("profiles", {}).get(profile, {})
    merged = dict(raw)
    if "until" in changes:
        merged["until"] = {**raw.get("until", {}), **changes["until"]}
    if "workers" in changes:
        merged["workers"] = changes["workers"]
    if "nodes" in changes and "nodes" in raw:
        merged["nodes"] = dict(raw["nodes"])
        for name, settings in changes["nodes"].items():
            if isinstance(raw["nodes"].get(name), dict):
                merged["nodes"][name] = {**raw["nodes"][name], **settings}
    return merged


def _resolved(raw: dict[str, Any], sets: Sequence[str], problems: Problems) -> tuple[str | None, Params]:
    """What a file that `write_graph` made says of where it came from."""
    if sets:
        problems.add("--set", sets[0], "this file is resolved, its params are filled in; set them in the original")
    table = raw["resolved"]
    _known_keys("resolved", table, ("profile", "params"), problems)
    profile, params = table.get("profile"), table.get("params", {})
    if not isinstance(profile, (str, type(None))) or not isinstance(params, dict):
        problems.add("resolved", "", "expected profile, a text, and params, a table")
        return None, {}
    return profile, params


def _filled(name: str, value: Any, params: Params, problems: Problems) -> Any:
    filler = Filler(params, problems)
    if not isinstance(value, dict):
        return str(filler.fill(value, "", name))
    if name == "nodes":
        return {node: _filled_table(f"nodes.{node}", settings, filler) for node, settings in value.items()}
    return _filled_table(name, value, filler)


def _filled_table(table: str, value: Any, filler: Filler) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: filler.fill(item, table, key) for key, item in value.items()}


def _nodes(raw: dict[str, Any], problems: Problems) -> tuple[dict[str, GraphNode], set[str]]:
    """The nodes, and the names of those whose type could not be found."""
    nodes: dict[str, GraphNode] = {}
    for name, value in raw.items():
        table = f"nodes.{name}"
        if not re.fullmatch(NAME, name):
            problems.add("nodes", name, "is no name of a node; use letters, digits and _, beginning with a letter")
        elif not isinstance(value, dict):
            problems.add("nodes", name, f'expected a table, found {described(value)}; write [{table}] with run = "…"')
        elif (found := _type(table, value, problems)) is not None:
            replicas = _replicas(table, value.get("replicas", 1), problems)
            nodes[name] = GraphNode(name, found, replicas, _settings(table, found, value, problems))
    return nodes, raw.keys() - nodes.keys()


def _bound(nodes: dict[str, GraphNode], edges: Sequence[Edge], problems: Problems) -> dict[str, GraphNode]:
    """The nodes with the type variables of their ports replaced by what the edges tie them to."""
    solution = generic.solve(
        {name: node.type for name, node in nodes.items()},
        {name: node.settings for name, node in nodes.items()},
        [((e.sender.node, e.sender.port), (e.receiver.node, e.receiver.port)) for e in edges],
    )
    for name, text in solution.problems.items():
        problems.add(f"nodes.{name}", "", text)
    return {name: replace(node, type=solution.types[name]) for name, node in nodes.items()}


def _type(table: str, value: dict[str, Any], problems: Problems) -> NodeType[Any] | None:
    run = value.get("run")
    if not isinstance(run, str):
        found = f", found {described(run)}" if "run" in value else "; it is not there"
        hint = f"; did you mean run = {described(value[near])}?" if (near := _near_run(value)) else ""
        problems.add(table, "run", f'expected "module:function", the node type{found}{hint}')
        return None
    try:
        return find_type(run)
    except NodeTypeError as error:
        problems.add(table, "run", f"'{run}': {error}")
        return None


def _near_run(value: dict[str, Any]) -> str:
    """A key that may be a misspelt `run`."""
    return next((key for key, text in value.items() if key != "run" and isinstance(text, str) and ":" in text), "")


def _replicas(table: str, value: Any, problems: Problems) -> int:
    if isinstance(value, Unfilled):
        return 1
    if type(value) is not int or not 1 <= value <= 10_000:
        problems.add(table, "replicas", f"expected a whole number from 1 to 10000, found {described(value)}")
        return 1
    return value


def _settings(table: str, found: NodeType[Any], value: dict[str, Any], problems: Problems) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for key in value:
        if key not in found.settings and key not in GRAPH_KEYS:
            known = [*found.settings, *GRAPH_KEYS]
            port = f"; '{key}' is a port, ports are tied in [edges]" if key in found.ports else ""
            text = f"{found.name} has no setting '{key}'"
            problems.add(table, key, text + port) if port else problems.unknown(table, key, text, key, known)
    for name, setting in found.settings.items():
        if isinstance(value.get(name), Unfilled):
            continue
        if name in value:
            try:
                settings[name] = setting.accept(value[name])
            except SettingError as error:
                problems.add(table, name, f"{error}{_doc(setting)}")
        elif setting.required:
            problems.add(table, name, f"{found.name} needs it: {setting}{_doc(setting)}; add {name} = …")
        else:
            settings[name] = setting.accept(setting.default)
    return settings


def _doc(setting: Setting) -> str:
    return f" ({setting.doc.rstrip('.')})" if setting.doc else ""


def _workers(
    raw: dict[str, Any], nodes: dict[str, GraphNode], broken: set[str], problems: Problems
) -> dict[str, tuple[str, ...]]:
    workers: dict[str, tuple[str, ...]] = {}
    owner: dict[tuple[str, int], str] = {}
    replicas = {node.name: node.replicas for node in nodes.values()}
    for worker, entries in raw.items():
        if not re.fullmatch(NAME, worker):
            problems.add("workers", worker, "is no name of a worker; use letters, digits and _")
        elif not isinstance(entries, list) or not entries or any(type(entry) is not str for entry in entries):
            problems.add("workers", worker, f'expected a list of nodes, as in ["actor"], found {described(entries)}')
        else:
            good = [entry for entry in entries if entry.partition("[")[0] not in broken]
            for entry in good:
                _host(worker, entry, replicas, owner, problems)
            workers[worker] = tuple(entries)
    return workers


def _host(
    worker: str, entry: str, replicas: dict[str, int], owner: dict[tuple[str, int], str], problems: Problems
) -> None:
    try:
        hosted = hosted_replicas(entry, replicas)
    except ValueError:
        problems.add("workers", worker, f'\'{entry}\' is no node; write "actor", or "actor[0]" for one replica')
        return
    except KeyError as error:
        name = str(error.args[0])
        problems.unknown("workers", worker, f"there is no node '{name}'", name, replicas)
        return
    except IndexError:
        name = entry.partition("[")[0]
        problems.add("workers", worker, f"there is no replica {entry}: {name} has {replicas[name]}, counted from 0")
        return
    for one in hosted:
        if one in owner:
            shown = one[0] if replicas[one[0]] == 1 else f"{one[0]}[{one[1]}]"
            twice = "twice in it" if owner[one] == worker else f"in worker '{owner[one]}' too"
            problems.add("workers", worker, f"'{shown}' is {twice}; a replica lives in one worker")
            return
        owner[one] = worker


def _until(raw: dict[str, Any], problems: Problems) -> dict[str, float]:
    for name, value in raw.items():
        if isinstance(value, Unfilled):
            continue
        if type(value) not in (int, float) or not 0 < value < float("inf"):
            problems.add("until", name, f"expected a number above 0, found {described(value)}")
    return {name: float(value) for name, value in raw.items() if type(value) in (int, float)}


def _known_keys(table: str, raw: dict[str, Any], known: Sequence[str], problems: Problems) -> None:
    for key in raw:
        if key not in known:
            problems.unknown(table, key, f"there is no key '{key}'", key, known)


def _report(raw: dict[str, Any], problems: Problems) -> Report:
    _known_keys("report", raw, ("show", "curve"), problems)
    show, curve = raw.get("show", []), raw.get("curve")
    if not isinstance(show, list) or any(type(name) is not str for name in show):
        problems.add("report", "show", f'expected a list of metrics, as in ["frames"], found {described(show)}')
        show = []
    if not isinstance(curve, (str, type(None))):
        problems.add("report", "curve", f"expected the name of a series, found {described(curve)}")
        curve = None
    return Report(tuple(show), curve)
