"""What `flow test` is asked to test: a node by its name, a node in a file, every node of a graph."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flow.errors import MissingError, NodeTypeError
from flow.graph import load_graph
from flow.graph.problems import Problems, nearest
from flow.graph.registry import find_type, known_types
from flow.graph.source import read_source
from flow.node_type import NodeType


@dataclass(frozen=True)
class Target:
    """A node to test. name: as it was asked for. settings: those that a graph gives it."""

    name: str
    type: NodeType[Any]
    settings: Mapping[str, Any] = field(default_factory=dict)


def load_file(name: str) -> NodeType[Any]:
    """The node type called "path/to/file.py:function".

    Raises:
      MissingError: there is no such file or node in it.
    """
    try:
        return find_type(name)
    except NodeTypeError as error:
        raise MissingError(f"'{name}': {error}") from error


def targets(names: Sequence[str], *, profile: str | None = None, sets: Sequence[str] = ()) -> list[Target]:
    """The nodes that these names mean.

    Raises:
      MissingError: a name means nothing.
      GraphError: a graph is wrong.
    """
    found: list[Target] = []
    for name in names:
        if name.endswith(".toml"):
            found += _of_graph(name, profile, sets)
        elif ".py:" in name:
            found.append(Target(name, load_file(name)))
        else:
            found += _named(name)
    return found


def _of_graph(path: str, profile: str | None, sets: Sequence[str]) -> list[Target]:
    graph = load_graph(path, profile=profile or _tiny(path), sets=sets)
    return [Target(f"{path}, {node.name}", node.type, node.settings) for node in graph.nodes.values()]


def _tiny(path: str) -> str | None:
    """The profile for tests, where a graph has it; what is wrong with a file its loading says."""
    source = read_source(Path(path), Problems(path))
    return "tiny" if source is not None and "tiny" in source.tables.get("profiles", {}) else None


def _named(name: str) -> list[Target]:
    try:
        return [Target(name, find_type(name))]
    except NodeTypeError as error:
        if ":" in name:
            raise MissingError(f"'{name}': {error}") from error
    types, _ = known_types()
    found = [Target(full, each) for full, each in types.items() if full.rpartition(":")[2] == name]
    if not found:
        short = [full.rpartition(":")[2] for full in types]
        raise MissingError(f"there is no node type '{name}'{nearest(name, [*short, *types])}")
    return found
