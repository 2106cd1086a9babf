"""`flow record`: write what passes a port of a live run to disk, to be played into a node later."""

from __future__ import annotations

import argparse
import math
import shutil
import sys
import time
from pathlib import Path

from flow.cli.aim import add_words, aimed
from flow.errors import ControlError, DiskFullError

EXAMPLE = """examples:
  flow record actor.trajectories -n 100             a hundred messages of the newest run
  flow record laser actor.policy --seconds 60       the questions asked, from the sender's end
  flow record actor.policy --answers -o answers.flow
  flow replay runs/laser-…/recordings/actor.trajectories-….flow replay
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "record",
        help="write what passes a port of a live run to disk",
        description="Write messages as they pass a port, whole, until as many are there, the time is over, or Ctrl-C. "
        "The node does not wait: what comes faster than it can be written is dropped, counted, and said in the "
        "recording. Recorded at the sender's port a message is there also when its receiver dies of it.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_words(parser, "[RUN] NODE.PORT")
    parser.add_argument("-n", "--count", type=int, metavar="N", help="so many messages")
    parser.add_argument("--seconds", type=float, metavar="S", help="for so long; 10 if no count is given either")
    parser.add_argument("--answers", action="store_true", help="what comes to a Call, not what it asks")
    parser.add_argument("--wait", type=float, default=30.0, metavar="S", help="give up when nothing came [%(default)g]")
    parser.add_argument("-o", "--output", type=Path, metavar="RECORDING", help="else in the run's directory")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Record."""
    for name in ("count", "seconds", "wait"):
        if (value := getattr(arguments, name)) is not None and value <= 0:
            arguments.parser.error(f"--{name}: expected more than 0, found {value:g}")
    found, (address,) = aimed(arguments, arguments.parser, 1, to_change=False)
    if arguments.output is not None and arguments.output.exists():
        arguments.parser.error(f"-o {arguments.output} is there already; what lies between two recordings is unknown")
    from flow.inspect.recording import new_file, record, source_of
    from flow.inspect.session import Session
    from storage.recording import RecordingWriter

    source = source_of(found, address, answers=arguments.answers)
    path, failed = arguments.output or new_file(source), False
    seconds = arguments.seconds or (math.inf if arguments.count else 10.0)
    until = time.monotonic() + seconds
    with Session(found) as session, RecordingWriter(path, source.message_type, source.origin) as writer:
        messages = record(session, source, writer, wait_s=arguments.wait, until=until)
        try:
            for count in messages:
                if count == arguments.count:
                    break
        except KeyboardInterrupt:
            pass  # what is there is whole
        except ControlError as error:  # the run ended, for instance, or died of what is recorded now
            print(f"flow record: {error}", file=sys.stderr)
        except DiskFullError as error:  # the run does not notice: its tap finds nobody and is gone
            print(f"flow record: {error}", file=sys.stderr)
            failed = True
    gaps = (
        f", {writer.missed} dropped between them: it has gaps, and says where" if writer.missed else ", without a gap"
    )
    if not writer.count:
        if not failed:
            print(f"flow record: nothing passed {address}; flow top shows who waits", file=sys.stderr)
        shutil.rmtree(path)
        return 1
    into = source.origin["into"][0].rpartition(".")[0]
    print(f"{path}: {writer.count} messages{gaps}\nto play it into a node alone: flow replay {path} {into}")
    return 1 if failed else 0
