"""C13 and C14: killed and restored."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from flow.saved import Packed
from flow.testing.case import BEFORE, Case
from flow.testing.cases import Wants
from flow.testing.compare import difference
from flow.testing.rules.rule import BrokenError, Rule, Subject, UnfitError, kinds_of
from flow.testing.rules.said import otherwise
from flow.testing.trial import How, Record


def goes_on(subject: Subject) -> None:
    """Its state is taken between two messages; killed later, and restored, it says what it would have said."""
    whole = subject.plain()
    if not subject.count("In", "Serve"):
        _source_goes_on(subject, whole)
        return
    moment = 0.5 + subject.case.choice(0) % (int(subject.case.last) + 1)
    first = subject.play(How(snapshot_at=moment))
    if first.snapshot is None:
        raise UnfitError
    _must_pack(first)
    before = first.said(stop=first.snapshot_events)
    wrong = ""
    for again in _in_hand(subject, first, moment):
        rest = subject.play(How(start=first.snapshot), case=again)
        if rest.error is not None:
            wrong = wrong or f"restored from its state, it fails: {type(rest.error).__name__}: {rest.error}"
            continue
        both = _as_published(subject, whole, _after(subject, before, rest.said()))
        where = difference(whole.said(), both, subject.type.promises, _rounding(subject))
        if not where:
            return
        wrong = wrong or f"restored from its state after {_count(subject.case, moment)}, it goes on otherwise: {where}"
    raise BrokenError(wrong)


def _source_goes_on(subject: Subject, whole: Record) -> None:
    sent = subject.case.choice(0) % max(1, subject.case.most)
    first = subject.play(How(snapshot_sent=sent))
    if first.snapshot is None:
        raise UnfitError
    _must_pack(first)
    before = first.said(stop=first.snapshot_events)
    rest = subject.play(How(start=first.snapshot), case=replace(subject.case, most=subject.case.most - sent))
    if rest.error is not None:
        raise BrokenError(f"restored from its state, it fails: {type(rest.error).__name__}: {rest.error}")
    streams = {event.port for event in whole.events if event.kind == "sent"}
    both, expected = _after(subject, before, rest.said()), whole.said()
    # A source is stopped at `most` messages, and may send one more before it hears of it.
    stopped = subject.case.most <= min(sum(len(each.get(port, ())) for port in streams) for each in (both, expected))
    cut = {port: min(len(both.get(port, ())), len(expected[port])) if stopped else None for port in streams}
    found = {port: both.get(port, [])[: cut[port]] for port in streams}
    wanted = {port: expected[port][: cut[port]] for port in streams}
    if where := difference(wanted, found, subject.type.promises):
        raise BrokenError(f"restored from its state after {sent} messages, it goes on otherwise: {where}")


def _must_pack(record: Record) -> None:
    if record.state_error is not None:
        raise BrokenError(f"its state cannot be saved: {record.state_error}")


def _count(case: Case, moment: float) -> str:
    came = sum(at < moment for _, at, _ in case)
    return f"{came} message{'' if came == 1 else 's'}"


def _in_hand(subject: Subject, first: Record, moment: float) -> Iterator[Case]:
    """What is left to do after a moment. With several streams, also with what it may have had in hand done again."""
    ports = [port.name for port in subject.type.ports.values() if port.kind == "In"]
    left = _left(subject, first, moment)
    yield left
    if len(ports) < 2:
        return
    holds = range(subject.type.promises.holds + 1)
    for again in itertools.islice(itertools.product(holds, repeat=len(ports)), 1, 8):
        inputs = {}
        for port, number in zip(ports, again, strict=True):
            earlier = [item for item in subject.case.inputs[port] if item not in left.inputs[port]]
            inputs[port] = [*((0.0, message) for _, message in earlier[len(earlier) - number :]), *left.inputs[port]]
        yield left.fed(inputs)


def _left(subject: Subject, first: Record, moment: float) -> Case:
    """The inputs that were not taken or asked by then, and of each `Latest` the value that was newest."""
    taken = [event for event in first.events[: first.snapshot_events] if event.kind == "taken"]
    inputs: dict[str, Any] = {}
    for port in subject.type.ports.values():
        items = list(subject.case.inputs.get(port.name, ()))
        if port.kind == "In":
            inputs[port.name] = items[sum(event.port == port.name for event in taken) :]
        elif port.kind == "Serve":
            inputs[port.name] = [item for item in items if item[0] >= moment]
        elif port.kind == "Latest":
            old = [item for item in items if item[0] < moment]
            newest = [(BEFORE, message) for _, message in old[-1:]]
            inputs[port.name] = newest + [item for item in items if item[0] >= moment]
    return subject.case.fed(inputs)


def _after(subject: Subject, before: dict[str, list[Any]], rest: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """What was said before and after; answers are numbered on."""
    serves = {port.name for port in subject.type.ports.values() if port.kind == "Serve"}
    both = {port: list(messages) for port, messages in before.items()}
    for port, messages in rest.items():
        have = both.setdefault(port, [])
        answers = port in serves and bool(messages) and bool(have) and messages[0][0] <= have[-1][0]
        shift = have[-1][0] + 1 - messages[0][0] if answers else 0
        have += [(item[0] + shift, item[1]) for item in messages] if answers else messages
    return both


def _rounding(subject: Subject) -> float:
    """torch's kernels round otherwise where a tensor lies otherwise in memory, as a restored one does."""
    return subject.type.promises.tolerance if "torch" in subject.type.needs else 0.0


def _as_published(subject: Subject, whole: Record, both: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """What was said without what a node publishes once more as it starts: of a published value the newest counts."""
    for port in subject.type.ports.values():
        if port.kind == "Publish" and port.name in both:
            versions = [version for version, _ in whole.said().get(port.name, ())]
            found = {version: message for version, message in both[port.name] if version in versions}
            both[port.name] = sorted(found.items())
            if not both[port.name]:
                del both[port.name]
    return both


def survives_bytes(subject: Subject) -> None:
    """State goes through a checkpoint's bytes and is the same; taking it does not change what the node does."""
    whole = subject.plain()
    if subject.count("In", "Serve"):
        how = How(snapshot_at=0.5 + subject.case.choice(0) % (int(subject.case.last) + 1))
    else:
        how = How(snapshot_sent=subject.case.choice(0) % subject.case.most)
    first = subject.play(how)
    _must_pack(first)
    if first.snapshot is None:
        raise UnfitError
    if where := otherwise(subject, whole, subject.sound(first)):
        raise BrokenError(f"that its state was taken changes what it says: {where}")
    nothing = replace(subject.case, inputs={})
    again = subject.play(How(start=first.snapshot, snapshot_at=0.25, end_after=0.5), case=nothing)
    if again.error is not None:
        raise BrokenError(f"it does not start from its own state: {type(again.error).__name__}: {again.error}")
    if again.snapshot is not None and subject.count("In", "Serve") and not _same(first.snapshot, again.snapshot):
        raise BrokenError("its state, restored and taken again before anything came, is another")


def _same(one: Packed, other: Packed) -> bool:
    return one.tensors == other.tensors and one.rest == other.rest


def _goes_on_applies(node_type: Any) -> str:
    if kinds_of(node_type) & {"In", "Serve", "Out"}:
        return ""
    return "it takes no messages and sends none"


def _saves(node_type: Any) -> str:
    return "" if node_type.saved_parameter else "it keeps no Saved state"


RULES = (
    Rule(
        "C13",
        "killed and restored from its last saved state it goes on as if never killed",
        goes_on,
        _goes_on_applies,
        Wants(least=2),
    ),
    Rule("C14", "its state survives the bytes of a checkpoint", survives_bytes, _saves, Wants(least=1)),
)
