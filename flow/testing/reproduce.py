"""A failure of the contract as a pytest that stands by itself."""

from __future__ import annotations

from typing import Any

from flow import node_files
from flow.node_type import NodeType
from flow.testing.literals import Source
from flow.testing.rules import RULES


def source(node_type: NodeType[Any], result: Any) -> str:
    """A test file that shows a broken rule again, by itself, on the smallest case that was found.

    Args:
      result: a `Result` with a case.
    """
    name = node_type.name.rpartition(":")[2].rpartition(".")[2]
    writer = Source(name, node_type)
    case = writer.case(result.case, "    ")
    writer.imports.setdefault("flow.testing", set()).add("hold")
    loaded = _load(writer, node_type, name)
    bound = _bound(writer, node_type, name)
    first_line = result.text.splitlines()[0]
    return (
        f'"""{node_type.name} breaks {result.rule}: {RULES[result.rule].line}.\n\n{first_line}\n"""\n\n'
        f"{writer.header()}\n{loaded}\n\n"
        f"def test_{name}_keeps_{result.rule.lower()}():\n"
        f"    case = {case}\n"
        f'    hold("{result.rule}", {bound}, case)\n'
    )


def _load(writer: Source, node_type: NodeType[Any], name: str) -> str:
    """How the source gets at the node: an import, or the file that it is in."""
    module, path = node_type.function.__module__, node_files.name_of(node_type.function.__module__)
    if node_files.is_file(path):
        writer.imports.setdefault("flow.testing", set()).add("load_file")
        return f'\n{name} = load_file("{path}:{name}")\n'
    writer.imports.setdefault(module, set()).add(name)
    return ""


def _bound(writer: Source, node_type: NodeType[Any], name: str) -> str:
    """The node, with its type variables bound as they were."""
    variables = {
        variable: message.__name__
        for port in node_type.ports.values()
        for variable, message in zip(port.variables, port.messages, strict=False)
        if variable
    }
    if not variables:
        return name
    inner = ", ".join(f'"{variable}": {message}' for variable, message in variables.items())
    sizes = ", ".join(f'"{variable}": {{}}' for variable in variables)
    for port in node_type.ports.values():
        for message in port.messages:
            writer.imports.setdefault(message.__module__, set()).add(message.__name__)
    return f"{name}.bound({{{inner}}}, {{{sizes}}})"
