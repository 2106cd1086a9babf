"""C01-C06 and C15: what a node takes and says, message by message."""

from __future__ import annotations

import copy
from dataclasses import fields, replace
from typing import Any

import numpy as np

from flow.errors import FlowError, ForgottenAwaitError, MessageError
from flow.message import Message
from flow.message import check as check_message
from flow.node_type import NodeType
from flow.testing.cases import Wants
from flow.testing.compare import difference, digest, is_prefix, message_difference
from flow.testing.rules.rule import BrokenError, Rule, Subject, UnfitError, always, needs
from flow.testing.rules.said import otherwise
from flow.testing.surroundings import Surroundings
from flow.testing.trial import How, Record
from flow.wire import Kind, Schema, decode, encode

_READ_ONLY = ("read-only", "read only", "not writeable", "WRITEABLE")


def writes(record: Record) -> bool:
    """Whether it failed because it wrote into what cannot be written to."""
    return isinstance(record.error, (ValueError, BufferError)) and any(text in str(record.error) for text in _READ_ONLY)


def conforms(subject: Subject) -> None:
    record = subject.play()
    if record.nonconforming:
        raise BrokenError(f"it says what its types do not allow: {record.nonconforming[0]}")
    if isinstance(record.error, ForgottenAwaitError):
        raise BrokenError(str(record.error))
    if isinstance(record.error, FlowError):
        raise UnfitError(str(record.error))
    if record.error is not None and not writes(record):
        raise BrokenError(
            f"it fails on what its types allow: {type(record.error).__name__}: {record.error}; say what is valid with "
            "a Range at the field or setting, or refuse it with a MessageError or SettingError that names it"
        )


def refuses(subject: Subject) -> None:
    """One message is spoiled: refused with the port's name, or passed over; what came before stands."""
    good = subject.plain()
    rows = [(port, index) for port, items in subject.case.inputs.items() for index in range(len(items))]
    if not rows:
        raise UnfitError
    port, index = rows[subject.case.choice(0) % len(rows)]
    _, message = subject.case.inputs[port][index]
    sizes = subject.type.port_sizes(port, subject.case.settings)
    spoiled, field = spoil(message, subject.case.choice(1), sizes, whole=subject.type.ports[port].kind == "Serve")
    if spoiled is None:
        raise UnfitError
    bad = subject.play(How(spoiled=(port, index, spoiled)))
    if bad.stuck and subject.type.ports[port].kind != "Serve":
        raise BrokenError(f"a {field} of a wrong type at {port}: {bad.stuck}")
    if bad.error is None:
        taken_after = [event for event in bad.events if event.kind == "taken" and event.message is spoiled]
        if taken_after and difference(good.said(), bad.said()) and bad.ended:
            raise BrokenError(f"port {port} got a message whose {field} does not conform, and it went on with it")
        return
    text = str(bad.error)
    if not isinstance(bad.error, FlowError) or f"port {port}" not in text or (field and f"field {field}" not in text):
        raise BrokenError(
            f"port {port} got a message whose {field or 'type'} does not conform, and it failed with "
            f"{type(bad.error).__name__}: {text}; a FlowError that names the port and the field was expected"
        )
    if subject.type.promises.order == "total" and (where := is_prefix(bad.said(), good.said())):
        raise BrokenError(f"before it refused a bad message at {port} it had said something else: {where}")


def spoil(message: Message, how: int, sizes: Any, *, whole: bool) -> tuple[Any, str]:
    """A message that does not conform, and the field; (None, "") if this one cannot be spoiled so.

    whole: only so that it can still be batched.
    """
    ways = [_other_dtype, _more_dimensions, _other_size, _out_of_bounds, *([] if whole else [_no_value])]
    for turn in range(len(ways)):
        spoilt = ways[(how + turn) % len(ways)](message, how // len(ways), sizes)
        if spoilt is None:
            continue
        try:
            check_message(spoilt[0], type(message), sizes)
        except MessageError:
            return spoilt
    return None, ""


def _array_field(message: Message, which: int) -> str | None:
    names = [each.name for each in message.fields if each.kind == "array" and each.library == "numpy"]
    return names[which % len(names)] if names else None


def _other_dtype(message: Message, which: int, sizes: Any) -> tuple[Any, str] | None:
    name = _array_field(message, which)
    if name is None:
        return None
    array = getattr(message, name)
    other = "int8" if array.dtype.kind in "fcb" else "float32"
    return replace(message, **{name: np.zeros(array.shape, other)}), name  # type: ignore[type-var]


def _more_dimensions(message: Message, which: int, sizes: Any) -> tuple[Any, str] | None:
    name = _array_field(message, which)
    if name is None:
        return None
    return replace(message, **{name: getattr(message, name)[..., None]}), name  # type: ignore[type-var]


def _other_size(message: Message, which: int, sizes: Any) -> tuple[Any, str] | None:
    """A dimension that a setting or a number fixes is one longer."""
    for each in message.fields:
        for axis, dim in enumerate(each.dims):
            if each.kind == "array" and each.library == "numpy" and axis and dim.resolved(sizes) is not None:
                array = getattr(message, each.name)
                longer = np.zeros((*array.shape[:axis], array.shape[axis] + 1, *array.shape[axis + 1 :]), array.dtype)
                return replace(message, **{each.name: longer}), each.name  # type: ignore[type-var]
    return None


def _out_of_bounds(message: Message, which: int, sizes: Any) -> tuple[Any, str] | None:
    for each in message.fields:
        if each.bounds is None:
            continue
        beyond = (each.bounds.high or 0) + 1 if each.bounds.high is not None else (each.bounds.low or 0) - 1
        if each.kind == "scalar":
            return replace(message, **{each.name: each.scalar(beyond)}), each.name  # type: ignore[type-var]
        array = getattr(message, each.name)
        if each.kind == "array" and isinstance(array, np.ndarray) and array.size and _fits(array.dtype, beyond):
            return replace(message, **{each.name: np.full(array.shape, beyond, array.dtype)}), each.name  # type: ignore[type-var]
    return None


def _fits(dtype: Any, value: float) -> bool:
    return dtype.kind == "f" or (dtype.kind in "iu" and np.iinfo(dtype).min <= value <= np.iinfo(dtype).max)


def _no_value(message: Message, which: int, sizes: Any) -> tuple[Any, str] | None:
    names = [each.name for each in fields(message)]  # type: ignore[arg-type]
    name = names[which % len(names)]
    return replace(message, **{name: None}), name  # type: ignore[type-var]


def same_seed(subject: Subject) -> None:
    one = subject.sound(subject.play(How(surroundings=Surroundings(dice=1))))
    for turn in range(1, 3):
        schedule = subject.case.schedule + turn
        other = subject.play(How(schedule=schedule, surroundings=Surroundings(dice=1 + turn)))
        if where := otherwise(subject, one, subject.sound(other)):
            raise BrokenError(
                f"played again with the same seed ({subject.case.seed}), another order of its tasks and other dice "
                f"outside its own, it says something else: {where}"
            )


def seed_matters(subject: Subject) -> None:
    one = subject.plain()
    if not one.said():
        raise UnfitError
    other = subject.sound(subject.play(case=replace(subject.case, seed=subject.case.seed + 1)))
    where = otherwise(subject, one, other)
    if not subject.type.promises.seeded:
        if where:
            raise BrokenError(f"another Context.seed changes what it says ({where}); declare Promises(seeded=True)")
    elif not where:
        raise BrokenError("in no case did another Context.seed change what it says, though it promises `seeded`")


def _seed_applies(node_type: NodeType[Any]) -> str:
    if not node_type.context_parameter:
        return "it takes no Context, so it has no seed"
    return needs("Out", "Call", "Publish", "Serve")(node_type)


def alters_nothing(subject: Subject) -> None:
    before = {id(message): digest(message) for _, _, message in subject.case}
    copies = copy.deepcopy(dict(subject.case.inputs))
    for items in copies.values():
        for _, message in items:
            _freeze(message)
    record = subject.play(case=subject.case.fed(copies))
    if writes(record):
        raise BrokenError(f"it writes into a message that it received: {record.error}")
    for port, items in copies.items():
        for index, (_, message) in enumerate(items):
            if digest(message) != before[id(subject.case.inputs[port][index][1])]:
                raise BrokenError(f"message {index} of port {port} is another after the node had it")


def _freeze(message: Message) -> None:
    for value in vars(message).values():
        for array in value.values() if isinstance(value, dict) else (value,):
            if isinstance(array, np.ndarray):
                array.setflags(write=False)


def leaves_alone(subject: Subject) -> None:
    record = subject.play(How(digests=True))
    if writes(record):
        received = [event for event in record.events if event.kind == "taken"]
        if not received:
            raise BrokenError(f"it writes into a message that it has sent: {record.error}")
    for event, before in zip(record.events, record.digests, strict=False):
        if before and digest(event.message) != before:
            raise BrokenError(
                f"a message that it had {event.kind} at port {event.port} changed afterwards: it goes on writing into "
                "memory that it gave away; send a copy"
            )


def travels(subject: Subject) -> None:
    record = subject.plain()
    said = [(event.port, event.message) for event in record.events if event.kind != "taken"]
    for port, message in [*((port, message) for port, _, message in subject.case), *said]:
        try:
            frames, _ = encode(Kind.DATA, 0, 0, 0, 0, message)
        except MessageError as error:
            raise BrokenError(f"a message of port {port} cannot travel to another process: {error}") from error
        received = decode([bytes(frame) for frame in frames], _lookup(type(message))).message
        if where := message_difference(message, received):
            raise BrokenError(f"a message of port {port} is another when it arrives in another process: {where}")


def _lookup(message: type[Message]) -> Any:
    schema = Schema(message, {})
    return lambda kind, link: schema


def seed_rule(node_type: NodeType[Any]) -> Rule:
    """C04 for a node: it must matter somewhere where it is promised, and nowhere where it is not."""
    return replace(_SEED, some=node_type.promises.seeded)


_SEED = Rule(
    "C04",
    "another seed changes what it says if it promises that, and else none does",
    seed_matters,
    _seed_applies,
    Wants(least=3, messages_max=6),
)

RULES = (
    Rule("C01", "what its types and ranges allow it processes, and what it says conforms to them", conforms, always),
    Rule(
        "C02",
        "a message that does not conform is refused with the names of port and field; what came before stands",
        refuses,
        needs("In", "Serve", "Latest"),
    ),
    Rule("C03", "the same seed gives the same output, whatever the order of its tasks", same_seed, always),
    _SEED,
    Rule("C05", "it does not alter what it receives", alters_nothing, needs("In", "Serve", "Latest")),
    Rule("C06", "what it has sent stays as it was", leaves_alone, needs("Out", "Call", "Publish", "Serve")),
    Rule("C15", "every message it takes and says arrives in another process as it was", travels, always),
)
