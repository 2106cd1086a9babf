"""`flow checkpoint`: take a checkpoint of a live run now."""

from __future__ import annotations

import argparse

from flow.cli.aim import EPILOG_RUN

EXAMPLE = """examples:
  flow checkpoint               of the newest run
  flow checkpoint laser         of the run whose name begins so
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "checkpoint",
        help="take a checkpoint of a live run now",
        description="Take the state of every node between two of its messages, as the run does each minute by itself. "
        "Nothing that the run computes changes.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", metavar="RUN", help=EPILOG_RUN)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Take one, and say which."""
    from flow.inspect.session import Session
    from flow.run_directory import find_run

    found = find_run(arguments.name)
    with Session(found) as session:
        number = session.ask_supervisor("checkpoint")["number"]
    print(f"{found.name}: checkpoint {number} is written")
    return 0
