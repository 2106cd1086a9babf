"""`flow top`: how every node and edge of a run stands, and what the run waits for."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict

EXAMPLE = """examples:
  flow top                      the newest run, once a second until Ctrl-C
  flow top --once               a single look, also at a run that has ended or was killed
  flow top laser --once --json  for scripts: every node, edge and worker
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "top",
        help="how every node and edge of a run stands, and what the run waits for",
        description="Show what each node does, what each edge carries, and the bottleneck. Reads pages of counters "
        "alone: the run does not notice, and one that was killed can still be read.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "name",
        nargs="?",
        metavar="RUN",
        help="name, beginning of a name or directory; else the newest, of ./runs if it has any",
    )
    parser.add_argument("--once", action="store_true", help="look once and end")
    parser.add_argument("--json", action="store_true", help="one JSON object, for scripts; a line a look if repeated")
    parser.add_argument("--every", type=float, default=1.0, metavar="S", help="seconds between looks [%(default)g]")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Look, once or until interrupted."""
    if arguments.every < 0.1:
        arguments.parser.error(f"--every {arguments.every:g}: expected at least 0.1 seconds")
    from flow.inspect.overview import Look
    from flow.run_directory import find_run
    from flow.view.overview import overview_lines

    look = Look(find_run(arguments.name))
    if arguments.once:
        overview = look.now()
        print(json.dumps(asdict(overview), indent=1) if arguments.json else "\n".join(overview_lines(overview)))
        return 0
    if arguments.json:
        while True:
            print(json.dumps(asdict(look.now())), flush=True)
            time.sleep(arguments.every)
    if not sys.stdout.isatty():
        while True:
            print("\n".join([*overview_lines(look.now()), ""]), flush=True)
            time.sleep(arguments.every)
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    def page() -> Text:
        return Text("\n".join(overview_lines(look.now())), no_wrap=True, overflow="crop")

    try:
        with Live(page(), console=Console(), screen=True, auto_refresh=False) as live:
            while True:
                time.sleep(arguments.every)
                live.update(page(), refresh=True)
    except KeyboardInterrupt:
        return 0
