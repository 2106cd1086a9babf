"""A graph file's tables, those of the files that it extends among them, and which file each key stands in.

extends = "laser_atari.toml"                      the tables of that file, ...
remove = ["nodes.replayer", "edges.replay.samples"]    without these, ...
[params]                                          and with what this file says: table by table, key by key
trust = 0.1
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flow.graph.problems import Problems, described, expected, nearest

TABLES: dict[str, type] = {
    "title": str,
    "paper": str,
    "extends": str,
    "remove": list,
    "params": dict,
    "nodes": dict,
    "edges": dict,
    "ports": dict,
    "sweep": dict,
    "workers": dict,
    "hosts": dict,
    "memory": dict,
    "until": dict,
    "report": dict,
    "profiles": dict,
    "resolved": dict,
}
Tables = dict[str, Any]


@dataclass
class Source:
    """What a graph file says.

    files: the file in which each key stands, by its dotted place; a table stands where it was first written.
    """

    path: Path
    tables: Tables
    files: dict[str, str] = field(default_factory=dict)

    def folder_of(self, place: str) -> Path:
        """What a relative path at this place is relative to."""
        return Path(self.files.get(place, str(self.path))).parent


def read_source(path: Path, problems: Problems) -> Source | None:
    """Read a file and those it extends; None, and a problem, where one cannot be read."""
    tables = parse(path, problems)
    source = None if tables is None else resolve(path, tables, problems)
    if source is not None:
        problems.files = source.files
    return source


def resolve(path: Path, tables: Tables, problems: Problems, extending: tuple[Path, ...] = ()) -> Source | None:
    """Tables as a file writes them, with those that they extend."""
    tables = _known(tables, problems)
    extends, remove = tables.pop("extends", None), tables.pop("remove", [])
    own = Source(path, tables, {place: str(path) for place in _places(tables)})
    if extends is None:
        if remove:
            problems.add("", "remove", 'nothing to take away from; add extends = "…", the file that holds it')
        return own
    base_path = beside(path, extends)
    chain = (*extending, path)
    if any(same_file(each, base_path) for each in chain):
        circle = ", which extends ".join(f"'{each}'" for each in (*chain, base_path))
        problems.add("", "extends", f"a file cannot stand on itself: {circle}")
        return None
    if not base_path.is_file():
        problems.add("", "extends", f"there is no file '{base_path}'{near_file(base_path)}")
        return None
    below = problems.within(str(base_path), "")
    base_tables = parse(base_path, below)
    base = None if base_tables is None else resolve(base_path, base_tables, below, chain)
    if base is None:
        return None
    _remove(base, remove, problems)
    return Source(path, _merged(base.tables, own.tables), {**own.files, **_first(base.files, own)})


def beside(path: Path, name: str) -> Path:
    """The file that another one names, as short as it can be written."""
    return Path(os.path.normpath(path.parent / name))


def same_file(a: Path, b: Path) -> bool:
    return a.resolve() == b.resolve()


def parse(path: Path, problems: Problems) -> Tables | None:
    """A TOML file; None, and a problem, where it cannot be read."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except tomllib.TOMLDecodeError as error:
        problems.add("", "", f"is not valid TOML: {error}{_toml_hint(str(error))}{_other_language(path)}")
    except UnicodeDecodeError as error:
        problems.add("", "", f"is not UTF-8 text: {error}")
    except OSError as error:
        problems.add("", "", f"cannot be read: {error.strerror or error}{near_file(path)}")
    return None


def near_file(path: Path) -> str:
    """What to say of a file that is not there."""
    names = [each.name for each in path.parent.glob(f"*{path.suffix}")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean '{path.parent / near[0]}'?" if near else ""


def _other_language(path: Path) -> str:
    """What to say of a file of nodes, where a graph is expected."""
    if path.suffix != ".py":
        return ""
    beside = path.with_suffix(".toml")
    graph = f"did you mean {beside}?" if beside.exists() else f'a graph names it, as in run = "{path.name}:NODE"'
    return f"; it is Python, and a graph is TOML; {graph}"


def _toml_hint(text: str) -> str:
    if "overwrite" in text:
        return '; a key stands twice: an edge to several receivers is a list, "a.out" = ["b.in", "c.in"]'
    return ""


def _known(raw: Tables, problems: Problems) -> Tables:
    """The file's tables, each of the right type; what is unknown or of another type is told and left out."""
    good = {}
    for name, value in raw.items():
        kind = TABLES.get(name)
        if kind is None:
            problems.unknown("", name, f"there is no table or key '{name}' in a graph", name, TABLES)
        elif type(value) is not kind:
            problems.add("", name, f"expected {expected(kind)}, found {described(value)}")
        else:
            good[name] = value
    return good


def _places(tables: Tables, above: str = "") -> Iterator[str]:
    for key, value in tables.items():
        place = f"{above}.{key}" if above else key
        yield place
        if isinstance(value, dict):
            yield from _places(value, place)


def _first(files: dict[str, str], own: Source) -> dict[str, str]:
    """Of the places that a base has, those that the file on top of it does not write anew."""
    written = {place for place in own.files if not isinstance(_at(own.tables, place), dict)}
    return {place: file for place, file in files.items() if place not in written}


def _at(tables: Tables, place: str) -> Any:
    """The value at a dotted place; keys may hold dots themselves."""
    if place in tables:
        return tables[place]
    for key, value in tables.items():
        if isinstance(value, dict) and place.startswith(f"{key}."):
            found = _at(value, place.removeprefix(f"{key}."))
            if found is not None:
                return found
    return None


def _merged(base: Tables, own: Tables) -> Tables:
    """Tables by key, through all depths; anything else is replaced."""
    merged = dict(base)
    for key, value in own.items():
        below = base.get(key)
        if isinstance(value, dict) and isinstance(below, str) and "." in below and "to" not in value:
            below = {"to": below}  # an edge written short
        merged[key] = _merged(below, value) if isinstance(value, dict) and isinstance(below, dict) else value
    return merged


def _remove(base: Source, places: list[Any], problems: Problems) -> None:
    for place in places:
        if not isinstance(place, str):
            problems.add("", "remove", f'expected a list of places, as in ["nodes.viewer"], found {described(place)}')
        elif (missing := _take(base.tables, place)) is not None:
            problems.add("", "remove", f"'{place}': '{base.path}' has no such place{missing}")
        else:
            base.files = {
                key: file for key, file in base.files.items() if key != place and not key.startswith(f"{place}.")
            }


def _take(tables: Tables, place: str) -> str | None:
    """Take a place away; where there is no such place, what to say of it."""
    if place in tables:
        del tables[place]
        return None
    inner = [key for key, value in tables.items() if isinstance(value, dict) and place.startswith(f"{key}.")]
    if not inner:
        return nearest(place, tables)
    return _take(tables[inner[0]], place.removeprefix(f"{inner[0]}."))
