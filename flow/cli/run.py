"""`flow run`: run a graph, or go on with a run."""

from __future__ import annotations

import argparse
import secrets
from dataclasses import replace
from pathlib import Path

EXAMPLE = """examples:
  flow run graphs/laser_atari.toml
  flow run graphs/laser_atari.toml --set game=breakout --set lanes=64
  flow run graphs/laser_atari.toml --profile tiny
  flow run graphs/digits.toml --deterministic --seed 3      the same weights each time, bit for bit, also if killed
  flow run --resume                     goes on with the newest run of ./runs
  flow run --resume laser_atari-2026    goes on with the run whose name begins so
"""
NEWEST = ""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "run",
        help="run a graph, or go on with a run",
        description="Run a graph. Ctrl-C drains, saves and ends; a second one stops at once.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("graph", nargs="?", type=Path, help="a graph file")
    parser.add_argument("--profile", help="a profile of the graph, such as tiny or paper")
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="PARAM=VALUE", help="set a param")
    parser.add_argument("--seed", type=int, help="seed of everything random; else a new one, written to run.json")
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where runs go [%(default)s]")
    parser.add_argument(
        "--resume",
        nargs="?",
        const=NEWEST,
        metavar="RUN",
        help="go on where a run stopped or was killed; without a name the newest of ./runs or else of this machine",
    )
    parser.add_argument(
        "--checkpoint-every", type=float, default=60.0, metavar="S", help="seconds between checkpoints [%(default)g]"
    )
    parser.add_argument(
        "--stall",
        type=float,
        default=30.0,
        metavar="S",
        help="start a worker again whose loop a call has held for so long; after a third of it that is shown with file "
        "and line, and so is a computation in a thread, which is never ended [%(default)g]",
    )
    _add_hosts(parser)
    parser.add_argument(
        "--deterministic",
        action="store_true",
        help="CPU only, slower: of one seed the same comes out bit for bit, also of a run that was killed and resumed; "
        "the log says which nodes depend on time all the same",
    )
    parser.set_defaults(run=run, parser=parser)


def _add_hosts(parser: argparse.ArgumentParser) -> None:
    """Options of a run of several hosts."""
    parser.add_argument(
        "--await-hosts",
        type=float,
        default=300.0,
        metavar="S",
        help="where the graph has [hosts]: how long to wait for one to join, also again [%(default)g]",
    )
    parser.add_argument(
        "--lost-after",
        type=float,
        default=10.0,
        metavar="S",
        help="where the graph has [hosts]: how long one may be silent before it and its workers are gone [%(default)g]",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run, and return the exit status."""
    if (arguments.graph is None) == (arguments.resume is None):
        arguments.parser.error("give a graph file, or --resume to go on with a run")
    changes = (arguments.sets, arguments.profile, arguments.seed is not None, arguments.deterministic)
    if arguments.resume is not None and any(changes):
        arguments.parser.error("a run goes on as it began: --set, --profile, --seed and --deterministic need a new run")
    if arguments.checkpoint_every <= 0:
        arguments.parser.error(f"--checkpoint-every {arguments.checkpoint_every:g}: expected more than 0 seconds")
    if arguments.stall < 1:
        arguments.parser.error(f"--stall {arguments.stall:g}: expected at least 1 second")
    if arguments.await_hosts <= 0:
        arguments.parser.error(f"--await-hosts {arguments.await_hosts:g}: expected more than 0 seconds")
    if arguments.lost_after < 2:
        arguments.parser.error(f"--lost-after {arguments.lost_after:g}: expected at least 2 seconds")
    # Late, so that `flow --help` and wrong use answer at once.
    from flow.graph.bound import check_memory
    from flow.graph.check import require_closed
    from flow.graph.load import load_graph
    from flow.launch import launch
    from flow.run_directory import RunDirectory, find_run
    from flow.supervisor import Options

    options = Options(
        checkpoint_s=arguments.checkpoint_every,
        stall_s=arguments.stall,
        lost_s=arguments.lost_after,
        await_s=arguments.await_hosts,
        deterministic=arguments.deterministic,
    )
    if arguments.resume is not None:
        directory = find_run(arguments.resume or None, to_change=True)
        graph, about = load_graph(directory.graph_file), directory.about()
        options = replace(options, deterministic=bool(about.get("deterministic")))
        return launch(graph, directory, seed=about["seed"], resumed=True, options=options)
    graph = load_graph(arguments.graph, profile=arguments.profile, sets=arguments.sets)
    require_closed(graph)
    check_memory(graph)
    directory = RunDirectory.create(arguments.runs, arguments.graph.stem)
    seed = arguments.seed if arguments.seed is not None else secrets.randbelow(1 << 31)
    return launch(graph, directory, seed=seed, resumed=False, options=options)
