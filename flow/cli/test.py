"""`flow test`: holds any node, or every node of a graph, to the contract."""

from __future__ import annotations

import argparse

from flow.errors import MissingError

EXAMPLE = """examples:
  flow test nodes.serve.policy:policy
  flow test my_nodes.py:chunker --rule C07 --setting seconds=0.5
  flow test graphs/laser_atari.toml --level full
  flow test --rules
"""
LEVELS = ("quick", "full", "soak")


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "test",
        help="hold a node, or each node of a graph, to the contract",
        description="Hold a node, or every node of a graph with the graph's settings, to the numbered rules that any "
        "node keeps. A failure prints a pytest that shows it again.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("target", nargs="*", metavar="TARGET", help='"module:node", "file.py:node" or a graph file')
    parser.add_argument("--rules", action="store_true", help="list the rules, a line each")
    parser.add_argument("--rule", action="append", default=[], metavar="C07", help="this rule alone; can be repeated")
    parser.add_argument(
        "--level", choices=LEVELS, default="quick", help="how long it may take: 2 s a node, 30 s, minutes"
    )
    parser.add_argument(
        "--setting", action="append", default=[], metavar="KEY=VALUE", help="of the node; can be repeated"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="other examples than those of seed 0")
    parser.add_argument("--json", action="store_true", help="one JSON array, for scripts")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Test what is asked for and say what was found."""
    try:
        from flow.testing import command
    except ModuleNotFoundError as error:
        raise MissingError(
            f"flow test needs the package '{error.name}', which is not installed; "
            'pip install "flow-research[testing]"'
        ) from error
    return command.run(arguments)
