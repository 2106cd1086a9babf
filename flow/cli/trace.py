"""`flow trace`: write down what every node of a live run does for a while, as a timeline."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from flow.cli.aim import EPILOG_RUN

EXAMPLE = """examples:
  flow trace                                 ten seconds of the newest run, to trace.json
  flow trace laser --seconds 2 -o two.json   then open https://ui.perfetto.dev and drop the file there
"""
SECONDS_MAX = 600.0


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "trace",
        help="write a timeline of a live run, for Perfetto",
        description="Write down for a while when each node waited, handled, sent, was blocked, asked, answered and "
        "computed, and the way of each message from node to node. The run keeps what was not fetched yet in bounded "
        "memory, and counts what did not fit; when no trace is taken, this costs it nothing.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", metavar="RUN", help=EPILOG_RUN)
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="for how long [%(default)g]")
    parser.add_argument("-o", "--output", type=Path, default=Path("trace.json"), metavar="FILE", help="[%(default)s]")
    parser.add_argument(
        "--most", type=int, default=1_000_000, metavar="N", help="records of each worker, 56 bytes each [%(default)d]"
    )
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Take a trace and write it."""
    if not 0 < arguments.seconds <= SECONDS_MAX:
        arguments.parser.error(f"--seconds {arguments.seconds:g}: expected more than 0 and at most {SECONDS_MAX:g}")
    output: Path = arguments.output
    if not output.absolute().parent.is_dir():
        arguments.parser.error(f"-o {output}: there is no directory {output.absolute().parent}")
    from flow.inspect.timeline import take
    from flow.run_directory import find_run

    timeline = take(find_run(arguments.name), arguments.seconds, most=arguments.most)
    timeline.write(output)
    lost = f", {timeline.dropped} dropped since there was no room; use --most or fewer --seconds"
    workers = {worker.worker for worker in timeline.workers}
    print(
        f"{output}: {timeline.records} records of {len(workers)} workers in {timeline.seconds:g} s"
        f"{lost if timeline.dropped else ''}; open it at https://ui.perfetto.dev"
    )
    for number, worker in enumerate(timeline.workers, 1):
        if worker.gone:
            later = [each.again for each in timeline.workers[number:] if each.worker == worker.worker]
            again = "the one started in its place is in the trace too" if later[:1] == [True] else "it is traced again"
            after = f"; {again}" if later else ""
            print(f"flow trace: worker {worker.worker} was not there to the end: {worker.gone}{after}", file=sys.stderr)
    return 0
