"""A `[nodes.NAME]` table with `run`: its node type, its replicas and its settings."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from flow.errors import NodeTypeError, SettingError
from flow.graph.model import GraphNode
from flow.graph.params import Unfilled
from flow.graph.problems import Problems, described
from flow.graph.registry import find_type
from flow.node_type import NodeType
from flow.setting import GRAPH_KEYS, Setting


def read_node(
    name: str, table: str, value: dict[str, Any], folder_of: Callable[[str], Path], problems: Problems
) -> GraphNode | None:
    """A node, None where its type is not known.

    Args:
      name: in the whole graph.
      table: its place in the file.
      folder_of: what a path that a key of the table says is relative to.
    """
    found = _type(table, value, folder_of("run"), problems)
    if found is None:
        return None
    replicas = _replicas(table, value.get("replicas", 1), problems)
    return GraphNode(name, found, replicas, _settings(table, found, value, folder_of, problems))


def _type(table: str, value: dict[str, Any], folder: Path, problems: Problems) -> NodeType[Any] | None:
    run = value.get("run")
    if not isinstance(run, str):
        found = f", found {described(run)}" if "run" in value else "; it is not there"
        hint = f"; did you mean run = {described(value[near])}?" if (near := _near_run(value)) else ""
        problems.add(table, "run", f'expected "module:function", the node type{found}{hint}')
        return None
    try:
        return find_type(run, folder)
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


def _settings(
    table: str, found: NodeType[Any], value: dict[str, Any], folder_of: Callable[[str], Path], problems: Problems
) -> dict[str, Any]:
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
                settings[name] = setting.accept(value[name], folder_of(name))
            except SettingError as error:
                problems.add(table, name, f"{error}{_doc(setting)}")
        elif setting.required:
            problems.add(table, name, f"{found.name} needs it: {setting}{_doc(setting)}; add {name} = …")
        else:
            settings[name] = setting.accept(setting.default)
    return settings


def _doc(setting: Setting) -> str:
    return f" ({setting.doc.rstrip('.')})" if setting.doc else ""
