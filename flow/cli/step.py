"""`flow step`: let a paused node take a few messages."""

from __future__ import annotations

import argparse

from flow.cli.aim import add_words, aimed

EXAMPLE = """examples:
  flow step learner             one message
  flow step laser learner -n 5  five, of the run whose name begins so
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "step",
        help="let a paused node take a few messages",
        description="Let a node that flow pause holds take messages, and hold it again after them.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_words(parser, "[RUN] NODE")
    parser.add_argument("-n", "--count", type=int, default=1, help="messages [%(default)s]")
    parser.add_argument("--wait", type=float, default=10.0, metavar="S", help="for them to come [%(default)g]")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Step, and say how many messages passed."""
    found, (node,) = aimed(arguments, arguments.parser, 1, to_change=True)
    from flow.inspect.session import Session

    whole = True
    with Session(found) as session:
        for replica in session.replicas(node):
            wait = arguments.wait
            told = session.ask(replica, "step", count=arguments.count, wait_s=wait, seconds=wait + 10)
            whole = whole and told["passed"] == arguments.count
            print(f"{replica.name}: {told['passed']} of {arguments.count} passed, {told['messages']} in all")
    return 0 if whole else 1
