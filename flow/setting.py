"""Settings of a node: the keyword-only parameters of its function, and what values each takes.

lanes: Annotated[int, Range(1, 4096)] = 32
game: Annotated[str, Names(game_names, "a game")]
mode: Literal["windows", "episodes"] = "windows"
weights: Annotated[str, Beside()]
learning_rate: Live[Annotated[float, Range(0, 1)]] = 1e-3
"""

from __future__ import annotations

import difflib
import inspect
import tomllib
import typing
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from flow import node_files
from flow.context import Live
from flow.errors import NodeTypeError, SettingError

MISSING: Any = inspect.Parameter.empty
# What a graph file says of any node, beside its settings.
GRAPH_KEYS = ("run", "replicas")


@dataclass(frozen=True)
class Range:
    """Bounds of a numeric setting or field, both included: `lanes: Annotated[int, Range(1, 4096)] = 32`."""

    low: float | None = None
    high: float | None = None

    def __str__(self) -> str:
        if self.low is None:
            return f"at most {self.high:g}"
        return f"at least {self.low:g}" if self.high is None else f"from {self.low:g} to {self.high:g}"

    def holds(self, value: float) -> bool:
        return (self.low is None or value >= self.low) and (self.high is None or value <= self.high)


@dataclass(frozen=True)
class Names:
    """What a text setting may say, found when it is needed: `game: Annotated[str, Names(game_names, "a game")]`.

    An empty list allows anything: what it would be read from is not installed here.
    """

    known: Callable[[], Sequence[str]]
    what: str

    def problem(self, value: str) -> str:
        """Why a value is none of the names, with the nearest that are; "" if it is one."""
        known = self.known()
        if not known or value in known:
            return ""
        near = difflib.get_close_matches(value.lower().replace(" ", "_"), known, n=3)
        hint = (
            f"did you mean {' or '.join(map(repr, near))}?" if near else f"there are {len(known)}, such as {known[0]!r}"
        )
        return f"{value!r} is not {self.what}; {hint}"


@dataclass(frozen=True)
class Beside:
    """A text setting that is a path relative to the graph file that says it: `path: Annotated[str, Beside()]`.

    function: it is "module:function" or "file.py:function", of which the file is such a path. A node gets the path
    absolute, wherever its worker and a run that goes on later are started; an empty text stays empty.
    """

    function: bool = False

    def placed(self, value: str, folder: Path) -> str:
        """The setting's value with its path absolute."""
        path, colon, name = value.rpartition(":") if self.function else (value, "", "")
        if not path or (self.function and not node_files.is_file(path)):
            return value
        return f"{(folder / path).resolve()}{colon}{name}"


@dataclass(frozen=True)
class Setting:
    """A keyword-only parameter. `kind` is "int", "float", "bool", "str", "choice" or "list"."""

    name: str
    kind: str
    default: Any = MISSING
    doc: str = ""
    live: bool = False
    optional: bool = False
    bounds: Range = field(default_factory=Range)
    choices: tuple[str, ...] = ()
    items: str = ""
    names: Names | None = None
    beside: Beside | None = None

    @property
    def required(self) -> bool:
        return self.default is MISSING

    def __str__(self) -> str:
        text = f"list of {self.items}" if self.kind == "list" else self.kind
        if self.choices:
            text = "one of " + ", ".join(map(repr, self.choices))
        if self.bounds != Range():
            text += f" {self.bounds}"
        return text + (" or nothing" if self.optional else "")

    def accept(self, value: Any, folder: Path | None = None) -> Any:
        """The value as the node gets it.

        Args:
          folder: what a path is relative to; where it is not given, a path stays as it is.

        Raises:
          SettingError: it has another type or is out of bounds; the text holds what was found and expected.
        """
        if value is None and self.optional:
            return None
        if self.kind == "list":
            if not isinstance(value, (list, tuple)):
                raise SettingError(f"expected {self}, found {value!r}")
            return [_scalar(self, self.items, item) for item in value]
        accepted = _scalar(self, self.kind, value)
        return accepted if self.beside is None or folder is None else self.beside.placed(accepted, folder)


_SCALAR_TYPES: dict[str, type] = {"int": int, "float": float, "bool": bool, "str": str, "choice": str}


def _scalar(setting: Setting, kind: str, value: Any) -> Any:
    wanted = _SCALAR_TYPES[kind]
    if kind == "float" and type(value) is int:
        value = float(value)
    if kind == "int" and type(value) is float and value.is_integer():
        value = int(value)  # 2e6 is a float in TOML, and how people write a number of frames
    if type(value) is not wanted or (setting.choices and value not in setting.choices):
        raise SettingError(f"expected {setting}, found {value!r}")
    if setting.names is not None and isinstance(value, str) and (problem := setting.names.problem(value)):
        raise SettingError(problem)
    if isinstance(value, (int, float)) and not setting.bounds.holds(value):
        raise SettingError(f"expected {setting}, found {value!r}")
    return value


def named_values(texts: Sequence[str], setting: str) -> dict[str, Any]:
    """What the texts of a setting say, each "name=value" with the value as TOML writes it: "rate=16000".

    Raises:
      SettingError: one says nothing.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals:
            raise SettingError(f'{setting}: {text!r} has no value; write "{text}=true" for instance')
        try:
            found[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError as error:
            raise SettingError(
                f'{setting}: {text!r} is not understood; write "name=value", a text in quotes, as in '
                '"is_slippery=false" or "map_name=\'8x8\'"'
            ) from error
    return found


def read_setting(owner: str, name: str, hint: Any, default: Any, doc: str) -> Setting:
    if name in GRAPH_KEYS:
        raise NodeTypeError(f"{owner}, setting '{name}': a graph file uses this word for itself; give it another name")
    bounds, live, optional = Range(), False, False
    names: Names | None = None
    beside: Beside | None = None
    if typing.get_origin(hint) is Live:
        live, hint = True, typing.get_args(hint)[0]
        default = default.value if isinstance(default, Live) else default
    if typing.get_origin(hint) is typing.Annotated:
        hint, *extras = typing.get_args(hint)
        bounds = next((extra for extra in extras if isinstance(extra, Range)), bounds)
        names = next((extra for extra in extras if isinstance(extra, Names)), None)
        beside = next((extra for extra in extras if isinstance(extra, Beside)), None)
    parts = [part for part in typing.get_args(hint) if part is not type(None)]
    if len(parts) < len(typing.get_args(hint)) and len(parts) == 1:
        optional, hint = True, parts[0]
    common: dict[str, Any] = {
        "default": default,
        "doc": doc,
        "live": live,
        "optional": optional,
        "bounds": bounds,
        "names": names,
        "beside": beside,
    }
    if typing.get_origin(hint) is Literal:
        setting = Setting(name, "choice", choices=typing.get_args(hint), **common)
    elif typing.get_origin(hint) is list and typing.get_args(hint)[0] in (int, float, bool, str):
        setting = Setting(name, "list", items=typing.get_args(hint)[0].__name__, **common)
    elif hint in (int, float, bool, str):
        setting = Setting(name, hint.__name__, **common)
    else:
        raise NodeTypeError(
            f"{owner}, setting '{name}': {inspect.formatannotation(hint)} cannot be written in a graph file; use "
            "int, float, bool, str, Literal, list[...] of those, each also in Annotated[..., Range(low, high)] or Live"
        )
    if default is not MISSING:
        try:
            setting.accept(default)
        except SettingError as error:
            raise NodeTypeError(f"{owner}, setting '{name}': its default does not fit: {error}") from error
    return setting
