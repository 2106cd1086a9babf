"""Reference pages for Sphinx, from signatures, docstrings, parsers and the schema; none of it is written by hand.

{flow-nodes}           every node type: what `flow nodes NAME` tells
{flow-commands}        every command: its `--help`
{flow-graph-file}      all that a graph file may say
{flow-names} MODULE    the public names of a module
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import os
import re
from collections.abc import Callable, Iterator
from typing import Any

from docutils import nodes as docnodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from flow.cli.main import COMMANDS
from flow.graph.registry import known_types
from flow.graph.schema import graph_schema
from flow.message import Message
from flow.node_type import NodeType, Port
from flow.setting import Setting
from tools.documents.prose import as_markdown, code, fenced, table

WIDTH = "100"  # of the help of commands, in columns


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls to load an extension."""
    for name, write in PAGES.items():
        app.add_directive(name, _directive(write))
    return {"parallel_read_safe": True}


def _directive(write: Callable[..., str]) -> type[SphinxDirective]:
    class Generated(SphinxDirective):
        optional_arguments = 1

        def run(self) -> list[docnodes.Node]:
            # Sphinx rebuilds a page whose source changed, and what this one is made of is the program.
            self.env.note_reread()
            return self.parse_text_to_nodes(write(*self.arguments), allow_section_headings=True)

    return Generated


def all_node_types() -> str:
    """A section for each family of nodes, and in it one for each node type.

    Raises:
      RuntimeError: a module of nodes cannot be read.
    """
    types, broken = known_types()
    if broken:
        raise RuntimeError(f"node types that cannot be read: {broken}")
    families: dict[str, list[str]] = {}
    for name, found in sorted(types.items()):
        families.setdefault(name.split(":")[0].split(".")[1] if "." in name else name, []).append(
            node_type(name, found)
        )
    return "\n\n".join(f"## {family}\n\n" + "\n\n".join(texts) for family, texts in families.items())


def node_type(name: str, found: NodeType[Any]) -> str:
    """All that a node type declares."""
    parts = [f"### {name}", as_markdown(found.doc.partition("\nArgs:")[0].strip())]
    parts.append(table(["port", "kind", "what"], [_port(port) for port in found.ports.values()]))
    messages = {message.__name__: message for port in found.ports.values() for message in port.messages}
    messages.pop(Message.__name__, None)
    for message in messages.values():
        rows = [[code(field.name), code(str(field)), field.doc] for field in message.fields]
        parts += [f"{code(message.__name__)}: {_message_doc(message)}", table(["field", "type", "what"], rows)]
    parts.append(table(["setting", "type", "default", "what"], [_setting(each) for each in found.settings.values()]))
    if found.needs:
        parts.append(f"Needs {', '.join(map(code, found.needs))}.")
    return "\n\n".join(filter(None, parts))


def _port(port: Port) -> list[str]:
    return [code(port.name), code(str(port)), port.doc]


def _message_doc(message: type[Message]) -> str:
    doc = inspect.getdoc(message) or ""
    # dataclasses write a signature where there is no docstring
    return "" if doc.startswith(f"{message.__name__}(") else doc.split("\n\n")[0]


def _setting(setting: Setting) -> list[str]:
    default = "required" if setting.required else code(_shown(setting.default))
    doc = setting.doc + (" Can change while it runs." if setting.live else "")
    return [code(setting.name), code(str(setting)), default, doc]


def _shown(value: Any) -> str:
    return (
        "nothing"
        if value is None
        else {True: "true", False: "false"}.get(value, repr(value))
        if type(value) is bool
        else repr(value)
    )


def all_commands() -> str:
    """The help of every command."""
    parser = argparse.ArgumentParser(prog="flow")
    subparsers = parser.add_subparsers()
    for module in COMMANDS.values():
        importlib.import_module(module).add(subparsers)
    os.environ["COLUMNS"] = WIDTH
    parts = []
    for name, each in subparsers.choices.items():
        parts.append(f"## flow {name}\n\n" + fenced(each.format_help().rstrip()))
    return "\n\n".join(parts)


def graph_file() -> str:
    """Every table and key of a graph file, from the schema."""
    schema = graph_schema({})
    parts = []
    for key, found in schema["properties"].items():
        heading = f"## {key}" if _is_value(found) else f"## \\[{key}\\]"
        parts.append("\n\n".join(filter(None, [heading, found.get("description", ""), _keys(found)])))
    return "\n\n".join(parts)


def _is_value(schema: dict[str, Any]) -> bool:
    return schema.get("type") != "object"


def _keys(schema: dict[str, Any]) -> str:
    rows = [
        [code(name), code(_kind(found)), found.get("description", "")]
        for name, found in sorted(_named(schema))
        if found.get("description")
    ]
    return table(["key", "value", "what"], rows)


def _named(schema: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Keys of a table, or of the tables in it, wherever the schema says so."""
    seen = set()
    pending: list[Any] = [schema]
    while pending:
        found = pending.pop()
        if isinstance(found, list):
            pending += found
        elif isinstance(found, dict):
            for name, value in found.get("properties", {}).items():
                if name not in seen and isinstance(value, dict):
                    seen.add(name)
                    yield name, value
            pending += [found[key] for key in ("additionalProperties", "anyOf", "oneOf", "items") if key in found]


def _kind(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return " or ".join(f'"{value}"' for value in schema["enum"])
    if "anyOf" in schema:
        kinds = [_kind(each) for each in schema["anyOf"] if "A text with a param" not in each.get("description", "")]
        return " or ".join(dict.fromkeys(filter(None, kinds)))
    kind = schema.get("type", "")
    if kind == "array":
        return f"list of {_kind(schema['items'])}"
    names = {"object": "table", "string": "text", "integer": "whole number", "boolean": "true or false"}
    return " or ".join(names.get(each, each) for each in ([kind] if isinstance(kind, str) else kind))


def public_names(module: str) -> str:
    """Every public name of a module: its signature, its docstring, and those of its methods."""
    found = importlib.import_module(module)
    names = getattr(found, "__all__", None) or [name for name in vars(found) if _is_public(found, name)]
    return "\n\n".join(_name(f"{module}.{name}", getattr(found, name)) for name in sorted(names))


def _is_public(module: Any, name: str) -> bool:
    value = getattr(module, name)
    ours = getattr(value, "__module__", "").startswith(module.__name__)
    return ours and not name.startswith("_") and not inspect.ismodule(value)


def _name(name: str, value: Any) -> str:
    short = name.rpartition(".")[2]
    parts = [f"## {name}"]
    ours = (inspect.isclass(value) or inspect.isroutine(value)) and value.__module__.partition(".")[0] == "flow"
    if ours:
        parts += [fenced(f"{short}{signature(value)}", "python"), as_markdown(_doc(value))]
    else:
        kind = getattr(value, "__module__", "") + "." + getattr(value, "__qualname__", str(value))
        parts.append(f"Is {code(kind)}, under a name of our own in annotations.")
    for method in _methods(value) if ours and inspect.isclass(value) else ():
        described = inspect.getattr_static(value, method)
        title = f"### {short}.{method}"
        if isinstance(described, property):
            parts += [title, as_markdown(_doc(described))]
        else:
            function = getattr(value, method)
            prefix = "await " if inspect.iscoroutinefunction(function) else ""
            parts += [title, fenced(f"{prefix}{method}{signature(function)}", "python"), as_markdown(_doc(function))]
    return "\n\n".join(filter(None, parts))


def _methods(value: type) -> list[str]:
    """Public methods and properties that a class itself documents."""
    return [
        name
        for name, each in vars(value).items()
        if not name.startswith("_") and (inspect.isroutine(each) or isinstance(each, property)) and _doc(each)
    ]


def _doc(value: Any) -> str:
    doc = inspect.getdoc(value) or ""
    return "" if inspect.isclass(value) and doc.startswith(f"{value.__name__}(") else doc


def signature(value: Any) -> str:
    """As it is written, without `self` and module names."""
    try:
        found = inspect.signature(value)
    except ValueError:  # an enumeration or another class that is not called
        return ""
    parameters = [each for each in found.parameters.values() if each.name not in ("self", "cls")]
    text = str(found.replace(parameters=parameters))
    return re.sub(r"<(factory|object object|function \w+)( at \w+)?>", "...", text.replace("'", ""))


def all_rules() -> str:
    """The rules of the contract, by number."""
    from flow.testing.rules import RULES

    return table(["rule", "what it asks"], [[rule.id, rule.line] for rule in RULES.values()])


PAGES: dict[str, Callable[..., str]] = {
    "flow-nodes": all_node_types,
    "flow-commands": all_commands,
    "flow-graph-file": graph_file,
    "flow-names": public_names,
    "flow-rules": all_rules,
}
