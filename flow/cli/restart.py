"""`flow restart`: start a node of a live run again."""

from __future__ import annotations

import argparse

from flow.cli.aim import add_words, aimed

EXAMPLE = """examples:
  flow restart learner                with the state it has between two messages
  flow restart laser replay           of the run whose name begins so
  flow restart learner --lose-state   from the last checkpoint, where it never comes to rest
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "restart",
        help="start a node of a live run again",
        description="End a node and start it again in its worker, with the settings that were changed by hand. What "
        "waits in its queues stays; questions under way are asked again where that does no harm.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_words(parser, "[RUN] NODE")
    parser.add_argument("--lose-state", action="store_true", help="go on from the last checkpoint, as after a failure")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Restart each replica that is named."""
    found, (node,) = aimed(arguments, arguments.parser, 1, to_change=True)
    from flow.inspect.session import Session

    with Session(found) as session:
        for replica in session.replicas(node):
            told = session.ask(replica, "restart", lose_state=arguments.lose_state)
            print(f"{replica.name}: started again, its restart {told['restarts']}")
    return 0
