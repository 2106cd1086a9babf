"""What `flow test` is asked to test: a node by its name, a node in a file, every node of a graph."""

from __future__ import annotations

import importlib.util
import sys
import tomllib
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flow.errors import MissingError, NodeTypeError
from flow.graph import load_graph
from flow.graph.problems import nearest
from flow.graph.registry import find_type, known_types, types_in
from flow.node_type import NodeType

_FILE = "flow_test_file_"


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
    path, _, function = name.rpartition(":")
    file = Path(path)
    if not file.is_file():
        raise MissingError(f"'{name}': there is no file {path}")
    module_name = f"{_FILE}{file.stem}_{zlib.crc32(str(file.resolve()).encode())}"
    module = sys.modules.get(module_name)
    if module is None:
        spec = importlib.util.spec_from_file_location(module_name, file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[module_name] = module  # before it runs: what it declares looks its own module up
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[module_name]
            raise MissingError(f"'{name}': reading {path} failed: {type(error).__name__}: {error}") from error
    found = getattr(module, function, None)
    if not isinstance(found, NodeType):
        raise MissingError(f"{path} has no node type '{function}'{nearest(function, types_in(module))}")
    return found


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
    try:
        profiles = tomllib.loads(Path(path).read_text(encoding="utf-8")).get("profiles", {})
    except (OSError, ValueError):
        return None
    return "tiny" if "tiny" in profiles else None


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
