"""What the source says about ports, settings and fields, read so that the program can show it.

Three places count, the first that says something wins: the `Args:` section of a docstring, the string under a
class attribute, and the comment at the end of the line.
"""

from __future__ import annotations

import ast
import inspect
import io
import re
import textwrap
import tokenize
from collections.abc import Callable
from typing import Any


def field_docs(cls: type) -> dict[str, str]:
    """What stands under or beside each annotated attribute of a class."""
    source = _source(cls)
    if source is None:
        return {}
    comments = _comments(source)
    body = next((node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef)), [])
    docs: dict[str, str] = {}
    for here, after in zip(body, [*body[1:], None], strict=True):
        if not isinstance(here, ast.AnnAssign) or not isinstance(here.target, ast.Name):
            continue
        docs[here.target.id] = comments.get(here.end_lineno or here.lineno, "")
        if isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant) and isinstance(after.value.value, str):
            docs[here.target.id] = inspect.cleandoc(after.value.value)
    return docs


def parameter_docs(function: Callable[..., Any]) -> dict[str, str]:
    """What the docstring's `Args:` or the comment beside each parameter says."""
    docs: dict[str, str] = {}
    source = _source(function)
    if source is not None:
        comments = _comments(source)
        tree = ast.parse(source).body[0]
        if isinstance(tree, (ast.AsyncFunctionDef, ast.FunctionDef)):
            for argument in [*tree.args.args, *tree.args.kwonlyargs]:
                docs[argument.arg] = comments.get(argument.end_lineno or argument.lineno, "")
    docs.update(_args_section(inspect.getdoc(function) or ""))
    return docs


def summary(doc: str | None) -> str:
    """The first sentence or line of a docstring."""
    return (doc or "").strip().split("\n", 1)[0]


def _args_section(doc: str) -> dict[str, str]:
    found: dict[str, str] = {}
    names: list[str] = []
    inside = False
    for line in doc.splitlines():
        if not line.startswith(" "):
            inside = line.strip() == "Args:"
            continue
        if not inside:
            continue
        match = re.fullmatch(r" {2,4}([\w, ]+): (.*)", line)
        if match:
            names = [name.strip() for name in match[1].split(",")]
            found.update(dict.fromkeys(names, match[2].strip()))
        else:
            found.update({name: f"{found[name]} {line.strip()}" for name in names})
    return found


def _source(thing: Any) -> str | None:
    try:
        return textwrap.dedent(inspect.getsource(thing))
    except (OSError, TypeError):  # made in an interpreter or by exec: there is no file to read
        return None


def _comments(source: str) -> dict[int, str]:
    comments: dict[int, str] = {}
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            comments[token.start[0]] = token.string.lstrip("# ").strip()
    return comments
