"""What a node said in two trials, as far as it can be compared."""

from __future__ import annotations

from typing import Any

from flow.testing.compare import difference, key_of
from flow.testing.rules.rule import Subject
from flow.testing.trial import Record

Said = dict[str, list[Any]]


def said_in_streams(record: Record) -> Said:
    """What it sent and published. What it asks is in an order of its own: it may have several questions under way."""
    ports = {event.port for event in record.events if event.kind in ("sent", "published")}
    return {port: messages for port, messages in record.said().items() if port in ports}


def otherwise(subject: Subject, one: Record, other: Record) -> str:
    """Where two trials differ in all that was said; "" where they do not."""
    if not subject.count("In", "Serve"):  # stopped after some messages, whatever it was asking then
        return otherwise_said(subject, said_in_streams(one), said_in_streams(other))
    return difference(one.said(), other.said(), subject.type.promises)


def otherwise_said(subject: Subject, one: Said, other: Said) -> str:
    """The same of a part of it. Of a node that is stopped at some length, as far as both go."""
    if not subject.count("In", "Serve"):
        one, other = _apart(subject, one), _apart(subject, other)
        keys = {*one, *other}
        shorter = {key: min(len(one.get(key, ())), len(other.get(key, ()))) for key in keys}
        one, other = ({key: said.get(key, [])[: shorter[key]] for key in keys} for said in (one, other))
        return difference(one, other)
    return difference(one, other, subject.type.promises)


def _apart(subject: Subject, said: Said) -> Said:
    """By port and the value by which the node keeps order; nothing where it keeps none."""
    promises = subject.type.promises
    if promises.order == "none":
        return {}
    field = promises.order_field
    if field is None:
        return said
    parts: Said = {}
    for port, messages in said.items():
        for message in messages:
            parts.setdefault(f"{port} {key_of(message, field).hex()}", []).append(message)
    return parts
