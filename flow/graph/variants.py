"""Params and profiles: what a file's values are once `--profile`, `--set` or an including graph has had its say."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from flow.graph.params import NAME, Filler, Params, names_in, override, read_params
from flow.graph.problems import Problems, described
from flow.graph.source import Source, Tables

PROFILE_TABLES = ("params", "nodes", "sweep", "workers", "hosts", "memory", "until")
MERGED = {"nodes": "node", "sweep": "sweep"}
FILLED = ("title", "paper", "edges", "ports", "workers", "hosts", "memory", "until", "report")
"""What params are filled into, beside nodes: those may be copies of a sweep, each with its own."""


def chosen_params(
    source: Source, profile: str | None, change: Callable[[Params], Params], problems: Problems
) -> Params:
    """The params' values; every profile is held to them, also those not asked for.

    Args:
      change: what comes on top of the profile.
    """
    raw = source.tables
    base = read_params(raw.get("params", {}), problems)
    profiles = raw.get("profiles", {})
    chosen = dict(base)
    for name, changes in list(profiles.items()):
        if not _check_profile(name, changes, raw, problems):
            del profiles[name]
            continue
        changed = override(base, changes.get("params", {}), f"profiles.{name}.params", problems)
        chosen = changed if name == profile else chosen
    return change(chosen)


def _check_profile(name: str, changes: Any, raw: Tables, problems: Problems) -> bool:
    table = f"profiles.{name}"
    if not isinstance(changes, dict):
        problems.add("profiles", name, f"expected a table, found {described(changes)}; write [{table}.params]")
        return False
    before = problems.told
    for key, value in changes.items():
        if key not in PROFILE_TABLES:
            problems.unknown(table, key, f"a profile has no '{key}'", key, PROFILE_TABLES)
        elif not isinstance(value, dict):
            problems.add(table, key, f"expected a table, found {described(value)}")
    for key, what in MERGED.items():
        entries, known = changes.get(key, {}), raw.get(key, {})
        for entry, value in entries.items() if isinstance(entries, dict) else ():
            if entry not in known:
                problems.unknown(f"{table}.{key}", entry, f"there is no {what} '{entry}'", entry, known)
            elif not isinstance(value, dict):
                problems.add(f"{table}.{key}", entry, f"expected a table, found {described(value)}")
    return problems.told == before


def check_use(source: Source, params: Params, problems: Problems) -> None:
    """A param that nothing asks for does nothing, so it is a mistake."""
    used = names_in({name: value for name, value in source.tables.items() if name not in ("params", "resolved")})
    for name in params:
        if name not in used and re.fullmatch(NAME, name):
            inherited = problems.file_of(f"params.{name}") != problems.file
            mend = f'or add "params.{name}" to remove in {problems.file}' if inherited else "or remove it"
            problems.add("params", name, f'is used nowhere; write "{{{name}}}" where its value belongs, {mend}')


def with_profile(source: Source, profile: str | None) -> Tables:
    """The tables with the profile's: `until`, nodes and sweeps merged by key, `workers`, `hosts`, `memory` replaced."""
    raw = source.tables
    changes = raw.get("profiles", {}).get(profile, {})
    merged = dict(raw)
    if "until" in changes:
        merged["until"] = {**raw.get("until", {}), **changes["until"]}
    merged |= {table: changes[table] for table in ("workers", "hosts", "memory") if table in changes}
    for table in MERGED:
        if table not in changes or table not in raw:
            continue
        merged[table] = dict(raw[table])
        for name, entries in changes[table].items():
            if isinstance(raw[table].get(name), dict):
                merged[table][name] = {**raw[table][name], **entries}
                for key in entries:
                    file = source.files.get(f"profiles.{profile}.{table}.{name}.{key}", str(source.path))
                    source.files[f"{table}.{name}.{key}"] = file
    return merged


def resolved_params(raw: Tables, problems: Problems) -> tuple[str | None, Params]:
    """What a file that `write_graph` made says of where it came from."""
    table = raw["resolved"]
    known_keys("resolved", table, ("profile", "params"), problems)
    profile, params = table.get("profile"), table.get("params", {})
    if not isinstance(profile, (str, type(None))) or not isinstance(params, dict):
        problems.add("resolved", "", "expected profile, a text, and params, a table")
        return None, {}
    return profile, params


def known_keys(table: str, raw: Tables, known: Sequence[str], problems: Problems) -> None:
    for key in raw:
        if key not in known:
            problems.unknown(table, key, f"there is no key '{key}'", key, known)


def filled(name: str, value: Any, params: Params, problems: Problems) -> Any:
    """A table, or a text that stands alone, with params filled in."""
    filler = Filler(params, problems)
    return filled_table(name, value, filler) if isinstance(value, dict) else str(filler.fill(value, "", name))


def filled_table(table: str, value: Tables, filler: Filler) -> Tables:
    return {key: filler.fill(item, table, key) for key, item in value.items()}
