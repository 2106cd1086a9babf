"""A resolved graph as TOML: params filled in, the profile merged. Reading it gives an equal graph.

It is what a run directory keeps, so that a run can go on without the file and the profile that it began with.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from flow.graph.memory import written
from flow.graph.model import DEFAULT_CREDIT, DEFAULT_CREDIT_BYTES, Edge, End, Graph, GraphHost, GraphNode
from flow.graph.params import escaped


def write_graph(graph: Graph) -> str:
    """The graph as the text of a graph file."""
    ports = {name: _ends(ends) for name, ends in graph.ports.items()}
    report: dict[str, Any] = {"show": list(graph.report.show)} if graph.report.show else {}
    report |= {} if graph.report.curve is None else {"curve": graph.report.curve}
    tables: dict[str, Any] = {
        **{key: value for key, value in (("title", graph.title), ("paper", graph.paper)) if value},
        "nodes": {name: _node(node) for name, node in graph.nodes.items()},
        "edges": _edges(graph),
        **({"ports": ports} if ports else {}),
        "workers": {name: list(entries) for name, entries in graph.workers.items()},
        "hosts": {name: _host(host) for name, host in graph.hosts.items()},
        "memory": {worker: written(size) for worker, size in graph.memory.items()},
        "until": graph.until,
        "report": report,
    }
    profile = {} if graph.profile is None else {"profile": graph.profile}
    # It says that braces in texts are all doubled and that no params can be set any more.
    resolved = {"resolved": {**profile, "params": graph.params}}
    return write_tables({**escaped_tables(tables), **resolved})


# Also where there is nothing in them: a graph without edges says so.
_ALWAYS = ("edges", "resolved")


def write_tables(tables: Mapping[str, Any]) -> str:
    """The text of a file that holds these tables."""
    parts = ["".join(f"{key} = {toml(value)}\n" for key, value in tables.items() if not isinstance(value, Mapping))]
    for name, table in tables.items():
        if name == "nodes":
            parts += [_table(f"nodes.{_key(node)}", values, always=True) for node, values in table.items()]
        elif isinstance(table, Mapping):
            parts.append(_table(name, table, always=name in _ALWAYS))
    return "\n".join(part for part in parts if part)


def _table(name: str, values: Mapping[str, Any], *, always: bool) -> str:
    if not values and not always:
        return ""
    lines = [f"{_key(key)} = {toml(value)}\n" for key, value in values.items()]
    return f"[{name}]\n{''.join(lines)}"


def _node(node: GraphNode) -> dict[str, Any]:
    replicas = {"replicas": node.replicas} if node.replicas != 1 else {}
    # TOML has no word for nothing: a setting that is None has None as its default
    settings = {name: value for name, value in node.settings.items() if value is not None}
    return {"run": node.type.name, **replicas, **settings}


def _host(host: GraphHost) -> dict[str, Any]:
    return {"listen": host.listen, **({"workers": list(host.workers)} if host.workers else {})}


def _edges(graph: Graph) -> dict[str, Any]:
    found: dict[str, list[Any]] = {}
    for edge in graph.edges:
        several = sum(each.sender == edge.sender for each in graph.edges) > 1
        found.setdefault(str(edge.sender), []).append(_edge(graph, edge, several))
    return {sender: edges[0] if len(edges) == 1 else edges for sender, edges in found.items()}


def _ends(ends: tuple[End, ...]) -> Any:
    texts = [str(end) for end in ends]
    return texts[0] if len(texts) == 1 else texts


def _edge(graph: Graph, edge: Edge, several: bool) -> Any:
    said: dict[str, Any] = {"to": str(edge.receiver)}
    if graph.kind(edge) == "Out" and (several or edge.mode != "share"):
        said["mode"] = edge.mode
    if edge.credit != DEFAULT_CREDIT or edge.feedback:
        said["credit"] = edge.credit
    if edge.credit_bytes != DEFAULT_CREDIT_BYTES:
        said["credit_bytes"] = edge.credit_bytes
    if edge.feedback:
        said["feedback"] = True
    if edge.compress:
        said["compress"] = edge.compress
    return said if len(said) > 1 else str(edge.receiver)


def escaped_tables(value: Any) -> Any:
    """The value with the braces of all texts doubled, so that filling in params leaves them as they are."""
    if isinstance(value, str):
        return escaped(value)
    if isinstance(value, (list, tuple)):
        return [escaped_tables(item) for item in value]
    return {key: escaped_tables(item) for key, item in value.items()} if isinstance(value, dict) else value


def toml(value: Any) -> str:
    """A value as TOML writes it on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{_key(key)} = {toml(item)}' for key, item in value.items())} }}" if value else "{}"
    if isinstance(value, (int, float)):
        return repr(value)
    raise TypeError(f"TOML has no {type(value).__name__}")


def _key(key: str) -> str:
    return key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else _text(key)


_SHORT = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def _text(text: str) -> str:
    return '"' + "".join(_SHORT.get(c) or (c if c.isprintable() else _code(c)) for c in text) + '"'


def _code(character: str) -> str:
    number = ord(character)
    return f"\\u{number:04x}" if number < 0x10000 else f"\\U{number:08x}"
