"""`flow play`: play a board game against what a run has learned."""

from __future__ import annotations

import argparse
import secrets
from pathlib import Path

EXAMPLE = """examples:
  flow play graphs/muzero_connect4.toml                 against the newest run's newest checkpoint; you begin
  flow play graphs/muzero_nim.toml --profile tiny       of a run with that profile
  flow play graphs/muzero_chess.toml --run muzero_chess-2026 --side second --simulations 200
"""
SIDES = ("first", "second")


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "play",
        help="play a board game against what a run has learned",
        description="Play a board game in the terminal against a checkpoint of a run. Moves are typed in the game's "
        "own notation; ? lists them, q ends.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("graph", type=Path, help="a graph file of a board game")
    parser.add_argument("--run", metavar="RUN", dest="name", help="which run; else the newest of this graph")
    parser.add_argument("--profile", help="a profile of the graph, such as tiny, that the run had")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="PARAM=VALUE", help="set a param")
    parser.add_argument("--side", choices=SIDES, default=SIDES[0], help="whether you move first [%(default)s]")
    parser.add_argument("--simulations", type=int, metavar="N", help="of each search; else as the graph says")
    parser.add_argument("--seed", type=int, help="of where the game begins, in games with several starts")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Play one game."""
    if arguments.simulations is not None and arguments.simulations < 1:
        arguments.parser.error(f"--simulations {arguments.simulations}: a search takes 1 or more")
    # Late, so that `flow --help` and wrong use answer at once.
    from flow.graph.load import load_graph
    from flow.playing import begin, choose

    graph = load_graph(arguments.graph, profile=arguments.profile, sets=arguments.sets)
    choice = choose(arguments.graph, graph, arguments.name)
    seed = arguments.seed if arguments.seed is not None else secrets.randbelow(1 << 31)
    side = SIDES.index(arguments.side)
    begin(choice, arguments.graph, graph, side=side, simulations=arguments.simulations, seed=seed)
    return 0
