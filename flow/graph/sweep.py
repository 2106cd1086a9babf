"""The `[sweep]` table: copies of some nodes, each with its own values of some params, beside nodes that all share.

    [sweep.agents]
    nodes = ["actor", "policy", "learner"]
    grid = { learning_rate = [1e-3, 3e-4], trust = [0.1, 0.3] }       four copies
    list = [{ trust = 0.1 }, { trust = 0.3, learning_rate = 1e-3 }]   or two
    per_copy = true                                                   each in workers of its own

A copy is named by its values: "learner@learning_rate=0.001,trust=0.1".
"""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from typing import Any

from flow.graph.params import NAME, Params, names_in, override
from flow.graph.problems import Problems, described
from flow.graph.source import Tables
from flow.graph.variants import FILLED, known_keys

KEYS = ("nodes", "grid", "list", "per_copy")
LABEL_MAX = 60
"""Bytes: names of files, workers and metrics hold a copy's name."""


@dataclass(frozen=True)
class Copy:
    """label: what it is called, "" outside of sweeps. params: all of them, with this copy's values."""

    sweep: str
    label: str
    params: Params


@dataclass(frozen=True)
class Sweep:
    """Copies of nodes. per_copy: each copy's share of a worker becomes a worker of its own."""

    name: str
    nodes: tuple[str, ...]
    copies: tuple[Copy, ...]
    per_copy: bool = False


def read_sweeps(raw: Tables, params: Params, problems: Problems) -> list[Sweep]:
    """The sweeps that are right; the others are told."""
    sweeps: list[Sweep] = []
    owner: dict[str, str] = {}
    for name, table in raw.get("sweep", {}).items():
        if not isinstance(table, dict) or not re.fullmatch(NAME, name):
            text = f"expected a table under a name, found {described(table)}; write [sweep.agents]"
            problems.add("sweep", name, text)
            continue
        nodes = _nodes(name, table, raw.get("nodes", {}), owner, problems)
        values = _values(name, table, problems)
        copies = _copies(name, values, params, problems)
        if not isinstance(table.get("per_copy", False), bool):
            found = described(table["per_copy"])
            problems.add(f"sweep.{name}", "per_copy", f"expected true or false, found {found}")
        _check_use(name, nodes, values, raw, problems)
        if nodes and copies:
            sweeps.append(Sweep(name, nodes, copies, table.get("per_copy") is True))
    return sweeps


def _nodes(name: str, table: Tables, known: Tables, owner: dict[str, str], problems: Problems) -> tuple[str, ...]:
    place = f"sweep.{name}"
    known_keys(place, table, KEYS, problems)
    nodes = table.get("nodes")
    if not isinstance(nodes, list) or not nodes or any(type(node) is not str for node in nodes):
        problems.add(place, "nodes", f'expected a list of nodes, as in ["learner"], found {described(nodes)}')
        return ()
    good = []
    for node in nodes:
        if node not in known:
            problems.unknown(place, "nodes", f"there is no node '{node}'", node, known)
        elif node in owner:
            twice = "twice in it" if owner[node] == name else f"in [sweep.{owner[node]}] too"
            problems.add(place, "nodes", f"'{node}' is {twice}; a node is swept once")
        else:
            owner[node] = name
            good.append(node)
    return tuple(good)


def _values(name: str, table: Tables, problems: Problems) -> list[Params]:
    """What each copy changes."""
    place = f"sweep.{name}"
    if ("grid" in table) == ("list" in table):
        found = "both" if "grid" in table else "neither"
        text = f"expected grid = {{ trust = [0.1, 0.3] }} or list = [{{ trust = 0.1 }}, …], found {found}"
        problems.add(place, "", text)
        return []
    if "list" in table:
        rows = table["list"]
        if not isinstance(rows, list) or not rows or any(not isinstance(row, dict) or not row for row in rows):
            problems.add(place, "list", f"expected a list of tables, a copy each, found {described(rows)}")
            return []
        return rows
    grid = table["grid"]
    if not isinstance(grid, dict) or not grid:
        problems.add(place, "grid", f"expected a table of params, each a list of values, found {described(grid)}")
        return []
    for param, axis in grid.items():
        if not isinstance(axis, list) or not axis:
            problems.add(f"{place}.grid", param, f"expected a list of at least one value, found {described(axis)}")
            return []
    return [dict(zip(grid, row, strict=True)) for row in itertools.product(*grid.values())]


def _copies(name: str, values: list[Params], params: Params, problems: Problems) -> tuple[Copy, ...]:
    place = f"sweep.{name}"
    copies: dict[str, Copy] = {}
    for row in values:
        before = problems.told
        chosen = override(params, row, place, problems)
        if problems.told > before:
            continue
        label = ",".join(f"{param}={_short(chosen[param])}" for param in row)
        if len(label.encode()) > LABEL_MAX:
            text = f"a copy would be called '{label}', which is longer than {LABEL_MAX} bytes"
            problems.add(place, "", f"{text}; sweep over fewer params, or ones with shorter names and values")
        elif label in copies:
            problems.add(place, "", f"two copies would be called '{label}'; copies are named by their values")
        else:
            copies[label] = Copy(name, label, chosen)
    return tuple(copies.values())


def _short(value: Any) -> str:
    """A value in a name: of files, of workers, before the dot of a port."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:g}" if float(f"{value:g}") == value else repr(value)
    if isinstance(value, list):
        return "+".join(map(_short, value))
    return re.sub(r"[^A-Za-z0-9_.+-]", "_", str(value))


def _check_use(name: str, nodes: tuple[str, ...], values: list[Params], raw: Tables, problems: Problems) -> None:
    """What is swept is used by what is copied, and by nothing else: that would have to have all values at once."""
    swept = dict.fromkeys(param for row in values for param in row)
    used = names_in([raw["nodes"][node] for node in nodes])
    for param in swept:
        if nodes and param in raw.get("params", {}) and param not in used:
            problems.add(
                f"sweep.{name}",
                "",
                f"none of its nodes uses the param '{param}', so its values would make no difference; "
                f'write "{{{param}}}" in one of {", ".join(nodes)}, or leave it out',
            )
    shared = [(f"nodes.{node}", key, value) for node, table in raw.get("nodes", {}).items() if node not in nodes
              for key, value in (table.items() if isinstance(table, dict) else ())]  # fmt: skip
    for table in FILLED:
        value = raw.get(table, {})
        shared += (
            [(table, key, item) for key, item in value.items()] if isinstance(value, dict) else [("", table, value)]
        )
    for table, key, value in shared:
        for param in sorted(swept.keys() & names_in(value)):
            problems.add(
                table,
                key,
                f"it uses the param '{param}', of which each copy of [sweep.{name}] has another value; "
                "what copies share cannot have them all",
            )
