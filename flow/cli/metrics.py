"""`flow metrics`: a run's figures for Prometheus."""

from __future__ import annotations

import argparse

from flow.cli.aim import EPILOG_RUN
from flow.errors import MissingError, RunError

EXAMPLE = """examples:
  flow metrics --port 9464            serve the newest run at http://127.0.0.1:9464/metrics, until Ctrl-C
  flow metrics laser --once           print them, of a run that has ended too
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "metrics",
        help="a run's figures for Prometheus",
        description="Serve what the pages of a run count, in Prometheus' text format. Only this process reads them, "
        "when it is asked: the run does not notice. It listens on this machine alone unless told otherwise.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", metavar="RUN", help=EPILOG_RUN)
    parser.add_argument("--port", type=int, default=9464, help="where it listens; 0 for any that is free [%(default)d]")
    parser.add_argument("--host", default="127.0.0.1", help="an address of this machine [%(default)s]")
    parser.add_argument("--once", action="store_true", help="print them and end")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Serve, or print once."""
    if not 0 <= arguments.port < 65536:
        arguments.parser.error(f"--port {arguments.port}: expected 0 to 65535")
    from flow.run_directory import find_run

    found = find_run(arguments.name)
    try:
        from flow.inspect import prometheus
    except ModuleNotFoundError as error:
        raise MissingError(
            "prometheus-client is not installed; run: pip install 'flow-research[prometheus]'"
        ) from error
    if arguments.once:
        from prometheus_client.exposition import generate_latest

        print(generate_latest(prometheus.registry_of(found)).decode(), end="")
        return 0
    try:
        prometheus.serve(found, arguments.host, arguments.port)
    except OSError as error:
        raise RunError(
            f"{arguments.host}:{arguments.port} cannot be had: {error.strerror}; take another with --port"
        ) from error
    except KeyboardInterrupt:
        pass
    return 0
