"""Node types by the names that graph files use, and the nearest one to a name that is wrong."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import inspect
import pkgutil
from pathlib import Path
from typing import Any

from flow import node_files
from flow.errors import NodeTypeError
from flow.graph.problems import nearest
from flow.graph.source import near_file
from flow.node_type import NodeType

ENTRY_POINTS = "flow.nodes"
# Which extra of flow-research brings a package; what is not here is installed by its own name.
EXTRAS = {
    "torch": "torch",
    "ale_py": "atari",
    "gymnasium": "gymnasium",
    "sklearn": "digits",
    "av": "video",
    "cv2": "video",
    "pettingzoo": "pettingzoo",
    "PIL": "image",
    "tensorboardX": "report",
    "matplotlib": "report",
}


def find_type(name: str, folder: Path = Path()) -> NodeType[Any]:
    """The node type called "module:function" or "file.py:function", or by a name that an installed package registers.

    Args:
      folder: what the path of a file is relative to.

    Raises:
      NodeTypeError: there is none; the text begins after the name, and offers the nearest.
    """
    module_name, colon, function = name.rpartition(":")
    if not colon:
        return _registered(name)
    if not module_name or not function:
        raise NodeTypeError('is no name of a node type; write "module:function", as in "nodes.env.atari:actor"')
    if node_files.is_file(module_name):
        module_name = str(folder / module_name)
        if not Path(module_name).is_file():
            raise NodeTypeError(f"there is no file '{module_name}'{near_file(Path(module_name))}")
    module = _module(module_name)
    found = getattr(module, function, None)
    if isinstance(found, NodeType):
        return found
    if inspect.iscoroutinefunction(found):
        raise NodeTypeError(f"{function} in {module_name} is not a node type; put @node above it")
    raise NodeTypeError(f"{module_name} has no node type '{function}'{nearest(function, types_in(module))}")


def find_function(name: str, what: str = "function") -> Any:
    """What "module:name" or "file.py:name" names: a function or class that is no node type.

    Args:
      what: how a message calls it.

    Raises:
      NodeTypeError: there is none; the text holds the whole name, and offers the nearest.
    """
    module_name, _, attribute = name.rpartition(":")
    if not module_name or not attribute:
        raise NodeTypeError(f'{name!r} names no {what}; write "module:{what}", or "file.py:{what}" for a file')
    if node_files.is_file(module_name) and not Path(module_name).is_file():
        raise NodeTypeError(f"{name!r}: there is no file '{module_name}'{near_file(Path(module_name))}")
    try:
        module = _module(module_name)
    except NodeTypeError as error:
        raise NodeTypeError(f"{name!r}: {error}") from error
    found = getattr(module, attribute, None)
    if not callable(found) or isinstance(found, NodeType):
        own = [key for key, value in vars(module).items() if callable(value) and not isinstance(value, NodeType)]
        is_node = f"; {attribute} is a node type, which a graph runs by itself" if isinstance(found, NodeType) else ""
        raise NodeTypeError(f"{name!r}: {module_name} has no {what} '{attribute}'{nearest(attribute, own)}{is_node}")
    return found


def types_in(module: Any) -> dict[str, NodeType[Any]]:
    """The node types that a module itself defines, by function name."""
    return {
        name: value
        for name, value in vars(module).items()
        if isinstance(value, NodeType) and value.function.__module__ == module.__name__
    }


def _module(name: str) -> Any:
    try:
        return node_files.import_named(name)
    except ModuleNotFoundError as error:
        missing = error.name or name
        if node_files.is_file(name) and Path(name).with_name(f"{missing}.py").is_file():
            raise NodeTypeError(
                f"{name} imports '{missing}', a file beside it; a file that a graph names stands alone: put what both "
                "need into a package and install that"
            ) from error
        if name == missing or name.startswith(f"{missing}."):
            raise NodeTypeError(f"there is no module '{missing}'{nearest(missing, _siblings(missing))}") from error
        raise NodeTypeError(f"{name} imports '{missing}', which is not installed; {install(missing)}") from error
    except NodeTypeError as error:
        raise NodeTypeError(f"{name} holds a wrong declaration: {error}") from error
    except Exception as error:
        raise NodeTypeError(f"importing {name} failed: {type(error).__name__}: {error}") from error


def _siblings(name: str) -> list[str]:
    """Modules that stand where a missing one was looked for."""
    parent, _, _ = name.rpartition(".")
    if not parent:
        return ["nodes"] if importlib.util.find_spec("nodes") else []
    package = _module(parent)
    return [f"{parent}.{each.name}" for each in pkgutil.iter_modules(getattr(package, "__path__", ()))]


def _registered(name: str) -> NodeType[Any]:
    points: dict[str, list[importlib.metadata.EntryPoint]] = {}
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        points.setdefault(point.name, []).append(point)
    if name not in points:
        hint = nearest(name, points) if points else '; write "module:function", as in "nodes.env.atari:actor"'
        raise NodeTypeError(f"no installed package registers a node type '{name}'{hint}")
    # A package that is found twice, as one installed for editing can be, registers the same thing twice.
    owners = {point.dist.name if point.dist is not None else point.value: point for point in points[name]}
    if len(owners) > 1:
        packages = " and ".join(f"'{owner}' as \"{point.value}\"" for owner, point in sorted(owners.items()))
        raise NodeTypeError(
            f"it is registered by {packages}; write the one that is meant by its full name, or uninstall the other"
        )
    point = points[name][0]
    try:
        found = point.load()
    except Exception as error:
        raise NodeTypeError(f"loading {point.value} failed: {type(error).__name__}: {error}") from error
    if not isinstance(found, NodeType):
        raise NodeTypeError(f"{point.value}, registered as '{name}', is not a node type")
    return found


def install(package: str) -> str:
    """The command that brings a package."""
    extra = EXTRAS.get(package)
    return f'pip install "flow-research[{extra}]"' if extra else f"pip install {package}"


def known_types(package: str = "nodes") -> tuple[dict[str, NodeType[Any]], dict[str, str]]:
    """Every node type there is by the name a graph writes, and what could not be read, with the reason."""
    found: dict[str, NodeType[Any]] = {}
    broken: dict[str, str] = {}
    for name in _modules(package):
        try:
            found |= {each.name: each for each in types_in(_module(name)).values()}
        except NodeTypeError as error:
            broken[name] = str(error)
    for point in importlib.metadata.entry_points(group=ENTRY_POINTS):
        try:
            found[point.name] = _registered(point.name)
        except NodeTypeError as error:
            broken[point.name] = str(error)
    return found, broken


# Mathematics and networks know no ports, and importing the networks imports torch; `given` is what tests give nodes.
_WITHOUT_NODES = ("algo", "nets", "given")


def _modules(package: str) -> list[str]:
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        return [] if spec is None else [package]
    names = [package]
    for each in pkgutil.iter_modules(spec.submodule_search_locations, f"{package}."):
        if each.name.rpartition(".")[2] not in _WITHOUT_NODES:
            names += _modules(each.name) if each.ispkg else [each.name]
    return names
