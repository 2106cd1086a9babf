"""`flow test`: holds any node, or every node of a graph, to the contract."""

from __future__ import annotations

import argparse

from flow.cli.check import add_variant
from flow.errors import MissingError, SettingError

EXAMPLE = """examples:
  flow test nodes.serve.policy:policy
  flow test my_nodes.py:chunker --rule C07 --setting seconds=0.5
  flow test graphs/laser_atari.toml --level full
  flow test --rules
  flow test --simulate graphs/laser_atari.toml --profile tiny --faults --runs 20
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
    _add_simulation(parser)
    parser.add_argument("--json", action="store_true", help="one JSON array, for scripts")
    parser.set_defaults(run=run)


def _add_simulation(parser: argparse.ArgumentParser) -> None:
    simulation = parser.add_argument_group("simulated runs")
    simulation.add_argument(
        "--simulate", action="store_true", help="run whole graphs in one thread and virtual time, a run a seed"
    )
    simulation.add_argument(
        "--faults",
        nargs="?",
        const="",
        metavar="KINDS",
        help="with what goes wrong: raise,kill,late,hang,disk, or also full,stop; without a name, the first five",
    )
    simulation.add_argument("--runs", type=int, metavar="N", help="seeds, from --seed on; 100 if not given")
    simulation.add_argument("--jobs", type=int, metavar="N", help="processes; 1 if not given")
    simulation.add_argument("--check", metavar="MODULE:FUNCTION", help="says what is wrong with a run that is over")
    add_variant(simulation)


def run(arguments: argparse.Namespace) -> int:
    """Test what is asked for and say what was found."""
    for option in () if arguments.simulate else ("faults", "runs", "jobs", "check"):
        if getattr(arguments, option) is not None:
            raise SettingError(f"--{option} is about simulated runs: say --simulate too, or leave it out")
    try:
        if arguments.simulate:
            from flow.testing.simulation import command as simulation

            return simulation.run(arguments)
        from flow.testing import command
    except ModuleNotFoundError as error:
        raise MissingError(
            f"flow test needs the package '{error.name}', which is not installed; "
            'pip install "flow-research[testing]", or in a checkout of flow: pip install -e ".[testing]"'
        ) from error
    return command.run(arguments)
