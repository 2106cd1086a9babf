"""`flow replay`: play a recording into one node alone, in this process."""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow.errors import ControlError, FlowError, SettingError

if TYPE_CHECKING:
    from flow.inspect.replaying import Feed, Replay
    from flow.inspect.resolved import ResolvedNode
    from flow.message import Message
    from storage.recording import RecordingReader

EXAMPLE = """examples:
  flow replay runs/…/recordings/actor.trajectories-….flow learner
  flow replay trajectories.flow learner --debug              a debugger at what it raises
  flow replay trajectories.flow learner --set batch=4 --record weights=weights.flow
  flow replay numbers.flow asker --feed twice=answers.flow    what its Call is answered
  python -m pdb -m flow replay trajectories.flow learner      breakpoints: b nodes/learn/vtrace.py:80, then c
A line breakpoint() in the node's code stops there too: it runs in this process, its computations included.
"""
SHOWN_BYTES = 1 << 20


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "replay",
        help="play a recording into one node alone",
        description="Run one node in this process, with the settings and the seed it has in the run that was recorded, "
        "and play a recording into it. Its other ports are closed, or fed from further recordings. What it "
        "sends is printed. If it raises what it raised live, the fault can be had again as often as wanted.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("recording", type=Path, metavar="RECORDING", help="made by flow record or a recording node")
    parser.add_argument("node", metavar="NODE", help="of the run: actor, or actor[1] for its second replica")
    parser.add_argument("--run", dest="of", metavar="RUN", help="whose node it is; else the run that was recorded")
    parser.add_argument("--port", help="where it is played into; else the port that was recorded")
    parser.add_argument(
        "--feed", action="append", default=[], metavar="PORT=RECORDING", help="a recording for another port of it"
    )
    parser.add_argument("--set", dest="sets", action="append", default=[], metavar="SETTING=VALUE", help="change one")
    parser.add_argument("--start", type=int, default=0, metavar="K", help="begin with message K [%(default)d]")
    parser.add_argument("-n", "--count", type=int, metavar="N", help="at most so many messages")
    parser.add_argument("--state", action="store_true", help="go on from its state in the newest checkpoint of the run")
    parser.add_argument(
        "--record",
        action="append",
        default=[],
        metavar="PORT=RECORDING",
        help="record what it sends, instead of a print",
    )
    parser.add_argument("--debug", action="store_true", help="open pdb at what it raises")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Replay; 1 if the node raised."""
    from flow.inspect.replaying import Feed, Replay
    from flow.inspect.resolved import resolved_graph, resolved_node
    from flow.run_directory import RunDirectory, find_run
    from storage.recording import RecordingReader

    with ExitStack() as stack:
        main = stack.enter_context(RecordingReader(arguments.recording))
        if arguments.of is None and "run" not in main.origin:
            arguments.parser.error(f"{arguments.recording} does not say of which run it is; give --run RUN")
        found = find_run(arguments.of) if arguments.of else RunDirectory.open(Path(main.origin["run"]))
        node = resolved_node(found, resolved_graph(found), arguments.node)
        port = arguments.port or _port_for(main, node)
        feeds: dict[str, Feed] = {}
        for name, file in ((port, None), *_pairs(arguments, "feed")):
            reader = main if file is None else stack.enter_context(RecordingReader(Path(file)))
            begin = arguments.start if file is None else 0
            stop = None if file is not None or arguments.count is None else begin + arguments.count
            feeds[name] = Feed(_messages(reader, node, name, begin, stop))
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="flow-replay-")))
        replay = Replay(node, feeds, directory, lambda port, what, message: None, _settings(arguments, node))
        replay.told = _telling(stack, arguments, node)
        replay.log = lambda text, level: print(f"  log {level}: {text}")
        replay.state = _state(arguments, found, node)
        return _play(arguments, replay, feeds[port], port)


def _play(arguments: argparse.Namespace, replay: Replay, feed: Feed, port: str) -> int:
    title = f"{replay.node.plan.name}.{port}"
    try:
        replay.run()
    except Exception as error:
        from flow.host import first_cause

        first = first_cause(error)
        number = arguments.start + feed.taken - 1
        sys.stdout.flush()
        traceback.print_exception(error)
        where = f"with message {number} of {arguments.recording} in hand" if feed.taken else "before its first message"
        print(f"{title}: raised {type(first).__name__} {where}", file=sys.stderr, flush=True)
        if arguments.debug:
            import pdb

            pdb.post_mortem(first.__traceback__)
        return 1
    print(f"{title}: took {feed.taken} messages of {arguments.recording} and ended")
    empty = [name for name, each in replay.feeds.items() if name != port and not each.taken]
    if not feed.taken and empty:
        print(
            f"nothing was given to {', '.join(empty)}; if it waits for that, give it: --feed PORT=RECORDING",
            file=sys.stderr,
        )
    return 0


def _pairs(arguments: argparse.Namespace, option: str) -> list[tuple[str, str]]:
    pairs = [tuple(text.partition("=")[::2]) for text in getattr(arguments, option)]
    for text, (name, value) in zip(getattr(arguments, option), pairs, strict=True):
        if not name or not value:
            arguments.parser.error(f"--{option} {text}: expected NAME=VALUE")
    return [(name, value) for name, value in pairs]


def _port_for(reader: RecordingReader, node: ResolvedNode) -> str:
    """The port of a node that a recording was on its way to."""
    name = node.plan.name
    into = [each.rpartition(".") for each in reader.origin.get("into", [])]
    found = [port for owner, _, port in into if owner == name and port in node.type.ports]
    if not found and len(takes := [p.name for p in node.type.ports.values() if p.kind in ("In", "Serve")]) == 1:
        found = takes
    if not found:
        raise ControlError(f"{reader.path} was not on its way to {name}; name the port with --port")
    return str(found[0])


def _messages(
    reader: RecordingReader, node: ResolvedNode, name: str, begin: int, stop: int | None
) -> Iterator[Message]:
    """A recording's messages as a port of the node takes them; gaps are told as they come.

    Raises:
      ControlError: the node has no such port, or it takes other messages.
    """
    from flow.generic import derived
    from flow.message import conformed, misfits

    port = node.type.ports.get(name)
    if port is None:
        raise ControlError(f"{node.plan.name} has no port '{name}'; it has {', '.join(node.type.ports)}")
    if port.kind in ("Out", "Publish"):
        raise ControlError(f"{node.plan.name}.{name} sends; a recording is played into a port that takes messages")
    wanted = port.messages[1 if port.kind == "Call" else 0]
    if not reader.fields:
        raise ControlError(f"{reader.path} holds nothing")
    type_ = derived(reader.name, reader.fields)
    wrong = misfits(type_, {}, wanted, node.type.port_sizes(name, node.settings))
    if wrong:
        raise ControlError(
            f"{reader.path} holds {reader.name}, which {node.plan.name}.{name} does not take: {wrong[0]}"
        )

    def each() -> Iterator[Message]:
        for number, one in enumerate(islice(reader.recorded(type_, begin), stop and stop - begin), begin):
            if one.missed and number > begin:
                print(f"  {one.missed} messages before message {number} are missing in {reader.path}", file=sys.stderr)
            yield conformed(one.message, wanted)

    return each()


def _settings(arguments: argparse.Namespace, node: ResolvedNode) -> dict[str, Any]:
    from flow.inspect.live import value_of

    settings = {name: node.settings.get(name, each.default) for name, each in node.type.settings.items()}
    for name, text in _pairs(arguments, "sets"):
        if name not in node.type.settings:
            raise SettingError(f"{node.plan.name} has no setting '{name}'; it has {', '.join(settings) or 'none'}")
        try:
            settings[name] = node.type.settings[name].accept(value_of(text))
        except SettingError as error:
            raise SettingError(f"{node.plan.name}.{name}: {error}") from error
    return settings


def _telling(stack: ExitStack, arguments: argparse.Namespace, node: ResolvedNode) -> Any:
    """Prints or records what the node sends."""
    from flow.inspect.samples import fields_of, read_sample
    from flow.view.sample import sample_lines
    from storage.recording import RecordingWriter

    writers = {}
    for name, file in _pairs(arguments, "record"):
        port = node.type.ports.get(name)
        if port is None or not (port.sends or port.kind == "Serve"):
            raise ControlError(f"--record {name}: {node.plan.name} has no port '{name}' that sends")
        message = port.messages[1 if port.kind == "Serve" else 0]
        writers[name] = stack.enter_context(RecordingWriter(Path(file), message))
    counts: dict[str, int] = {}

    def told(port: str, what: str, message: Message) -> None:
        number = counts[port] = counts.get(port, -1) + 1
        if port in writers:
            writers[port].write(message)
            return
        seen = {"type": type(message).__name__, "what": what, "number": number, "time": 0.0, "skipped": 0, "dropped": 0}
        sample = read_sample({**seen, "fields": fields_of(message, SHOWN_BYTES)})
        lines = sample_lines(f"{node.plan.name}.{port}", sample)
        print("\n".join([f"{node.plan.name}.{port} #{number}  {what} {type(message).__name__}", *lines[1:]]))

    return told


def _state(arguments: argparse.Namespace, found: Any, node: ResolvedNode) -> dict[str, Any] | None:
    if not arguments.state:
        return None
    from flow import checkpoints, saved

    newest, _ = checkpoints.newest(found.checkpoints)
    state = None if newest is None else saved.read(newest.directory, node.plan.key)
    if state is None:
        raise FlowError(f"{found.name} has no checkpoint with a state of {node.plan.key}; replay without --state")
    return state
