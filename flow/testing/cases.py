"""Cases of a node, drawn: settings first, then the dimensions that they leave open, then every message.

Nothing need be declared. A setting keeps its default or moves within its `Range`, `Literal` or `Names`; a required one
is drawn from its type. A dimension's name means one size in a whole case, but the first dimension of a message's
arrays, which differs from message to message. What cannot be derived is told with the field or setting it is for.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any

from hypothesis import strategies as st
from jaxtyping import Float32, Int64

from flow import Array, Message, Range
from flow.errors import FlowError, SettingError
from flow.node_type import OTHER_END, NodeType, Port
from flow.setting import Setting
from flow.testing.case import BEFORE, Case, Timed
from flow.testing.given import Given, given_of
from flow.testing.strategies import any_size, draw_message

INPUTS = ("In", "Serve", "Latest")
# How far above its least value a number of a setting is tried: more of what it counts costs time and memory.
REACH = 4
CHOICES = 6
_COUNTS = {(least, most): st.integers(least, most) for most in range(9) for least in range(most + 1)}
_CHOICES = st.lists(st.integers(0, 15), min_size=CHOICES, max_size=CHOICES)
_MOST, _SEEDS, _SCHEDULES = st.integers(1, 4), st.integers(0, 3), st.integers(0, (1 << 16) - 1)


class Sample(Message):
    """What a node of any message is tried with."""

    values: Float32[Array, "rows 2"]
    number: int


class Count(Message):
    """The same, shorter."""

    numbers: Annotated[Int64[Array, "rows"], Range(-8, 8)]


@dataclass(frozen=True)
class Wants:
    """What cases a rule asks for.

    messages_max: at each port. least: at one port at least. apart: every message at a moment of its own.
    """

    messages_max: int = 4
    least: int = 0
    apart: bool = True


@dataclass
class Cases:
    """How to draw cases of one node.

    fixed: settings that are not drawn.
    """

    type: NodeType[Any]
    fixed: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.given: Given = given_of(self.type)
        for name in (*self.given.settings, *self.fixed):
            if name not in self.type.settings:
                known = ", ".join(self.type.settings) or "none"
                raise SettingError(f"{self.type.name} has no setting '{name}'; it has {known}")
        self.fixed = {name: self.type.settings[name].accept(value) for name, value in self.fixed.items()}

    def settings(self) -> st.SearchStrategy[dict[str, Any]]:
        """Values of all settings."""
        return st.fixed_dictionaries({name: self._setting(each) for name, each in self.type.settings.items()})

    def _setting(self, setting: Setting) -> st.SearchStrategy[Any]:
        if setting.name in self.fixed:
            return st.just(self.fixed[setting.name])
        given = self.given.settings.get(setting.name)
        if given is not None:
            return given if isinstance(given, st.SearchStrategy) else st.just(given)
        drawn = drawn_setting(setting)
        if setting.required and drawn is not None:
            return drawn
        return st.just(setting.default) if drawn is None else st.just(setting.default) | drawn

    def cases(self, wants: Wants) -> st.SearchStrategy[Case]:
        """Cases, each with a scheduler seed of its own."""

        every_setting = self.settings()

        @st.composite
        def build(draw: st.DrawFn) -> Case:
            settings = draw(every_setting)
            dims: dict[str, int] = {}
            try:
                bound = bound_for(self.type, settings)
            except FlowError:  # the trial will say so
                return Case(settings=settings)
            ports = [port for port in bound.ports.values() if port.kind in INPUTS]
            lists = {port.name: self._list(draw, port, settings, dims, wants) for port in ports}
            self._fix_dims_of_answers(draw, bound, settings, dims)
            return Case(
                settings=settings,
                inputs=_timed(draw, ports, lists, wants),
                dims=dims,
                most=draw(_MOST),
                seed=draw(_SEEDS),
                schedule=draw(_SCHEDULES),
                choices=draw(_CHOICES),
            )

        return build()

    def _list(
        self, draw: st.DrawFn, port: Port, settings: dict[str, Any], dims: dict[str, int], wants: Wants
    ) -> list[Message]:
        most = 2 if port.kind == "Latest" else wants.messages_max
        least = 1 if port.kind == "Latest" else min(wants.least, most)
        given = self.given if self._is_of_given(port) else Given()
        stream = given.strategy("streams", port.name, settings)
        if stream is not None:
            drawn: list[Message] = draw(stream)
            return drawn[:most]
        count = draw(_COUNTS[least, most])
        one = given.strategy("messages", port.name, settings)
        if one is not None:
            return [draw(one) for _ in range(count)]
        known, some_size = self._fix_dims(draw, port, settings, dims)
        return [draw_message(draw, port.messages[0], dict(known), some_size) for _ in range(count)]

    def _is_of_given(self, port: Port) -> bool:
        """Whether what is given for a port fits it: a graph may have bound its variable to another message."""
        chosen = {message for variables in self.given.variables for message in variables.values()}
        return not any(port.variables) or not chosen or port.messages[0] in chosen

    def _fix_dims(
        self, draw: st.DrawFn, port: Port, settings: dict[str, Any], dims: dict[str, int]
    ) -> tuple[dict[str, int], st.SearchStrategy[int]]:
        """The sizes that all messages of a port share, and what the others are drawn from."""
        known = self.type.port_sizes(port.name, settings)
        bounds = tuple(size for size in self.type.sizes(settings).values() if 0 < size <= 64)
        varying = self._varying(port)
        some_size = any_size(4, bounds)
        for each in port.messages[0].fields:
            for dim in each.dims:
                if dim.name and dim.name != "_" and not {dim.name} & {*known, *varying, *dims}:
                    dims[dim.name] = draw(some_size)
        return {**dims, **known}, some_size

    def _varying(self, port: Port) -> set[str]:
        """Dimensions that differ from message to message."""
        names = {each.dims[0].name for each in port.messages[0].fields if each.dims}
        cut = self.type.promises.cut.get(port.name, "").partition(".")[2]
        return {name for name in (*names, cut) if name} - set(self.type.promises.same)

    def _fix_dims_of_answers(
        self, draw: st.DrawFn, bound: NodeType[Any], settings: dict[str, Any], dims: dict[str, int]
    ) -> None:
        for port in bound.ports.values():
            if port.kind == "Call":
                known = bound.port_sizes(port.name, settings)
                for each in port.messages[1].fields:
                    for dim in each.dims[1:]:
                        if dim.name and dim.name != "_" and not {dim.name} & {*known, *dims}:
                            dims[dim.name] = draw(st.integers(0, 3))


def drawn_setting(setting: Setting) -> st.SearchStrategy[Any] | None:
    """Values that a setting's type allows; None where only its default is known to make sense."""
    bounds = setting.bounds
    if setting.choices:
        return st.sampled_from(setting.choices)
    if setting.names is not None and (known := setting.names.known()):
        return st.sampled_from(list(known))
    if setting.kind == "bool":
        return st.booleans()
    if setting.kind == "int" and (bounds != Range() or setting.required):
        low = 0 if bounds.low is None else math.ceil(bounds.low)
        high = math.floor(bounds.high) if bounds.high is not None else low + REACH
        return st.integers(min(low, high), min(high, low + REACH))
    if setting.kind == "float" and (bounds != Range() or setting.required):
        low_f = 0.0 if bounds.low is None else float(bounds.low)
        high_f = low_f + 1.0 if bounds.high is None else float(bounds.high)
        return st.sampled_from(sorted({low_f, high_f, (low_f + high_f) / 2}))
    if not setting.required:
        return None
    if setting.kind == "list":
        one = drawn_setting(Setting("", setting.items, bounds=bounds))
        return st.lists(one, max_size=3) if one is not None else st.just([])
    return st.text("abc", min_size=1, max_size=3)


def _timed(draw: st.DrawFn, ports: list[Port], lists: dict[str, list[Message]], wants: Wants) -> dict[str, list[Timed]]:
    """Moments for all messages: in a drawn order of the ports, a second between two or none.

    The first value of a `Latest` port is there before the start.
    """
    inputs: dict[str, list[Timed]] = {port.name: [] for port in ports}
    waiting: list[str] = []
    for port in ports:
        items = lists[port.name]
        if port.kind == "Latest" and items:
            inputs[port.name].append((BEFORE, items[0]))
        waiting += [port.name] * (len(items) - len(inputs[port.name]))
    order = draw(st.permutations(waiting)) if len(set(waiting)) > 1 else waiting
    moment = 0.0
    for index, name in enumerate(order):
        if index:
            moment += 1.0 if wants.apart else draw(st.sampled_from((1.0, 0.0)))
        inputs[name].append((moment, lists[name][len(inputs[name])]))
    return inputs


def bound_for(node_type: NodeType[Any], settings: Mapping[str, Any]) -> NodeType[Any]:
    """The node with the messages that follow from its settings and from what is known of its ports.

    Raises:
      FlowError: the node says that they do not go together.
    """
    if node_type.binds is None:
        return node_type
    known = {
        variable: message
        for port in node_type.ports.values()
        for variable, message in zip(port.variables, port.messages, strict=False)
        if variable and message is not Message
    }
    every = {name: settings.get(name, each.default) for name, each in node_type.settings.items()}
    while new := {name: found for name, found in node_type.binds(every, known).items() if name not in known}:
        known |= new
    return node_type.bound(known, {name: {} for name in known})


def concrete(node_type: NodeType[Any], given: Given | None = None) -> list[NodeType[Any]]:
    """A node whose ports speak of any message, with its variables bound to some; any other as it is."""
    # Where the node says what follows from what, only what it is given is chosen.
    kinds = ("In", "Serve", "Latest") if node_type.binds is not None else tuple(OTHER_END)
    ports = [port for port in node_type.ports.values() if port.kind in kinds]
    every = [pair for port in node_type.ports.values() for pair in zip(port.variables, port.messages, strict=False)]
    if not any(variable and message is Message for variable, message in every):
        return [node_type]  # as a graph has bound it, if there was anything to bind
    given = given or given_of(node_type)
    variables = sorted({name for port in ports for name in port.variables if name})
    if not variables and not given.variables:
        return [node_type]
    choices = given.variables or tuple(dict.fromkeys(variables, message) for message in (Sample, Count))
    return [node_type.bound(chosen, {name: {} for name in chosen}) for chosen in choices]
