"""`flow new`: a graph or a node to start from, with its test."""

from __future__ import annotations

import argparse
import importlib.util
import keyword
import re
import sys
from importlib import resources
from pathlib import Path
from string import Template

EXAMPLE = """examples:
  flow new graph first          first.toml, its nodes in first.py, and test_first.py
  flow new node chunker         chunker.py and test_chunker.py
"""
NAME = r"[a-z][a-z0-9_]{0,39}"
# What each kind writes: the name of the file, and the template it is made from.
FILES = {
    "graph": {
        "{name}.toml": "graph.toml.template",
        "{name}.py": "graph.py.template",
        "test_{name}.py": "graph_test.py.template",
    },
    "node": {"{name}.py": "node.py.template", "test_{name}.py": "node_test.py.template"},
}
NEXT = {
    "graph": """next:
  flow check {name}.toml
  flow run {name}.toml
  python -m pytest test_{name}.py""",
    "node": """next:
  flow nodes {name}.py:{name}
  python -m pytest test_{name}.py
and in a graph file beside it: run = "{name}.py:{name}\"""",
}


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "new",
        help="write a graph or a node to start from, with its test",
        description="Write a graph or a node to start from, with its test, into the current directory.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("kind", choices=list(FILES), help="what to write")
    parser.add_argument("name", metavar="NAME", help="what it is called: small letters, digits and _")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Write the files, all or none; returns the exit status."""
    kind, name = arguments.kind, arguments.name
    files = {Path(file.format(name=name)): template for file, template in FILES[kind].items()}
    there = [str(path) for path in files if path.exists()]
    problem = name_problem(name, there)
    if there and not problem:
        problem = f"{', '.join(there)} {'is' if len(there) == 1 else 'are'} there already; choose another name"
    if problem:
        print(f"flow new {kind}: {problem}", file=sys.stderr)
        return 2
    templates = resources.files("flow") / "templates"
    for path, template in files.items():
        text = (templates / template).read_text(encoding="utf-8")
        # "x": a file that somebody else writes at this moment is not overwritten either
        with path.open("x", encoding="utf-8") as file:
            file.write(Template(text).substitute(name=name))
    print(f"wrote {', '.join(map(str, files))}")
    print(NEXT[kind].format(name=name))
    missing = [package for package in ("pytest", "hypothesis") if importlib.util.find_spec(package) is None]
    if missing:
        print(
            f"the test needs {' and '.join(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed: "
            'pip install "flow-research[testing]", or in a checkout of flow: pip install -e ".[testing]"'
        )
    return 0


def name_problem(name: str, there: list[str]) -> str:
    """Why a graph or node cannot be called so; "" if it can. there: files of that name, which hide no module."""
    if not re.fullmatch(NAME, name):
        return f"'{name}' is no name; use at most 40 small letters, digits and _, a letter first{_suggestion(name)}"
    if keyword.iskeyword(name) or keyword.issoftkeyword(name):
        return f"'{name}' is a word of Python; choose another, such as my_{name}"
    if name.startswith("test_") or name == "conftest":
        return f"'{name}' would be taken for a test by pytest; choose another name"
    if not there and importlib.util.find_spec(name) is not None:
        return f"{name}.py would hide the module '{name}' that is installed; choose another name, such as my_{name}"
    return ""


def _suggestion(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", Path(name).stem)
    near = re.sub(r"\W+", "_", words.lower(), flags=re.ASCII).strip("_")
    return f", such as {near}" if re.fullmatch(NAME, near) else ""
