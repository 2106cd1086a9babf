"""`flow set`: change a live setting of a run."""

from __future__ import annotations

import argparse
import json

from flow.cli.aim import add_words, aimed

EXAMPLE = """examples:
  flow set learner.learning_rate 1e-4         of the newest run, from its next message on
  flow set laser actor[1].speed 2.0           one replica, of the run whose name begins so
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "set",
        help="change a live setting of a run",
        description="Change a setting that its node declares Live. It is held against the setting's type and bounds, "
        "is acknowledged with the message from which it holds, lasts over restarts, and the run's log tells of "
        "it.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_words(parser, "[RUN] NODE.SETTING VALUE")
    parser.add_argument("--json", action="store_true", help="a JSON object a replica")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Set it in each replica that is named."""
    found, (address, text) = aimed(arguments, arguments.parser, 2, to_change=True)
    from flow.inspect.live import value_of
    from flow.inspect.protocol import split_port
    from flow.inspect.session import Session

    node, replica, name = split_port(address)
    with Session(found) as session:
        for one in session.replicas(node if replica is None else f"{node}[{replica}]"):
            told = session.ask(one, "set", name=name, value=value_of(text))
            if arguments.json:
                print(json.dumps({"node": one.node, "replica": one.replica, "setting": name, **told}))
            else:
                what = f"{one.name}.{name}: {told['before']!r} -> {told['value']!r}"
                print(f"{what}, for certain from message {told['holds_from']} on")
    return 0
