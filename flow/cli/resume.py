"""`flow resume`: let paused nodes of a live run go on."""

from __future__ import annotations

import argparse

from flow.cli.aim import add_words, aimed_at_nodes

EXAMPLE = """examples:
  flow resume                   every node of the newest run
  flow resume laser actor[1]    one replica, of the run whose name begins so
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "resume",
        help="let paused nodes of a live run go on",
        description="Let nodes that flow pause holds go on.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_words(parser, "[RUN] [NODE]")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Resume."""
    found, node = aimed_at_nodes(arguments, arguments.parser, to_change=True)
    from flow.inspect.session import Session

    with Session(found) as session:
        held = [(one, told) for one in session.replicas(node) if (told := session.ask(one, "resume"))["was_paused"]]
    for replica, told in held:
        print(f"{replica.name}: goes on after {told['messages']} messages")
    if not held:
        print(f"{found.name}: none of {node or 'its nodes'} was paused")
    return 0
