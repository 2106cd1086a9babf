"""C07-C09 and C17: how a stream is cut, its order, a reader that is behind, and its end."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np

from flow.message import Message
from flow.node_type import NodeType
from flow.testing.case import Case, Timed
from flow.testing.cases import Wants
from flow.testing.compare import difference
from flow.testing.rules.rule import BrokenError, Rule, Subject, kinds_of, needs
from flow.testing.rules.said import otherwise_said, said_in_streams
from flow.testing.trial import How, Record


def _cut_applies(node_type: NodeType[Any]) -> str:
    inputs = [port for port in node_type.promises.cut if node_type.ports[port].kind == "In"]
    return "" if inputs else "it promises no `cut`"


def cut_anywhere(subject: Subject) -> None:
    """Each message of a port that may be cut goes in as several pieces."""
    whole = subject.plain()
    case = subject.case
    for port, where in subject.type.promises.cut.items():
        if subject.type.ports[port].kind == "In":
            case = case.fed({port: _in_pieces(case, port, where.partition(".")[2])})
    pieces = subject.play(case=case)
    if pieces.error is not None or pieces.stuck:
        raise BrokenError(f"cut in pieces, what went well fails: {pieces.error or pieces.stuck}")
    if where := difference(_joined(subject, whole), _joined(subject, pieces), subject.type.promises):
        raise BrokenError(f"it says something else when what it receives is cut otherwise: {where}")


def _in_pieces(case: Case, port: str, dim: str) -> list[Timed]:
    pieces: list[Timed] = []
    for index, (moment, message) in enumerate(case.inputs.get(port, ())):
        length = _length(message, dim)
        cuts = sorted({case.choice(index) % (length + 1), case.choice(index + 1) % (length + 1)})
        edges = [0, *cuts, length]
        pieces += [(moment, _slice(message, dim, a, b)) for a, b in itertools.pairwise(edges)]
    return pieces


def _axes(message: Message, dim: str) -> dict[str, int]:
    return {
        field.name: axis
        for field in message.fields
        if field.kind == "array"
        for axis, each in enumerate(field.dims)
        if each.name == dim and not each.size
    }


def _length(message: Message, dim: str) -> int:
    name, axis = next(iter(_axes(message, dim).items()))
    return int(getattr(message, name).shape[axis])


def _slice(message: Message, dim: str, start: int, stop: int) -> Message:
    cut = {
        name: getattr(message, name)[(slice(None),) * axis + (slice(start, stop),)]
        for name, axis in _axes(message, dim).items()
    }
    return replace(message, **cut)  # type: ignore[type-var]


def _joined(subject: Subject, record: Record) -> dict[str, list[Any]]:
    """What was said; what an Out that may be cut sent, as one message."""
    said = record.said()
    for port, where in subject.type.promises.cut.items():
        messages = said.get(port)
        if subject.type.ports[port].kind == "Out" and messages:
            dim = where.partition(".")[2]
            axes = _axes(messages[0], dim)
            whole = {name: np.concatenate([getattr(m, name) for m in messages], axis) for name, axis in axes.items()}
            said[port] = [replace(messages[0], **whole)]
    return {port: messages for port, messages in said.items() if messages}


def keeps_order(subject: Subject) -> None:
    """However fast inputs come, answers come and outputs are read, the outputs are in the same order."""
    one = subject.plain()
    ways = {
        "when answers to its calls take their time": (How(latency=1 + subject.case.choice(0)), subject.case),
        "when what it sends is read slowly": (How(pace=0.1), subject.case),
    }
    if subject.count("In") == 1:
        ports = [port.name for port in subject.type.ports.values() if port.kind == "In"]
        ways["when all its inputs come at once"] = How(latency=1 + subject.case.choice(1)), subject.case.at_once(ports)
    for when, (how, case) in ways.items():
        other = subject.play(how, case)
        if other.error is not None or other.stuck:
            raise BrokenError(f"{when}, what went well fails: {other.error or other.stuck}")
        if where := otherwise_said(subject, said_in_streams(one), said_in_streams(other)):
            raise BrokenError(f"{when}, it sends something else: {where}")


def waits(subject: Subject) -> None:
    """Nobody reads: it takes no more than what it may hold, does not spin, and goes on when somebody does."""
    one = subject.plain()
    blocked = subject.play(How(reading=False))
    if "step after step" in blocked.stuck:
        raise BrokenError(f"nobody reads what it sends, and it does not wait: {blocked.stuck}")
    if blocked.error is not None:
        raise BrokenError(f"nobody reads what it sends, and it fails: {type(blocked.error).__name__}: {blocked.error}")
    held = missing(subject, one, blocked)
    if held:
        raise BrokenError(f"nobody reads what it sends, and {held}")
    late = subject.play(How(read_from=subject.case.last + 60.0, end_after=1.0))
    if late.error is not None or late.stuck:
        raise BrokenError(f"read late, what went well fails: {late.error or late.stuck}")
    if subject.count("In") < 2 and (where := otherwise_said(subject, said_in_streams(one), said_in_streams(late))):
        raise BrokenError(f"read late, it sends something else: {where}")


def missing(subject: Subject, whole: Record, stopped: Record) -> str:
    """What a node that was stopped had taken and not said, beyond what it may hold; "" if nothing.

    A whole run tells what the first messages it takes lead to.
    """
    if not subject.count("In"):
        return ""
    taken = len(stopped.taken())
    allowed = subject.type.promises.holds * subject.count("In")
    due = _said_before(whole, taken - allowed + 1)
    said = sum(event.kind in ("sent", "published") for event in stopped.events)
    # One that waits to be sent is in its hands, and so is what led to it.
    if said >= due:
        return ""
    return (
        f"it had taken {taken} messages and said {said}, where the first {taken - allowed} of them lead to {due}: "
        f"it held more than {allowed}"
    )


def _said_before(whole: Record, taking: int) -> int:
    """How much a whole run says before it takes its message of this number, counted from 1."""
    taken = said = 0
    for event in whole.events:
        taken += event.kind == "taken"
        if taken >= taking:
            return said
        said += event.kind in ("sent", "published")
    return said


def ends(subject: Subject) -> None:
    """Its inputs end at once, after the last message, and long after it: it returns, and says the same."""
    record = subject.play()
    if record.stuck:
        raise BrokenError(f"its inputs have ended, and {record.stuck}")
    one = subject.plain()
    late = subject.play(How(end_after=100.0))
    if late.stuck or late.error is not None:
        raise BrokenError(f"its inputs ended late, and {late.stuck or late.error}")
    endless = subject.count("Latest") or not one.ended
    if not endless and (where := difference(one.said(), late.said(), subject.type.promises)):
        raise BrokenError(f"what it says depends on how long after the last message its inputs end: {where}")
    empty = subject.play(case=replace(subject.case, inputs={}))
    if empty.stuck or empty.error is not None:
        why = empty.stuck or f"it fails with {type(empty.error).__name__}: {empty.error}"
        raise BrokenError(f"its inputs end before anything came, and {why}")


def _waits_applies(node_type: NodeType[Any]) -> str:
    return "" if "Out" in kinds_of(node_type) else "it has no Out port, so nobody can be behind"


RULES = (
    Rule("C07", "it does not care how a stream is cut, where it promises `cut`", cut_anywhere, _cut_applies),
    Rule(
        "C08",
        "outputs keep the order it promises, however fast its inputs, its answers and its readers are",
        keeps_order,
        needs("Out", "Publish"),
        Wants(least=2),
    ),
    Rule(
        "C09",
        "when nobody reads it waits, without spinning, holding no more than it promises; read late, it says the same",
        waits,
        _waits_applies,
        Wants(least=3, messages_max=6),
    ),
    Rule("C17", "it ends when its inputs end, and flushes once", ends, needs("In", "Serve"), Wants(least=1)),
)
