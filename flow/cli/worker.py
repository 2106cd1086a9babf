"""`flow worker`: take part in a run of another host."""

from __future__ import annotations

import argparse
from pathlib import Path

EXAMPLE = """examples:
  flow worker --join 10.0.0.1:7000 --as rig --secret join.secret
  ssh rig flow worker --join 10.0.0.1:7000 --as rig --secret - < runs/laser_atari-…/join.secret
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "worker",
        help="take part in a run of another host",
        description="Join a run of several hosts, and start the workers that its graph puts on this one. `flow run` "
        "prints the command. It ends when the run does, or soon after the run is gone.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--join", required=True, metavar="HOST:PORT", help="where `flow run` listens")
    parser.add_argument(
        "--secret",
        required=True,
        metavar="FILE",
        help="a copy of join.secret of the run's directory, which only you can read; - for standard input",
    )
    parser.add_argument(
        "--as",
        dest="host",
        default="",
        metavar="NAME",
        help="which host of the graph's [hosts] this one is; can be left out where one is missing",
    )
    parser.add_argument("--runs", type=Path, default=Path("runs"), metavar="DIR", help="where runs go [%(default)s]")
    parser.add_argument(
        "--wait", type=float, default=30.0, metavar="S", help="how long to wait for the run to answer [%(default)g]"
    )
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Join, and return the exit status."""
    host, _, port = arguments.join.removeprefix("tcp://").rpartition(":")
    if not host or not port.isdigit() or not 1 <= int(port) <= 65535:
        arguments.parser.error(f"--join {arguments.join}: expected HOST:PORT, as `flow run` prints it")
    if arguments.wait <= 0:
        arguments.parser.error(f"--wait {arguments.wait:g}: expected more than 0 seconds")
    import trio  # late, so that `flow --help` and wrong use answer at once

    from flow.hosts.agent import Agent
    from flow.hosts.secret import read_secret

    agent = Agent(f"{host}:{port}", read_secret(arguments.secret), arguments.host, arguments.runs, arguments.wait)
    return trio.run(agent.run)
