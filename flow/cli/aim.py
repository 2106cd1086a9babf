"""What a command is aimed at: a run, and something in it. RUN may be left out, and is the newest then, of ./runs
or else of this machine."""

from __future__ import annotations

import argparse

from flow.errors import RunError
from flow.run_directory import RunDirectory, find_run

EPILOG_RUN = (
    "RUN is a name, the beginning of one or a directory; without it, the newest run of ./runs, or else of this machine."
)


def add_words(parser: argparse.ArgumentParser, usage: str) -> None:
    """Take the command's words; `usage` names them, as in "[RUN] PORT"."""
    parser.usage = f"{parser.prog} {usage} [options]"
    parser.add_argument("words", nargs="*", metavar=usage, help=EPILOG_RUN)
    parser.set_defaults(usage=usage)


def aimed(
    arguments: argparse.Namespace, parser: argparse.ArgumentParser, needed: int, *, to_change: bool
) -> tuple[RunDirectory, list[str]]:
    """The run and the words behind it. needed: how many there must be. to_change: as of `find_run`."""
    words = list(arguments.words)
    if len(words) not in (needed, needed + 1):
        found = f"found {' '.join(words)}" if words else "found nothing"
        parser.error(f"expected {arguments.usage}, {found}")
    name = words.pop(0) if len(words) > needed else None
    return find_run(name, to_change=to_change), words


def aimed_at_nodes(
    arguments: argparse.Namespace, parser: argparse.ArgumentParser, *, to_change: bool
) -> tuple[RunDirectory, str | None]:
    """The run and a node of it, both optional: a single word that is no run is a node of the newest."""
    words = list(arguments.words)
    if len(words) > 2:
        parser.error("expected [RUN] [NODE]")
    if len(words) == 2:
        return find_run(words[0]), words[1]
    if not words:
        return find_run(to_change=to_change), None
    try:
        return find_run(words[0]), None
    except RunError:
        return find_run(to_change=to_change), words[0]
