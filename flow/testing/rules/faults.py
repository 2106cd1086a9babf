"""C10-C12: cancelled at every step, and a fault at every effect."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from flow.testing.cases import Wants
from flow.testing.compare import difference, is_prefix
from flow.testing.rules.rule import BrokenError, Rule, Subject, always, needs
from flow.testing.rules.said import said_in_streams
from flow.testing.rules.streams import missing
from flow.testing.stage import InjectedError
from flow.testing.trial import STOPPING_S, How, Record


def stops(subject: Subject) -> None:
    for step, record in _cancelled(subject, How()):
        if record.stuck:
            raise BrokenError(f"cancelled at step {step}, it does not stop: {record.stuck}")
        if record.stopping_s > STOPPING_S:
            raise BrokenError(f"cancelled at step {step}, it takes {record.stopping_s:g} s to stop")
        if record.error is not None:
            raise BrokenError(f"cancelled at step {step}, it fails with {type(record.error).__name__}: {record.error}")


def loses_nothing(subject: Subject) -> None:
    """A run in which all goes at its pace tells what each message leads to; the runs that are cancelled are hurried."""
    whole = subject.plain()
    hurried = replace(subject, case=subject.case, tried=0)
    how = How()
    if subject.count("In") == 1:
        ports = [port.name for port in subject.type.ports.values() if port.kind == "In"]
        hurried = Subject(subject.type, subject.case.at_once(ports), subject.budget)
        how = How(pace=0.5)
    try:
        for step, record in _cancelled(hurried, how):
            if record.error is not None or record.stuck:
                continue  # C10 says so
            if lost := missing(subject, whole, record):
                raise BrokenError(f"cancelled at step {step}, {lost}, and it is lost")
            where = is_prefix(said_in_streams(record), said_in_streams(whole))
            if where and subject.type.promises.order == "total":
                raise BrokenError(f"cancelled at step {step}, it says what a whole run does not: {where}")
    finally:
        subject.tried += hurried.tried
    if subject.type.context_parameter:
        _starts_again(subject, How(cancel_at=max(1, whole.steps // 2)), "cancelled")


def _cancelled(subject: Subject, how: How) -> Iterator[tuple[int, Record]]:
    """Each step at which it can be cancelled, and what came of it."""
    for step in subject.steps(subject.sound(subject.play(how)).steps):
        if subject.late:
            return
        record = subject.play(replace(how, cancel_at=step))
        if record.cancelled:
            yield step, record


def _starts_again(subject: Subject, how: How, what: str) -> None:
    """After it was stopped, another start in the same directory goes well."""
    with tempfile.TemporaryDirectory(prefix="flow-test-") as name:
        directory = Path(name)
        subject.play(How(cancel_at=how.cancel_at, fail_at=how.fail_at, directory=directory))
        again = subject.play(How(directory=directory))
    if again.error is not None:
        raise BrokenError(
            f"{what} once, it does not start again in its directory: {type(again.error).__name__}: {again.error}"
        )


def fails_cleanly(subject: Subject) -> None:
    whole = subject.plain()
    for number in subject.steps(len(whole.effects)):
        if subject.late:
            return
        record = subject.play(How(fail_at=number))
        if not record.injected:
            continue
        what = whole.effects[number - 1]
        if record.stuck:
            raise BrokenError(f"effect {number}, {what}, failed, and {record.stuck}")
        if record.error is None:
            if difference(whole.said(), record.said(), subject.type.promises):
                raise BrokenError(f"effect {number}, {what}, failed: it says nothing of that and loses what it was for")
        elif not _tells(record.error):
            raise BrokenError(
                f"effect {number}, {what}, failed, and it hides that behind {type(record.error).__name__}: "
                f"{record.error}; raise it as it is, or `from` it"
            )
    if subject.type.context_parameter and whole.effects and not subject.late:
        _starts_again(subject, How(fail_at=1 + subject.case.choice(0) % len(whole.effects)), "failed")


def _tells(error: BaseException | None) -> bool:
    """Whether an error is the injected one, or was raised because of it."""
    while error is not None:
        if isinstance(error, InjectedError):
            return True
        error = error.__cause__ or error.__context__
    return False


RULES = (
    Rule("C10", f"cancelled at any step it stops, within {STOPPING_S:g} s", stops, always, Wants(least=1)),
    Rule(
        "C11",
        "cancelled at any step it has lost no more than it promises to hold, and can start again",
        loses_nothing,
        needs("In"),
        Wants(least=2),
    ),
    Rule(
        "C12",
        "when a send, a call, a publication, a computation or a file fails, it ends with that error, or makes good",
        fails_cleanly,
        always,
        Wants(least=2),
    ),
)
