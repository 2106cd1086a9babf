"""The snippets of a document: files that a reader writes, and what they type and see.

    ```{code-block} python        a file
    :caption: chunker.py

    ```console                    commands behind `$ `, each with what it prints
    $ flow check first.toml
    first.toml: ok, …

A line `% fails` before a block says that its last command does; `% not run: reason` that it is not run here.
What is printed is compared loosely: each line shown must be there, in order; `…` stands for anything, a number for
any other, and spaces do not count.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

_BLOCK = re.compile(
    r"(?:^% (?P<note>[^\n]*)\n)?^(?P<fence>`{3,})(?:\{code-block\} )?(?P<language>\w+)\n(?P<body>.*?)^(?P=fence)$",
    re.MULTILINE | re.DOTALL,
)
_NUMBER = re.compile(r"\d[\d,.]*(?:[eE][+-]?\d+)?")


@dataclass
class Command:
    """What is typed, and the lines that are shown below it."""

    text: str
    shown: list[str] = field(default_factory=list)


@dataclass
class File:
    """A file that the reader writes."""

    name: str
    text: str


@dataclass
class Console:
    """Commands that are typed one after the other."""

    commands: list[Command]
    line: int
    fails: bool = False
    not_run: str = ""


def snippets(document: Path) -> Iterator[File | Console]:
    """What a document has a reader do, in order."""
    text = document.read_text(encoding="utf-8")
    for match in _BLOCK.finditer(text):
        body, note = match["body"], match["note"] or ""
        if match["language"] == "console":
            line = text.count("\n", 0, match.start("fence")) + 1
            yield Console(_commands(body), line, note == "fails", note.partition("not run: ")[2])
        elif caption := re.match(r":caption: (\S+)\n\n?", body):
            yield File(caption[1], body[caption.end() :])


def _commands(body: str) -> list[Command]:
    commands: list[Command] = []
    for line in body.splitlines():
        if line.startswith("$ "):
            commands.append(Command(line[2:]))
        elif commands and commands[-1].text.endswith("\\") and not commands[-1].shown:
            commands[-1].text += f"\n{line}"
        elif commands:
            commands[-1].shown.append(line)
        else:
            raise ValueError(f"a console block begins with {line!r}, which is no command: write `$ ` before it")
    return commands


def missing(shown: list[str], printed: str) -> str | None:
    """The first line shown that was not printed after those before it; None if all were."""
    lines = [_loose(line) for line in printed.splitlines()]
    at = 0
    for line in shown:
        wanted = _loose(line)
        if not wanted.replace("…", ""):
            continue
        pattern = ".*".join(map(re.escape, wanted.split("…")))
        found = next((index for index in range(at, len(lines)) if re.fullmatch(pattern, lines[index])), None)
        if found is None:
            return line
        at = found + 1
    return None


def _loose(line: str) -> str:
    """A line without what differs from one run to the next."""
    return "".join(_NUMBER.sub("#", line).split())
