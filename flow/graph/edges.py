"""The `[edges]` table: who is tied to whom, and with which credit.

"actor.policy" = "policy.requests"
"actor.frames" = { to = "replay.inserts", credit = 4, credit_bytes = 1_000_000 }
"actor.frames" = { to = ["replay.inserts", "viewer.frames"], mode = "copy" }
"actor.frames" = [{ to = "replay.inserts", mode = "copy" }, { to = "viewer.frames", mode = "copy", credit = 1 }]
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, cast

from flow.graph.model import DEFAULT_CREDIT, DEFAULT_CREDIT_BYTES, Edge, End, GraphNode, Mode
from flow.graph.params import Unfilled
from flow.graph.problems import Problems, described, nearest
from flow.node_type import OTHER_END, SENDING, Port

# What an edge can say, by the kind of its sending port; the rest would have no effect.
KEYS = {
    "Out": ("to", "credit", "credit_bytes", "mode", "feedback"),
    "Call": ("to", "credit", "credit_bytes"),
    "Publish": ("to",),
}
ALL_KEYS = KEYS["Out"]
_GOES_TO = "an Out goes to an In, a Call to a Serve, a Publish to a Latest"
Nodes = dict[str, GraphNode]


def read_edges(raw: dict[str, Any], nodes: Nodes, broken: Collection[str], problems: Problems) -> tuple[Edge, ...]:
    """The edges whose two ends exist and may be tied; the others are told."""
    edges: list[Edge] = []
    for key, value in raw.items():
        if isinstance(value, dict) and "to" not in value and "." not in key:
            port = next(iter(value), "port")
            problems.add("edges", key, f'expected a port; write the dot within the quotes: "{key}.{port}" = …')
            continue
        sender = _end(key, key, "sends", nodes, broken, problems)
        receivers = _receivers(key, value, problems)
        if sender is not None and len(receivers) > 1:
            _check_modes(key, nodes[sender.node].type.ports[sender.port], receivers, problems)
        for settings in receivers:
            receiver = _end(key, settings["to"], "receives", nodes, broken, problems)
            if sender is None or receiver is None:
                continue
            edge = _edge(key, sender, receiver, settings, nodes, problems)
            if edge is not None and any((e.sender, e.receiver) == (sender, receiver) for e in edges):
                problems.add_edge(sender, receiver, "this edge is written twice; leave one")
            elif edge is not None:
                edges.append(edge)
    return tuple(edges)


def _receivers(key: str, value: Any, problems: Problems) -> list[dict[str, Any]]:
    """What stands behind a sending port, as one table a receiver."""
    found: list[dict[str, Any]] = []
    for item in value if isinstance(value, list) else [value]:
        table = {"to": item} if isinstance(item, str) else item
        if not isinstance(table, dict):
            problems.add("edges", key, f'expected "node.port", or {{ to = "node.port" }}, found {described(item)}')
            continue
        for name in table:
            if name not in ALL_KEYS:
                problems.unknown("edges", key, f"an edge has no '{name}'", name, ALL_KEYS)
        receivers = table.get("to")
        receivers = receivers if isinstance(receivers, list) else [receivers]
        if not receivers or any(type(each) is not str for each in receivers):
            problems.add("edges", key, f'expected to = "node.port", found {described(table.get("to"))}')
            continue
        found += [{**table, "to": each} for each in receivers]
    return found


def _check_modes(key: str, port: Port, receivers: list[dict[str, Any]], problems: Problems) -> None:
    """With several receivers a stream must say whether each message goes to one of them or to all."""
    silent = [table["to"] for table in receivers if "mode" not in table]
    if port.kind == "Out" and silent:
        problems.add(
            "edges",
            key,
            f"it has {len(receivers)} receivers; say whether each message goes to one of them or to all: write "
            f'{{ to = "{silent[0]}", mode = "share" }}, or mode = "copy"',
        )


def _end(key: str, text: str, does: str, nodes: Nodes, broken: Collection[str], problems: Problems) -> End | None:
    """The port that a text names; None where there is none, or where its node is wrong already."""
    node_name, dot, port_name = text.partition(".")
    said = "" if text == key else f"in '{text}', "
    if not dot or not port_name:
        problems.add("edges", key, f"'{text}' is no port; write \"node.port\"{_ports_of(node_name, does, nodes)}")
        return None
    if node_name in broken:
        return None
    if node_name not in nodes:
        problems.unknown("edges", key, f"{said}there is no node '{node_name}'", node_name, [*nodes, *broken])
        return None
    kind = nodes[node_name].type
    if port_name not in kind.ports:
        hint = nearest(port_name, kind.ports)
        if port_name in kind.settings:
            hint = f"; '{port_name}' is a setting, settings stand in [nodes.{node_name}]"
        problems.add("edges", key, f"{said}node '{node_name}' ({kind.name}) has no port '{port_name}'{hint}")
        return None
    return End(node_name, port_name)


def _ports_of(node: str, does: str, nodes: Nodes) -> str:
    if node not in nodes:
        return ""
    ports = [f'"{node}.{port.name}"' for port in nodes[node].type.ports.values() if port.sends == (does == "sends")]
    return f", as in {ports[0]}" if ports else ""


def _edge(
    key: str, sender: End, receiver: End, settings: dict[str, Any], nodes: Nodes, problems: Problems
) -> Edge | None:
    begin = nodes[sender.node].type.ports[sender.port]
    end = nodes[receiver.node].type.ports[receiver.port]
    if OTHER_END[begin.kind] != end.kind or begin.kind not in SENDING:
        problems.add_edge(sender, receiver, _wrong_kinds(sender, begin, receiver, end))
        return None
    for name in [name for name in ALL_KEYS if name in settings and name not in KEYS[begin.kind]]:
        problems.add("edges", key, f"'{name}' has no effect on a {_word(begin.kind)}; remove it")
    mode = settings.get("mode", "copy" if begin.kind == "Publish" else "share")
    if mode not in ("share", "copy"):
        problems.add("edges", key, f'expected mode = "share" or mode = "copy", found {described(mode)}')
    credit = _whole(key, settings, "credit", DEFAULT_CREDIT, problems)
    credit_bytes = _whole(key, settings, "credit_bytes", DEFAULT_CREDIT_BYTES, problems)
    feedback = settings.get("feedback", False)
    if type(feedback) is not bool:
        problems.add("edges", key, f"expected feedback = true or feedback = false, found {described(feedback)}")
    elif feedback and "credit" not in settings:
        problems.add(
            "edges",
            key,
            "an edge with feedback needs a credit of its own, enough for all that goes round; add credit = …",
        )
    return Edge(sender, receiver, cast(Mode, mode), credit, credit_bytes, feedback is True)


def _word(kind: str) -> str:
    return {"Out": "stream", "Call": "call", "Publish": "published value"}[kind]


def _wrong_kinds(sender: End, begin: Port, receiver: End, end: Port) -> str:
    if OTHER_END[begin.kind] == end.kind:
        return f'written from the receiver to the sender; turn it round: "{receiver}" = "{sender}"'
    return f"{sender} is {begin} and {receiver} is {end}, which cannot be tied; {_GOES_TO}"


def _whole(key: str, settings: dict[str, Any], name: str, default: int, problems: Problems) -> int:
    value = settings.get(name, default)
    if type(value) is float and value.is_integer():
        value = int(value)
    if isinstance(value, Unfilled):
        return default
    if type(value) is not int or value < 1:
        problems.add("edges", key, f"expected {name}, a whole number of at least 1, found {described(value)}")
        return default
    return value
