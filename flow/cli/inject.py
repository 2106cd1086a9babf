"""`flow inject`: put a message into a port of a live run."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flow.errors import ControlError

if TYPE_CHECKING:
    from flow.message import Field, Message

EXAMPLE = """examples:
  flow inject sink.numbers 'values=[1, 2, 3]'            a message, field by field
  flow inject server.requests values=@question.npy       an array from a file; the answer is printed
  flow inject laser learner.trajectories --from trajectories.flow --at 17
"""


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "inject",
        help="put a message into a port of a live run",
        description="Put a message into a port that takes some; it waits there with the others. It is held to the "
        "port's type. The run is touched from then on: its log says so.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.usage = f"{parser.prog} [RUN] NODE.PORT [FIELD=VALUE ...] [options]"
    parser.add_argument(
        "words", nargs="*", metavar="[RUN] NODE.PORT FIELD=VALUE", help="a value as in a graph file, or @FILE.npy"
    )
    parser.add_argument("--from", dest="recording", type=Path, metavar="FILE", help="a message of a recording instead")
    parser.add_argument("--at", type=int, default=0, metavar="K", help="which of its messages [%(default)d]")
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> int:
    """Inject into each replica that is named."""
    aim = [word for word in arguments.words if "=" not in word]
    fields = [word.partition("=")[::2] for word in arguments.words if "=" in word]
    if len(aim) not in (1, 2) or bool(fields) == bool(arguments.recording):
        arguments.parser.error("expected [RUN] NODE.PORT and either FIELD=VALUE ... or --from FILE")
    from flow.inspect.protocol import split_port
    from flow.inspect.resolved import resolved_graph
    from flow.inspect.samples import SampledArray, fields_of, read_fields
    from flow.inspect.session import Session
    from flow.run_directory import find_run
    from flow.view.sample import array_line

    found = find_run(aim[0] if len(aim) == 2 else None, to_change=True)
    node, replica, port = split_port(aim[-1])
    graph = resolved_graph(found)
    with Session(found) as session:
        replicas = session.replicas(node if replica is None else f"{node}[{replica}]")
        known = graph.nodes[node].type.ports
        if port not in known:
            raise ControlError(f"{node} has no port '{port}'; it has {', '.join(known)}")
        wanted = known[port].messages[0]
        message = _recorded(arguments, wanted) if arguments.recording else _made(dict(fields), wanted)
        for one in replicas:
            told = session.ask(one, "inject", port=port, fields=fields_of(message, 1 << 40))
            if "answer" in told:
                print(f"{one.name}.{port}: answered {told['answer']['type']}")
                for name, value in read_fields(told["answer"]["fields"]).items():
                    print(f"  {name}  {array_line(value) if isinstance(value, SampledArray) else repr(value)}")
            elif "waiting" in told:
                print(f"{one.name}.{port}: {told['waiting']} wait there now")
            else:
                print(f"{one.name}.{port}: its newest value is version {told['version']}")
    return 0


def _made(texts: dict[str, str], wanted: type[Message]) -> Message:
    from flow.inspect.samples import message_of

    fields = {field.name: field for field in wanted.fields}
    values = {}
    for name, text in texts.items():
        field = fields.get(name.partition("/")[0])
        values[name] = text if field is None else _value(field, name, text)
    return message_of(values, wanted)


def _value(field: Field, name: str, text: str) -> Any:
    from flow.inspect.live import value_of

    if field.kind == "scalar":
        return value_of(text)
    import numpy as np

    try:
        if text.startswith("@"):
            return np.load(text[1:], allow_pickle=False)
        value, dtype = np.array(value_of(text)), np.dtype(field.dtypes[0])
        cast = value.astype(dtype)
        if not np.can_cast(value.dtype, dtype, "same_kind") and not np.array_equal(value, cast):
            raise ControlError(f"{name}={text:.60}: expected {field}, found {value.dtype}")
        return cast
    except (OSError, ValueError, TypeError) as error:
        raise ControlError(f"{name}={text:.60}: no array for {field}: {error}") from error


def _recorded(arguments: argparse.Namespace, wanted: type[Message]) -> Message:
    from flow.generic import derived
    from flow.message import conformed, misfits
    from storage.recording import RecordingReader

    with RecordingReader(arguments.recording) as reader:
        kind = derived(reader.name, reader.fields)
        wrong = misfits(kind, {}, wanted, {})
        if wrong:
            raise ControlError(f"{arguments.recording} holds {reader.name}, no {wanted.__name__}: {wrong[0]}")
        for message in reader.messages(kind, arguments.at):
            return conformed(message, wanted)
        raise ControlError(f"{arguments.recording} holds {reader.count()} messages, none with number {arguments.at}")
