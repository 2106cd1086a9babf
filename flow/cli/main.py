"""The `flow` command.

Exit status: 0, the run or the check succeeded; 1, it failed; 2, the command was used wrongly; 130, it was
interrupted.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Sequence

from flow.errors import FlowError

# The commands in the order that `flow --help` lists them: the module of each. Only the one asked for is imported,
# so that each starts as fast as what it needs.
COMMANDS = {
    "run": "flow.cli.run",
    "worker": "flow.cli.worker",
    "check": "flow.cli.check",
    "draw": "flow.cli.draw",
    "nodes": "flow.cli.nodes",
    "new": "flow.cli.new",
    "schema": "flow.cli.schema",
    "test": "flow.cli.test",
    "data": "flow.cli.data",
    "ps": "flow.cli.ps",
    "top": "flow.cli.top",
    "inspect": "flow.cli.inspect",
    "tap": "flow.cli.tap",
    "trace": "flow.cli.trace",
    "record": "flow.cli.record",
    "replay": "flow.cli.replay",
    "play": "flow.cli.play",
    "metrics": "flow.cli.metrics",
    "stack": "flow.cli.stack",
    "set": "flow.cli.set",
    "pause": "flow.cli.pause",
    "resume": "flow.cli.resume",
    "step": "flow.cli.step",
    "restart": "flow.cli.restart",
    "inject": "flow.cli.inject",
    "checkpoint": "flow.cli.checkpoint",
    "stop": "flow.cli.stop",
}
INTERRUPTED = 130  # what a shell expects of a program that Ctrl-C ended
EXAMPLE = """examples:
  flow run graphs/laser_atari.toml
  flow check graphs/*.toml
  flow draw graphs/laser_atari.toml -o laser.svg
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit status."""
    # As `python -m` does: node types of one's own stand in the directory that one is in.
    if os.getcwd() not in sys.path and "" not in sys.path:
        sys.path.insert(0, os.getcwd())
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        arguments = _parser(words).parse_args(words)
    except SystemExit as stop:  # argparse has said what is wrong, or has printed the help
        return int(stop.code or 0)
    try:
        return int(arguments.run(arguments))
    except FlowError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:  # before there was anything to drain, or after all was saved
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader of our output has gone, `flow nodes | head` for instance; say nothing at exit either.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser(words: Sequence[str]) -> argparse.ArgumentParser:
    """A parser with the command that is asked for, or with all for the help."""
    parser = argparse.ArgumentParser(
        prog="flow",
        description="Machine-learning research as a graph of async nodes.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(metavar="COMMAND", required=True)
    asked = words[0] if words else ""
    for name, module in COMMANDS.items():
        if asked not in COMMANDS or asked == name:
            importlib.import_module(module).add(subparsers)
    return parser
