"""`flow tap`: see what passes a port of a live run."""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow.cli.aim import add_words, aimed

if TYPE_CHECKING:
    from flow.inspect.samples import Sample, SampledArray

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
    parser.add_argument("--save", type=Path, metavar="DIR", help="write arrays as NPY, pictures as PNG, sound as WAV")
    parser.add_argument("--json", action="store_true", help="a JSON object a message")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Open the tap and print what comes."""
    for name in ("count", "every", "most", "wait"):
        if getattr(arguments, name) <= 0:
            arguments.parser.error(f"--{name}: expected more than 0, found {getattr(arguments, name):g}")
    found, (address,) = aimed(arguments, arguments.parser, 1)
    from flow.inspect.exports import save
    from flow.inspect.protocol import split_port
    from flow.inspect.session import Session

    node, replica, port = split_port(address)
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
            title = f"{one.name}.{port}"
            print(json.dumps(as_json(title, sample)) if arguments.json else "\n".join(lines(title, sample)), flush=True)
            if arguments.save is not None:
                for path in save(sample, arguments.save, f"{title}-{sample.number:06d}"):
                    print(f"  wrote {path}", file=sys.stderr, flush=True)
            left -= 1
            if left == 0 and not arguments.follow:
                return 0
    print(f"flow tap: nothing passed {address} for {arguments.wait:g} s; flow top shows who waits", file=sys.stderr)
    return 1


def lines(title: str, sample: Sample) -> list[str]:
    """A sample for people."""
    from flow.inspect.samples import SampledArray

    clock = time.strftime("%H:%M:%S", time.localtime(sample.time)) + f".{int(sample.time % 1 * 1000):03d}"
    missed = (f"  {sample.skipped} skipped" if sample.skipped else "") + (
        f"  {sample.dropped} dropped" if sample.dropped else ""
    )
    found = [f"{title} #{sample.number}  {clock}  {sample.what} {sample.type}{missed}"]
    width = max((len(name) for name in sample.fields), default=0)
    for name, value in sample.fields.items():
        said = array_line(value) if isinstance(value, SampledArray) else f"{type(value).__name__:<8} {value!r:.80}"
        found.append(f"  {name:<{width}}  {said}")
    return found


def array_line(value: SampledArray) -> str:
    """dtype, shape and statistics of an array."""
    from flow.inspect.statistics import statistics
    from flow.view.numbers import real

    found = statistics(value.values)
    shape = f"({', '.join(map(str, value.shape))})"
    parts = [f"{value.values.dtype.name:<8} {shape:<22}"]
    if found.least is not None and found.most is not None:
        parts.append(f"{real(found.least)} to {real(found.most)}")
    if found.mean is not None and found.spread is not None:
        parts.append(f"mean {real(found.mean)} ± {real(found.spread)}")
    parts += [f"{found.nans} NaN"] if found.nans else []
    parts += [f"{found.infinities} infinite"] if found.infinities else []
    if value.is_cut:
        parts.append(f"of its first ({', '.join(map(str, value.values.shape))})")
    return "  ".join(parts)


def as_json(title: str, sample: Sample) -> dict[str, Any]:
    """A sample for scripts: statistics in place of arrays."""
    from dataclasses import asdict

    from flow.inspect.samples import SampledArray
    from flow.inspect.statistics import statistics

    fields: dict[str, Any] = {}
    for name, value in sample.fields.items():
        if isinstance(value, SampledArray):
            shown = {"dtype": value.values.dtype.name, "shape": value.shape, "of_first": value.values.shape}
            fields[name] = {**shown, **asdict(statistics(value.values))}
        else:
            fields[name] = None if isinstance(value, float) and not math.isfinite(value) else value
    return {**{key: item for key, item in vars(sample).items() if key != "fields"}, "port": title, "fields": fields}
