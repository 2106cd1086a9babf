"""What the source says about ports, settings and fields, read so that the program can show it.

Three places count, the first that says something wins: the `Args:` section of a docstring, the string under a
class attribute, and the comment at the end of the line.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Callable, Sequence
from typing import Any


def field_docs(cls: type) -> dict[str, str]:
    """What stands under or beside each annotated attribute of a class."""
    source = _source(cls)
    if source is None:
        return {}
    body = next((node.body for node in ast.parse(source).body if isinstance(node, ast.ClassDef)), [])
    comments = _comments(source, [part for part in body if isinstance(part, ast.AnnAssign)])
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
        tree = ast.parse(source).body[0]
        if isinstance(tree, (ast.AsyncFunctionDef, ast.FunctionDef)):
            arguments = [*tree.args.args, *tree.args.kwonlyargs]
            defaults = [each for each in (*tree.args.defaults, *tree.args.kw_defaults) if each is not None]
            comments = _comments(source, [*arguments, *defaults])
            for argument in arguments:
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


def _comments(source: str, parts: Sequence[ast.AnnAssign | ast.arg | ast.expr]) -> dict[int, str]:
    """By line, the comment behind the last of these parts that ends on it.

    Found from where the parts end: reading all tokens takes longer than all else that the check of a graph does.
    """
    ends: dict[int, int] = {}
    for part in parts:
        if part.end_lineno is not None and part.end_col_offset is not None:
            ends[part.end_lineno] = max(ends.get(part.end_lineno, 0), part.end_col_offset)
    lines = source.split("\n")
    comments: dict[int, str] = {}
    for line, end in ends.items():
        behind = lines[line - 1].encode()[end:].decode()  # the offsets of `ast` count bytes
        if match := re.fullmatch(r"[\s,)\]]*#+\s*(.*)", behind):
            comments[line] = match[1].strip()
    return comments
