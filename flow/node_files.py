"""Python files that graphs name by their path: `run = "chunker.py:chunker"` is a file beside the graph.

Such a file is a module of its own, called after its path, so that two files `nodes.py` do not meet. It is no part of
a package and its folder is not searched: what it imports must be installed.
"""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

ENDING = ".py"
_paths: dict[str, Path] = {}
_changed: dict[str, int] = {}


def is_file(name: str) -> bool:
    """Whether the part before the colon of a node type's name is a file and not a module."""
    return name.endswith(ENDING)


def name_of(module: str) -> str:
    """What comes before the colon for node types of a module: its name, or the path of its file."""
    return str(_paths.get(module, module))


def import_named(name: str) -> ModuleType:
    """Import what comes before the colon of a node type's name.

    Raises:
      FileNotFoundError: there is no such file.
      Exception: whatever the module raises.
    """
    return load_file(Path(name)) if is_file(name) else importlib.import_module(name)


def import_hint(error: NameError, module: str) -> str:
    """What to write for a name that an annotation of a module needs and the module does not have."""
    import jaxtyping

    import flow

    file = Path(name_of(module)).name if module in _paths else module
    name = error.name or ""
    package = "flow" if name in flow.__all__ else "jaxtyping" if hasattr(jaxtyping, name) else ""
    wanted = f"write `from {package} import {name}`" if package else "import the name"
    return f"{wanted} at the top of {file}, outside `if TYPE_CHECKING`"


def load_file(path: Path) -> ModuleType:
    """The module of a file; run anew if the file has changed since."""
    path = path.resolve()
    digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
    module_name = f"flow_file_{re.sub(r'[^A-Za-z0-9]', '_', path.stem)}_{digest}"
    changed = path.stat().st_mtime_ns
    if module_name in sys.modules and _changed.get(module_name) == changed:
        return sys.modules[module_name]
    spec = importlib.util.spec_from_file_location(module_name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Before it runs: its node types ask for their name, and its classes for their module.
    _paths[module_name], sys.modules[module_name] = path, module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[module_name]
        raise
    _changed[module_name] = changed
    return module
