"""`flow tap`: see what passes a port of a live run."""

from __future__ import annotations

import argparse
import json
import sys
import textwrap
from pathlib import Path
from typing import TYPE_CHECKING

from flow.cli.aim import add_words, aimed

if TYPE_CHECKING:
    from flow.inspect.samples import Sample

EXAMPLE = """examples:
  flow tap actor.trajectories                 three messages of the newest run: dtypes, shapes, statistics
  flow tap laser actor[1].policy --follow     what the second actor asks and is answered, until Ctrl-C
  flow tap actor.trajectories -n 1 --save .   arrays as NPY, pictures as PNG, sound as WAV
"""
FOREVER_S = 1e9


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "tap",
        help="see what passes a port of a live run",
        description="Copy messages as they pass a port. The node does not wait: what comes faster than it can be sent "
        "here is dropped for this tap and counted.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_words(parser, "[RUN] NODE.PORT")
    parser.add_argument("-n", "--count", type=int, default=3, help="messages of each replica [%(default)s]")
    parser.add_argument("--follow", action="store_true", help="go on until Ctrl-C")
    parser.add_argument("--every", type=int, default=1, metavar="K", help="only each K-th message [%(default)s]")
    parser.add_argument("--hz", type=float, default=0.0, help="at most so many a second; 0 for no bound [%(default)g]")
    parser.add_argument(
        "--most", type=float, default=16.0, metavar="MIB", help="of a message; more is cut [%(default)g]"
    )
    parser.add_argument("--wait", type=float, default=30.0, metavar="S", help="give up when nothing came [%(default)g]")
    parser.add_argument("--save", nargs="?", const="", metavar="DIR", help="write NPY, PNG, WAV files")
    parser.add_argument("--json", action="store_true", help="a JSON object a message")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Open the tap and print what comes."""
    for name in ("count", "every", "most", "wait"):
        if getattr(arguments, name) <= 0:
            arguments.parser.error(f"--{name}: expected more than 0, found {getattr(arguments, name):g}")
    if arguments.save == "":
        arguments.parser.error("--save: expected a directory to write to, as in --save . at the end of the line")
    found, (address,) = aimed(arguments, arguments.parser, 1, to_change=False)
    from flow.inspect.protocol import split_port
    from flow.inspect.session import Session
    from flow.inspect.shown import Shower

    node, replica, port = split_port(address)
    shower = Shower(found, node, port)
    wanted = node if replica is None else f"{node}[{replica}]"
    with Session(found) as session:
        replicas = session.replicas(wanted)
        left = len(replicas) * arguments.count
        samples = session.tap(
            replicas,
            port,
            seconds=FOREVER_S if arguments.follow else arguments.wait,
            every=arguments.every,
            hz_max=arguments.hz,
            count=0 if arguments.follow else arguments.count,
            most_bytes=int(arguments.most * 2**20),
        )
        for one, sample in samples:
            _tell(f"{one.name}.{port}", sample, shower.texts(sample), arguments)
            left -= 1
            if left == 0 and not arguments.follow:
                return 0
    print(f"flow tap: nothing passed {address} for {arguments.wait:g} s; flow top shows who waits", file=sys.stderr)
    return 1


def _tell(title: str, sample: Sample, texts: list[str], arguments: argparse.Namespace) -> None:
    """Print a sample, with what its message shows of itself, and save it if that is wanted."""
    from flow.inspect.exports import save, save_texts
    from flow.view.sample import sample_json, sample_lines

    if arguments.json:
        print(json.dumps({**sample_json(title, sample), "shown": texts}), flush=True)
    else:
        boards = [f"\n{textwrap.indent(text, '    ')}\n" for text in texts]
        print("\n".join([*sample_lines(title, sample), *boards]), flush=True)
    if arguments.save is not None:
        folder, name = Path(arguments.save), f"{title}-{sample.number:06d}"
        for path in [*save(sample, folder, name), *save_texts(texts, folder, name)]:
            print(f"  wrote {path}", file=sys.stderr, flush=True)
