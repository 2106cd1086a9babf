"""Who imports whom: the table of ARCHITECTURE.md, held to every import in the tree."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Modules of nodes that every family may import: what families say to each other.
SHARED = (
    "nodes.messages",
    "nodes.experience",
    "nodes.recognition",
    "nodes.fields",
    "nodes.shards",
    "nodes.atari_games",
    "nodes.games",
    "nodes.algo",
    "nodes.nets",
)
PURE = ("nodes.algo", "nodes.nets")
# Only these touch flow: its errors and its name for an array. No ports, no loop.
PURE_MAY = ("flow.errors",)


def modules(package: str) -> Iterator[tuple[str, Path]]:
    for path in sorted((ROOT / package).rglob("*.py")):
        parts = path.relative_to(ROOT).with_suffix("").parts
        yield ".".join(parts[:-1] if parts[-1] == "__init__" else parts), path


def imported(path: Path, *, at_import: bool = False) -> set[str]:
    """Full names that a file imports; with at_import only what runs when it is imported."""
    names: set[str] = set()

    def walk(node: ast.AST) -> None:
        if at_import and isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            return
        if at_import and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for child in node.orelse:
                walk(child)
            return
        if isinstance(node, ast.Import):
            names.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: import by full name"
            names.update(f"{node.module}.{alias.name}" for alias in node.names)
        for child in ast.iter_child_nodes(node):
            walk(child)

    walk(ast.parse(path.read_text()))
    return names


def within(name: str, packages: tuple[str, ...]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


def violations(found: Iterator[tuple[str, str]]) -> None:
    assert [f"{module} imports {name}" for module, name in found] == []


def test_the_runtime_knows_no_node_no_store_and_no_model():
    violations(
        (module, name)
        for module, path in modules("flow")
        for name in imported(path, at_import=True)
        if within(name, ("nodes", "storage", "torch", "tests", "tools"))
    )


def test_only_what_is_for_tests_imports_test_libraries():
    violations(
        (module, name)
        for module, path in modules("flow")
        if not within(module, ("flow.testing",))
        # `flow test` is the command of flow.testing, and loads it when it runs
        for name in imported(path, at_import=module == "flow.cli.test")
        if within(name, ("hypothesis", "pytest", "flow.testing"))
    )


def test_storage_knows_messages_and_bytes_alone():
    violations(
        (module, name)
        for module, path in modules("storage")
        for name in imported(path)
        if within(name, ("nodes", "tests", "tools", "trio", "zmq"))
        or (
            within(name, ("flow",))
            and not within(name, ("flow.message", "flow.wire", "flow.wire_layout", "flow.errors", "flow.disk"))
        )
    )


def test_families_of_nodes_meet_in_a_graph_only():
    violations(
        (module, name)
        for module, path in modules("nodes")
        # What tests give to nodes is made of what families say, as a graph is.
        if not within(module, ("nodes.given",))
        for name in imported(path)
        if within(name, ("nodes",)) and not within(name, (*SHARED, ".".join(module.split(".")[:2])))
    )


def test_mathematics_and_networks_know_no_ports():
    violations(
        (module, name)
        for module, path in modules("nodes")
        if within(module, PURE)
        for name in imported(path)
        if within(name, ("trio", "zmq", "lmdb", "storage"))
        or (within(name, ("flow",)) and not within(name, PURE_MAY) and name not in ("flow.Array", "flow.message.Array"))
    )


def test_what_ships_imports_no_tests_and_no_tools():
    violations(
        (module, name)
        for package in ("flow", "nodes", "storage")
        for module, path in modules(package)
        for name in imported(path)
        if within(name, ("tests", "tools"))
    )


@pytest.mark.real_time
@pytest.mark.parametrize("module", ["flow", "flow.supervisor", "flow.worker", "storage.replay", "storage.dataset"])
def test_importing_the_runtime_loads_no_model_library(module):
    code = f"import sys, {module}; print(*sorted({{name.partition('.')[0] for name in sys.modules}}))"
    loaded = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert not {"torch", "nodes", "hypothesis", "pytest", "matplotlib"} & set(loaded.stdout.split())
