"""`flow inspect`: the live inspector, in the terminal."""

from __future__ import annotations

import argparse

from flow.errors import MissingError

EXAMPLE = """examples:
  flow inspect                  attaches to the newest run, also to one that has ended or was killed
  flow inspect laser            to the run whose name begins so
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "inspect",
        help="look into a run: its graph, nodes, messages; pause, step, change it",
        description="The live inspector. It reads pages of counters; only what a key asks for is asked of the run.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "name",
        nargs="?",
        metavar="RUN",
        help="name, beginning of a name or directory; else the newest, of ./runs if it has any",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Attach until the user leaves."""
    from flow.run_directory import find_run

    found = find_run(arguments.name, to_change=True)  # a key of it may
    try:
        from flow.inspect.terminal.app import Inspector
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] != "textual":
            raise
        raise MissingError(
            "the inspector's screen is made with Textual, which is not installed; run: pip install "
            f"'flow-research[inspect]'. Without it: flow top {found.name}"
        ) from error
    inspector = Inspector(found)
    inspector.run()
    if inspector.lost is not None:
        raise inspector.lost
    return inspector.return_code or 0
