"""C16: an item's answer does not depend on its neighbours, nor on the size of the batch."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from flow.batch import rows_of
from flow.message import Message
from flow.testing.case import Case
from flow.testing.cases import Wants
from flow.testing.compare import message_difference
from flow.testing.rules.rule import BrokenError, Rule, Subject, UnfitError, needs


def answers_alone(subject: Subject) -> None:
    """The first question of the case: with others in its batch, with other others, and alone."""
    ports = [port.name for port in subject.type.ports.values() if port.kind == "Serve"]
    asked = {port: [message for _, message in subject.case.inputs.get(port, ())] for port in ports}
    fit = [port for port in ports if len(asked[port]) > 1 and rows_of(asked[port][0])]
    if not fit:
        raise UnfitError
    for port in fit:
        _one_port(subject, port, asked[port])


def _one_port(subject: Subject, port: str, questions: list[Message]) -> None:
    promises = subject.type.promises
    asked, neighbour = questions[0], questions[1]
    others = _others(neighbour, questions[2:])
    beside = _answer(subject, port, [asked, neighbour])
    for other in others:
        instead = _answer(subject, port, [asked, other])
        if where := message_difference(beside, instead):
            raise BrokenError(
                f"port {port}: the answer to one question is another when the question beside it in the batch is: "
                f"{where}"
            )
    alone = _answer(subject, port, [asked])
    tolerance = promises.tolerance if promises.batching == "tolerance" else 0.0
    if where := message_difference(beside, alone, tolerance, promises.drawn):
        allowed = f"beyond the tolerance of {tolerance:g}" if tolerance else "though it promises exact batching"
        raise BrokenError(
            f"port {port}: the answer to one question is another when it is asked alone, {allowed}: {where}"
        )


def _others(neighbour: Message, questions: list[Message]) -> list[Message]:
    """Questions of the neighbour's shape that ask something else."""
    shape = [np.shape(value) for value in vars(neighbour).values()]
    found = [each for each in questions if [np.shape(value) for value in vars(each).values()] == shape]
    if rows_of(neighbour) > 1:
        turned = {field.name: getattr(neighbour, field.name)[::-1] for field in neighbour.fields}
        found.append(replace(neighbour, **turned))  # type: ignore[type-var]
    return found


def _answer(subject: Subject, port: str, questions: list[Message]) -> Any:
    """What the first is answered, all of them asked at once."""
    latest = max((moment for _, moment, _ in _without(subject.case, port)), default=0.0)
    moment = max(latest, 0.0) + 1.0
    record = subject.sound(subject.play(case=subject.case.fed({port: [(moment, each) for each in questions]})))
    answers = [message for number, message in record.said().get(port, ()) if number == 0]
    if not answers:
        raise UnfitError
    return answers[0]


def _without(case: Case, port: str) -> Case:
    return case.fed({port: []})


RULES = (
    Rule(
        "C16",
        "an answer does not depend on who else asked, nor, within a tolerance, on how many did",
        answers_alone,
        needs("Serve"),
        Wants(least=3, messages_max=4),
    ),
)
