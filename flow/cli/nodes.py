"""`flow nodes`: which node types there are, and all that one of them declares."""

from __future__ import annotations

import argparse
import contextlib
import difflib
import json
import sys
import textwrap
from collections.abc import Mapping
from typing import Any

from jaxtyping import Float32

from flow.documentation import summary
from flow.errors import FlowError, MissingError, NodeTypeError
from flow.graph.problems import described
from flow.graph.registry import find_type, known_types
from flow.message import Array, Message
from flow.node_type import NodeType, Port
from flow.setting import Setting

EXAMPLE = """example:
  flow nodes
  flow nodes nodes.env.atari:actor
  flow nodes actor                      every node type of that name
  flow nodes balance                    those whose description has the word, where none has the name
"""


class Example(Message):
    """A message that stands for any, where it is told what follows from one."""

    values: Float32[Array, "time"]
    count: int


ARROWS = {"Out": "──►", "In": "◄──", "Call": "◄─►", "Serve": "◄─►", "Publish": "··►", "Latest": "◄··"}


def add(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Register the command."""
    parser = subparsers.add_parser(
        "nodes",
        help="list node types, or tell the ports and settings of one",
        description="List the node types found in package `nodes` and in installed packages, or tell all of one.",
        epilog=EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", nargs="?", metavar="NAME", help="its whole name, its last part, or a word of it")
    parser.add_argument("--json", action="store_true", help="JSON, for scripts")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print the list, or one or several node types."""
    if arguments.name is None:
        types, broken = known_types()
        if arguments.json:
            print(json.dumps([as_dict(name, each) for name, each in types.items()], indent=1, ensure_ascii=False))
        else:
            _print_list(types)
        for name, reason in broken.items():
            print(f"flow nodes: {name} is left out: {reason}", file=sys.stderr)
        return 1 if broken else 0
    try:
        found = _found(arguments.name)
    except MissingError as error:
        print(error, file=sys.stderr)
        return 2
    if arguments.json:
        print(json.dumps([as_dict(name, each) for name, each in found.items()], indent=1, ensure_ascii=False))
    elif not _named(arguments.name, found):
        print(f"no node type is called '{arguments.name}'; its description has it:")
        _print_list(found)
    else:
        print("\n\n".join(described_type(name, each) for name, each in found.items()))
    return 0


def _found(name: str) -> Mapping[str, NodeType[Any]]:
    if ":" in name:
        try:
            return {name: find_type(name)}
        except NodeTypeError as error:
            raise MissingError(f"flow nodes: '{name}': {error}") from error
    types, _ = known_types()
    found = _named(name, types)
    if not found:
        word = name.lower()
        found = {full: each for full, each in types.items() if word in f"{full}\n{each.doc}".lower()}
    if not found:
        short = {full.rpartition(":")[2]: full for full in types}
        near = difflib.get_close_matches(name.lower(), [*short, *types], n=1)
        hint = f"did you mean '{short.get(near[0], near[0])}'?" if near else "`flow nodes` lists all"
        raise MissingError(f"flow nodes: no node type is called '{name}' or has it in its description; {hint}")
    return found


def _named(name: str, types: Mapping[str, NodeType[Any]]) -> dict[str, NodeType[Any]]:
    """Those that a name means: "actor", "atari:actor" and "audio.windows" all name nodes.….audio:windows."""
    if ":" in name and name in types:
        return {name: types[name]}
    wanted = name.replace(":", ".")
    return {full: each for full, each in types.items() if f".{full.replace(':', '.')}".endswith(f".{wanted}")}


def _print_list(types: Mapping[str, NodeType[Any]]) -> None:
    if not types:
        print("no node types found; package `nodes` is not here, and no installed package registers any")
    width = max((len(name) for name in types), default=0)
    for name, each in sorted(types.items()):
        print(f"{name:<{width}}  {summary(each.doc)}".rstrip())


def described_type(name: str, found: NodeType[Any]) -> str:
    """All that a node type declares, as text."""
    lines = [name, "", textwrap.indent(_prose(found.doc), "  ")]
    if found.ports:
        lines += ["", "ports"]
        for port in found.ports.values():
            lines += _port_lines(port)
    variables = dict.fromkeys(name for port in found.ports.values() for name in port.variables if name)
    lines += _variable_lines(found, list(variables))
    messages = {message.__name__: message for port in found.ports.values() for message in port.messages}
    messages.pop(Message.__name__, None)  # stands where a type variable does
    for message in messages.values():
        lines += ["", *_message_lines(message)]
    if found.settings:
        lines += ["", "settings"]
        for setting in found.settings.values():
            lines += _setting_lines(setting)
    if found.needs:
        lines += ["", f"needs {', '.join(found.needs)}"]
    return "\n".join(line.rstrip() for line in lines)


def _variable_lines(found: NodeType[Any], variables: list[str]) -> list[str]:
    """What the messages of ports are that say none: any, or what follows from the others, with an example."""
    known = {name: Example for name in variables if name == "M"}
    settings = {s.name: _example_value(s) if s.required else s.default for s in found.settings.values()}
    said: Mapping[str, type[Message]] = {}
    if found.binds is not None:
        with contextlib.suppress(FlowError):  # it is one for messages of another kind, and its text tells of which
            said = {name: each for name, each in found.binds(settings, known).items() if name not in known}
    taken = {name for port in found.ports.values() if port.kind in ("In", "Latest") for name in port.variables}
    lines = []
    for name in variables:
        if name in said:
            given = "".join(f", {s.name} = {settings[s.name]}" for s in found.settings.values() if s.required)
            lines.append(f"  {name} follows from M; if M has {_fields_of(Example)}{given}, it has")
            lines.append(f"    {_fields_of(said[name])}")
        elif found.binds is not None and name not in taken:
            lines.append(f"  {name} follows from the settings and from the other messages")
        else:
            lines.append(f"  {name} is any message, the same wherever it stands")
    return lines


def _example_value(setting: Setting) -> Any:
    low = setting.bounds.low or 0
    return max(low, 4) if setting.kind == "int" else max(low, 1.0) if setting.kind == "float" else ""


def _fields_of(message: type[Message]) -> str:
    return ", ".join(f"{field.name}: {field}" for field in message.fields)


def _prose(doc: str) -> str:
    """A docstring without its `Args:`, which the settings and ports tell."""
    return doc.partition("\nArgs:")[0].strip()


def _port_lines(port: Port) -> list[str]:
    doc = f"    {port.doc}" if port.doc else ""
    return [f"  {ARROWS[port.kind]} {port.name}: {port}{doc}"]


def _message_lines(message: type[Message]) -> list[str]:
    again = "; may be asked again" if message.repeatable else ""
    doc = summary(message.__doc__)
    # dataclasses write a signature where there is no docstring
    doc = "" if doc.startswith(f"{message.__name__}(") else f": {doc}"
    rows = [(field.name, str(field), field.doc) for field in message.fields]
    return [f"message {message.__name__}{doc}{again}", *_columns(rows)]


def _columns(rows: list[tuple[str, str, str]]) -> list[str]:
    first = max((len(row[0]) for row in rows), default=0)
    second = max((len(row[1]) for row in rows), default=0)
    return [f"  {name:<{first}}  {kind:<{second}}  {doc}" for name, kind, doc in rows]


def _setting_lines(setting: Setting) -> list[str]:
    default = "required" if setting.required else f"default {_shown(setting.default)}"
    live = ", can change while it runs" if setting.live else ""
    doc = textwrap.indent(setting.doc, "      ")
    return [f"  {setting.name}: {setting}, {default}{live}", *([doc] if doc else [])]


def _shown(value: Any) -> str:
    return "nothing" if value is None else described(value)


def as_dict(name: str, found: NodeType[Any]) -> dict[str, Any]:
    """All that a node type declares, for a script."""
    return {
        "name": name,
        "doc": found.doc,
        "needs": list(found.needs),
        "ports": [
            {"name": p.name, "kind": p.kind, "doc": p.doc, "messages": _messages_dict(p)} for p in found.ports.values()
        ],
        "settings": [
            {
                "name": s.name,
                "type": str(s),
                "required": s.required,
                "default": None if s.required else s.default,
                "live": s.live,
                "doc": s.doc,
            }
            for s in found.settings.values()
        ],
    }


def _messages_dict(port: Port) -> list[dict[str, Any]]:
    described = [_message_dict(message) for message in port.messages]
    return [
        {"variable": name} if name and message is Message else about
        for name, message, about in zip(port.spoken(), port.messages, described, strict=True)
    ]


def _message_dict(message: type[Message]) -> dict[str, Any]:
    fields = [{"name": field.name, "type": str(field), "doc": field.doc} for field in message.fields]
    return {"name": message.__name__, "fields": fields}
