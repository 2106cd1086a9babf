"""Params: their defaults, what a profile and `--set` change, and where they are filled in.

"{game}" as a whole text becomes the param's value with its type; within a longer text it is written into it. "{{"
and "}}" stand for the braces themselves.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Sequence
from typing import Any

from flow.graph.problems import Problems, described, expected, nearest

Params = dict[str, Any]

# Of params, nodes and workers.
NAME = r"[A-Za-z_]\w*"
_SCALARS = (str, bool, int, float)
_PIECES = re.compile(r"\{\{|\}\}|\{(\w+)\}|[{}]")


def read_params(raw: Params, problems: Problems) -> Params:
    """The `[params]` table: scalars, and lists of scalars."""
    for name, value in raw.items():
        items = value if isinstance(value, list) else [value]
        if not re.fullmatch(NAME, name):
            problems.add("params", name, "is no name; use letters, digits and _, beginning with a letter")
        if any(type(item) not in _SCALARS for item in items):
            problems.add(
                "params", name, f"expected a text, number, true, false or a list of those, found {described(value)}"
            )
    return dict(raw)


def override(params: Params, changes: Params, table: str, problems: Problems, where: str = "[params]") -> Params:
    """The params with changes that stand in a table. where: what says of which type they are."""
    result = dict(params)
    for name, value in changes.items():
        if name not in params:
            there = "" if where == "[params]" else f" in {where}"
            problems.unknown(table, name, f"there is no param '{name}'{there}", name, params)
            continue
        try:
            result[name] = _as_type_of(params[name], value)
        except TypeError as error:
            problems.add(table, name, f"{error}, as {where} has {name} = {described(params[name])}")
    return result


def override_by_sets(params: Params, sets: Sequence[str], problems: Problems) -> Params:
    """The params with what `--set` changes, each "key=value"."""
    result = dict(params)
    seen: dict[str, str] = {}
    for text in sets:
        name, equals, raw = text.partition("=")
        name = name.strip()
        if not equals:
            problems.add("--set", text, f"expected key=value, as in --set {text or 'game'}=…")
        elif name in seen:
            problems.add("--set", name, f"is set twice, to {seen[name]} and to {raw}; leave one")
        elif name not in params:
            problems.unknown("--set", name, f"there is no param '{name}'", name, params)
        else:
            seen[name] = raw
            try:
                result[name] = _as_type_of(params[name], _parsed(raw, params[name]))
            except TypeError as error:
                problems.add("--set", name, f"{error}, as [params] has {name} = {described(params[name])}")
    return result


def _parsed(raw: str, default: Any) -> Any:
    try:
        value = tomllib.loads(f"value = {raw}")["value"]
    except tomllib.TOMLDecodeError:
        return raw
    # --set name=7 for a param that is a text means the text "7"
    return raw if type(default) is str and type(value) is not str else value


def _as_type_of(default: Any, value: Any) -> Any:
    """The value, if it has the type of the default.

    Raises:
      TypeError: it has another one.
    """
    kind = type(default)
    if kind is list and type(value) is list:
        return [_as_type_of(default[0], item) for item in value] if default else value
    if kind is float and type(value) is int:
        return float(value)
    if kind is int and type(value) is float and value.is_integer():
        return int(value)  # 2e6 is how people write a number of frames
    if type(value) is not kind:
        raise TypeError(f"expected {expected(kind)}, found {described(value)}")
    return value


class Unfilled(str):
    """A text that asks for a param there is none of; told already, so nobody else judges it."""


class Filler:
    """Fills params into texts."""

    def __init__(self, params: Params, problems: Problems) -> None:
        self.params = params
        self.problems = problems

    def fill(self, value: Any, table: str, key: str) -> Any:
        """The value with params filled in, through lists and tables."""
        if isinstance(value, list):
            return [self.fill(item, table, key) for item in value]
        if isinstance(value, dict):
            return {name: self.fill(item, table, key) for name, item in value.items()}
        return self._text(value, table, key) if isinstance(value, str) else value

    def _text(self, text: str, table: str, key: str) -> Any:
        whole = re.fullmatch(r"\{(\w+)\}", text)
        if whole and whole[1] in self.params:
            return self.params[whole[1]]

        unfilled = False

        def piece(match: re.Match[str]) -> str:
            if match[0] in ("{{", "}}"):
                return match[0][0]
            nonlocal unfilled
            name = match[1]
            if name is None:
                self.problems.add(table, key, f"a lone brace in {text!r}; write {match[0] * 2} for the brace itself")
            elif name not in self.params:
                unfilled = True
                self.problems.add(table, key, f"there is no param '{name}'{nearest(name, self.params)}")
            else:
                value = self.params[name]
                return described(value) if isinstance(value, bool) else str(value)
            return match[0]

        filled = _PIECES.sub(piece, text)
        return Unfilled(filled) if unfilled else filled


def names_in(value: Any) -> set[str]:
    """The params that a value of a graph file asks for."""
    if isinstance(value, str):
        return {match[1] for match in _PIECES.finditer(value) if match[1]}
    items = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return {name for item in items for name in names_in(item)}


def escaped(text: str) -> str:
    """The text so that filling it gives it back."""
    return text.replace("{", "{{").replace("}", "}}")
