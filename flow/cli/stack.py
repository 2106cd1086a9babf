"""`flow stack`: where nodes of a live run are now, line by line."""

from __future__ import annotations

import argparse

from flow.cli.aim import add_words, aimed_at_nodes

EXAMPLE = """examples:
  flow stack learner            its tasks, and its threads that compute
  flow stack                    of every node of the newest run
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "stack",
        help="where nodes of a live run are now, line by line",
        description="Show what each task of a node waits for and what its threads compute. Where a worker's loop "
        "hangs, what holds it is shown instead, also in C code; no debugger is attached.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_words(parser, "[RUN] [NODE]")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Print the stacks."""
    found, node = aimed_at_nodes(arguments, arguments.parser, to_change=False)
    from flow.inspect.session import Session

    with Session(found) as session:
        for replica in session.replicas(node):
            print("\n".join([replica.name, *(f"  {line}" for line in session.stack(replica))]))
    return 0
