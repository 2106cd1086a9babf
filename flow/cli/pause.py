"""`flow pause`: hold nodes of a live run between two messages."""

from __future__ import annotations

import argparse

from flow.cli.aim import add_words, aimed_at_nodes

EXAMPLE = """examples:
  flow pause                    every node of the newest run
  flow pause learner            one of it; upstream fills up and waits, nothing is lost
  flow pause laser actor[1]     one replica, of the run whose name begins so
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "pause",
        help="hold nodes of a live run between two messages",
        description="Hold nodes once they are done with the message in hand. The run is touched from then on: its log "
        "says so.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_words(parser, "[RUN] [NODE]")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Pause, and say of each node whether it is at rest already."""
    found, node = aimed_at_nodes(arguments, arguments.parser, to_change=True)
    from flow.inspect.session import Session

    with Session(found) as session:
        for replica in session.replicas(node):
            told = session.ask(replica, "pause")
            when = "at rest" if told["at_rest"] else "when it is done with the message in hand"
            print(f"{replica.name}: paused after {told['messages']} messages, {when}")
    return 0
