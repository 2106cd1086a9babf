"""The `[edges]` table: who is tied to whom, and with which credit.

"actor.policy" = "policy.requests"
"actor.frames" = { to = "replay.inserts", credit = 4, credit_bytes = 1_000_000 }
"actor.frames" = { to = ["replay.inserts", "viewer.frames"], mode = "copy" }
"actor.frames" = [{ to = "replay.inserts", mode = "copy" }, { to = "viewer.frames", mode = "copy", credit = 1 }]
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from typing import Any, cast

from flow.carrier.codecs import CODECS, INSTALL, is_installed
from flow.graph.members import Home, Joint, Members, Tie
from flow.graph.model import DEFAULT_CREDIT, DEFAULT_CREDIT_BYTES, Edge, End, Mode
from flow.graph.params import Unfilled
from flow.graph.problems import Problems, described, nearest
from flow.node_type import OTHER_END, SENDING, Port
from flow.stats_layout import NAME_MAX

# What an edge can say, by the kind of its sending port; the rest would have no effect.
KEYS = {
    "Out": ("to", "credit", "credit_bytes", "mode", "feedback", "compress"),
    "Call": ("to", "credit", "credit_bytes", "compress"),
    "Publish": ("to", "compress"),
}
ALL_KEYS = KEYS["Out"]
_GOES_TO = "an Out goes to an In, a Call to a Serve, a Publish to a Latest"
# Each end counts what passed in a slot "edge.EDGE.received_unsettled" of its node's page.
EDGE_MAX = NAME_MAX - len("edge..received_unsettled")


def read_edges(raw: dict[str, Any], members: Members, broken: Collection[str], problems: Problems) -> list[Tie]:
    """The edges whose two ends exist and may be tied, one for each pair of nodes; the others are told."""
    ties: list[Tie] = []
    for key, value in raw.items():
        if isinstance(value, dict) and "to" not in value and "." not in key:
            port = next(iter(value), "port")
            problems.add("edges", key, f'expected a port; write the dot within the quotes: "{key}.{port}" = …')
            continue
        sender = find_joint("edges", key, key, "sends", members, broken, problems)
        for settings in _receivers(key, value, problems):
            receiver = find_joint("edges", key, settings["to"], "receives", members, broken, problems)
            if sender is not None and receiver is not None:
                _tie(key, sender, receiver, settings, ties, problems)
    return ties


def _tie(
    key: str, sender: Joint, receiver: Joint, settings: dict[str, Any], ties: list[Tie], problems: Problems
) -> None:
    """Add the edges that one written edge stands for."""
    home = Home(problems, "edges", key, settings["to"])
    like = _edge(home, sender.port, receiver.port, settings)
    for begin, end in _pairs(sender, receiver) if like is not None else ():
        assert like is not None
        if any((tie.edge.sender, tie.edge.receiver) == (begin, end) for tie in ties):
            problems.add_edge(key, settings["to"], "this edge is written twice; leave one")
            continue
        edge = replace(like, sender=begin, receiver=end)
        label = f"{begin}->{end}"
        if len(label.encode()) > EDGE_MAX:
            text = (
                f"{label} is longer than {EDGE_MAX} bytes; give its nodes, or what they are swept over, shorter names"
            )
            problems.add_edge(key, settings["to"], text)
        ties.append(Tie(edge, home, "mode" not in settings))


def _pairs(sender: Joint, receiver: Joint) -> list[tuple[End, End]]:
    """Within one sweep copy to copy, else each to each."""
    return [
        (begin, end)
        for sweep, copy, begin in sender.ends
        for other_sweep, other_copy, end in receiver.ends
        if sweep != other_sweep or not sweep or copy == other_copy
    ]


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


def check_modes(ties: list[Tie], kinds: dict[End, str]) -> None:
    """With several receivers a stream must say whether each message goes to one of them or to all."""
    several: dict[End, list[Tie]] = {}
    for tie in ties:
        several.setdefault(tie.edge.sender, []).append(tie)
    for sender, those in several.items():
        silent = [tie.home for tie in those if tie.silent]
        if kinds[sender] == "Out" and len(those) > 1 and silent:
            silent[0].problems.add(
                "edges",
                silent[0].sender,
                f"it has {len(those)} receivers; say whether each message goes to one of them or to all: write "
                f'{{ to = "{silent[0].receiver}", mode = "share" }}, or mode = "copy"',
            )


def find_joint(
    table: str, key: str, text: str, does: str, members: Members, broken: Collection[str], problems: Problems
) -> Joint | None:
    """The port that a text names; None where there is none, or where its node is wrong already."""
    name, dot, port = text.rpartition(".")
    said = "" if text == key else f"in '{text}', "
    if not dot or not port or not name:
        problems.add(table, key, f"'{text}' is no port; write \"node.port\"{_ports_of(text, does, members)}")
        return None
    if name in broken or name.partition(".")[0] in broken:
        return None
    if name not in members:
        outer = members.get(name.partition(".")[0])
        if outer is not None and outer.graph:
            inner = f"{name.partition('.')[2]}.{port}"
            text = f"{said}what is inside of '{outer.name}' cannot be tied from here; name its port in [ports] of "
            problems.add(table, key, f'{text}{outer.graph}: {port} = "{inner}", and write "{outer.name}.{port}"')
        else:
            problems.unknown(table, key, f"{said}there is no node '{name}'", name, [*members, *broken])
        return None
    member = members[name]
    if port not in member.joints:
        hint = nearest(port, member.joints)
        if port in member.settings:
            hint = f"; '{port}' is a setting, settings stand in [nodes.{name}]"
        problems.add(table, key, f"{said}node '{name}' ({member.what}) has no port '{port}'{hint}")
        return None
    return member.joints[port]


def _ports_of(name: str, does: str, members: Members) -> str:
    if name not in members:
        return ""
    joints = members[name].joints.items()
    ports = [f'"{name}.{port}"' for port, joint in joints if joint.port.sends == (does == "sends")]
    return f", as in {ports[0]}" if ports else ""


def _edge(home: Home, begin: Port, end: Port, settings: dict[str, Any]) -> Edge | None:
    """What an edge says, between ends that stand for all it ties."""
    key, problems = home.sender, home.problems
    if OTHER_END[begin.kind] != end.kind or begin.kind not in SENDING:
        problems.add_edge(key, home.receiver, _wrong_kinds(key, begin, home.receiver, end))
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
    ends = End(key, begin.name), End(home.receiver, end.name)
    compress = _codec(key, settings, problems)
    return Edge(*ends, cast(Mode, mode), credit, credit_bytes, feedback is True, compress)


def _codec(key: str, settings: dict[str, Any], problems: Problems) -> str:
    """With what the edge is compressed, where that can be done here."""
    value = settings.get("compress", "")
    if isinstance(value, Unfilled) or "compress" not in settings:
        return ""
    if value not in CODECS:
        found = f'expected compress = "lz4" or compress = "zstd", found {described(value)}'
        problems.add("edges", key, found)
        return ""
    if not is_installed(value):
        text = f'compress = "zstd" needs the package \'zstandard\', which is not installed; {INSTALL}, or use "lz4"'
        problems.add("edges", key, text)
    return str(value)


def _word(kind: str) -> str:
    return {"Out": "stream", "Call": "call", "Publish": "published value"}[kind]


def _wrong_kinds(sender: str, begin: Port, receiver: str, end: Port) -> str:
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
