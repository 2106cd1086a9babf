"""Docstrings as Markdown. They are written for a terminal: pictures and tables stand in them as they are.

text                    ► text
    a picture, a call   ► a block of code
| port | other end |    ► a block of code: such tables have no ruled head
Args:                   ► a list
  name: what it is
"""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator
from itertools import groupby

SECTIONS = ("Args", "Raises", "Returns", "Yields", "Attributes")


def as_markdown(doc: str) -> str:
    """A docstring, already without its own indentation, as Markdown."""
    parts = [_list(lines[0], lines[1:]) if _is_section(lines) else _text(lines) for lines in _paragraphs(doc)]
    return "\n\n".join(parts)


def _paragraphs(doc: str) -> Iterator[list[str]]:
    """Lines between blank ones; a section ends where a line stands at the margin again."""
    lines: list[str] = []
    for line in doc.expandtabs().splitlines():
        section = bool(lines) and _is_section(lines)
        if section and line.strip() and not line.startswith(" "):
            yield lines
            lines = []
        if line.strip() or section:
            begins = bool(re.fullmatch(rf"({'|'.join(SECTIONS)}):", line.rstrip()))
            if begins and lines:
                yield lines
                lines = []
            lines.append(line.rstrip())
        elif lines:
            yield lines
            lines = []
    if lines:
        yield lines


def _is_section(lines: list[str]) -> bool:
    return lines[0].removesuffix(":") in SECTIONS and lines[0].endswith(":")


def _list(head: str, lines: list[str]) -> str:
    items: list[str] = []
    margin = min((len(line) - len(line.lstrip()) for line in lines if line), default=0)
    for line in filter(None, lines):
        name, colon, text = line.strip().partition(": ")
        if len(line) - len(line.lstrip()) > margin and items:
            items[-1] += f" {line.strip()}"
        elif colon and re.fullmatch(r"[\w, .*]+", name):
            items.append(f"- {', '.join(f'`{each.strip()}`' for each in name.split(','))}: {text}")
        else:
            items.append(f"- {line.strip()}")
    return f"**{head.removesuffix(':')}**\n\n" + "\n".join(items)


def _text(lines: list[str]) -> str:
    """Text at the margin, and blocks of code of what is indented or drawn with |."""
    parts = []
    for drawn, group in groupby(lines, key=lambda line: line.startswith(("    ", "|", "  "))):
        block = "\n".join(group)
        parts.append(fenced(textwrap.dedent(block)) if drawn else block)
    return "\n\n".join(parts)


def fenced(text: str, language: str = "text") -> str:
    """A block of code, with a fence longer than any in it."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall(r"`{3,}", text)), default=0))
    return f"{fence}{language}\n{text}\n{fence}"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table; "" for no rows."""
    if not rows:
        return ""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(
        "| " + " | ".join(cell.replace("|", r"\|").replace("\n", " ") for cell in row) + " |" for row in lines
    )


def code(text: str) -> str:
    """Text as it is, within a line."""
    ticks = "``" if "`" in text else "`"
    return f"{ticks}{text}{ticks}" if text else ""
