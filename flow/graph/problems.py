"""Mistakes in graph files: each with its place, all collected before any is raised."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from flow.errors import GraphError


class Problems:
    """Collects what is wrong with one file, and with those that it includes.

    found: of all files together. files: by the dotted place of a key the file it stands in, where a file extends
    others. note: what else tells where this is, such as the copy of a sweep; it ends each text.
    """

    def __init__(self, file: str, note: str = "", found: list[str] | None = None) -> None:
        self.file = file
        self.note = note
        self.found: list[str] = [] if found is None else found
        self.files: Mapping[str, str] = {}
        self.wrong_tables: set[str] = set()
        self.told = 0  # also what was told before in the same words

    def within(self, file: str, note: str) -> Problems:
        """For a file that this one includes."""
        return Problems(file, "; ".join(part for part in (note, self.note) if part), self.found)

    def noting(self, note: str) -> Problems:
        """For this file, where its texts mean one copy of several."""
        other = self.within(self.file, note)
        other.files, other.wrong_tables = self.files, self.wrong_tables
        return other

    def file_of(self, place: str) -> str:
        """The file in which the key at a dotted place stands, or what it would stand in."""
        while place and place not in self.files:
            place = place.rpartition(".")[0]
        return self.files.get(place, self.file)

    def add(self, table: str, key: str, text: str) -> None:
        """Note a problem. table, key: where it is in the file; "" where there is none."""
        file = self.file_of(".".join(part for part in (table, key) if part))
        place = ", ".join(part for part in (file, table, f'"{key}"' if key else "") if part)
        self._note(table, f"{place}: {text}")

    def add_edge(self, sender: object, receiver: object, text: str) -> None:
        """Note a problem of an edge, where neither of its ends alone is wrong."""
        self._note("edges", f'{self.file_of(f"edges.{sender}")}, edges, "{sender}" -> "{receiver}": {text}')

    def _note(self, table: str, text: str) -> None:
        self.wrong_tables.add(table)
        self.told += 1
        first, newline, more = text.partition("\n")
        text = f"{first} ({self.note}){newline}{more}" if self.note else text
        if text not in self.found:
            self.found.append(text)

    def unknown(self, table: str, key: str, text: str, name: str, known: Iterable[str]) -> None:
        """Note that a name is unknown, with the nearest that is known."""
        self.add(table, key, text + nearest(name, known))

    def raise_if_any(self) -> None:
        if self.found:
            raise GraphError(self.found)


def nearest(name: str, known: Iterable[str]) -> str:
    """What to say after an unknown name: the nearest known one, else which there are."""
    names = list(known)
    lower = {each.lower(): each for each in names}
    close = difflib.get_close_matches(name.lower(), lower, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{lower[close[0]]}'?"
    if not names:
        return "; there is none"
    shown = ", ".join(sorted(names)[:12]) + (", …" if len(names) > 12 else "")
    return f"; there {'is' if len(names) == 1 else 'are'} {shown}"


_NAMES = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    list: "a list",
    dict: "a table",
}


def described(value: Any) -> str:
    """A value as an error shows it: short, and as TOML writes it where that differs."""
    if type(value) is bool:
        return "true" if value else "false"
    if value is None:
        return "nothing"
    if type(value) is dict:
        return "a table"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def expected(kind: type) -> str:
    """What a user calls a type."""
    return _NAMES[kind]
