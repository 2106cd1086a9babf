"""Messages, and ways to drive general nodes with them: bound to a type, stopped and resumed, compared."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st
from jaxtyping import Bool, Float32, Int16, Shaped, UInt8

from flow import Array, Context, Message, Saved
from flow.generic import solve
from flow.node_type import NodeType
from flow.ports import In
from flow.saved import pack, unpack
from flow.testing import messages
from flow.testing.memory_ports import Ends, stream


class Clip(Message):
    """Every kind of field but a text."""

    samples: Float32[Array, "time"]
    picture: UInt8[Array, "2 time+1"]
    flag: Bool[Array, ""]
    anything: Shaped[Array, "..."]
    tensors: dict[str, Int16[Array, "3"]]
    rate: int
    gain: float
    mono: bool


class Numbered(Message):
    """A number, and something to tell it by."""

    number: int
    name: str
    at: float


def clips(**fixed: Any) -> st.SearchStrategy[list[Clip]]:
    """Clips that can be stacked: of one shape and dtype, one table of names, numbers of 64 bits."""

    @st.composite
    def build(draw: st.DrawFn) -> list[Clip]:
        time = draw(st.integers(0, 3))
        shape = draw(st.lists(st.integers(0, 2), max_size=2))
        dtype = draw(st.sampled_from(["float64", "uint8", "bool", "complex64"]))
        names = draw(st.lists(st.text(max_size=3), max_size=2, unique=True))
        # Of rank 0, whole numbers and truth values cannot be told from numbers once they are stacked.
        fields = {
            "rate": st.integers(-(1 << 63), (1 << 63) - 1),
            "anything": st.integers(0, 200).map(lambda n: np.full(shape, n % 2).astype(dtype)),
            "tensors": st.integers(-9, 9).map(lambda n: {name: np.full(3, n, np.int16) for name in names}),
        }
        return draw(st.lists(messages(Clip, sizes={"time": time}, **{**fields, **fixed}), max_size=9))

    return build()


def numbered(values: list[int], name: str = "") -> list[Numbered]:
    return [Numbered(value, name, value / 4) for value in values]


def bound(node_type: NodeType[Any], message: type[Message], **settings: Any) -> NodeType[Any]:
    """The node type as it is in a graph where all its inputs bring this message."""
    made: dict[str, NodeType[Any]] = {"it": node_type}
    edges = []
    for port in node_type.ports.values():
        if port.kind == "In":
            made[f"source_{port.name}"] = _source(message)
            edges.append(((f"source_{port.name}", "sent"), ("it", port.name)))
    values = {name: setting.default for name, setting in node_type.settings.items()} | settings
    found = solve(made, {name: values if name == "it" else {} for name in made}, edges)
    if found.problems:
        raise AssertionError(found.problems)
    return found.types["it"]


def _source(message: type[Message]) -> NodeType[Any]:
    from flow import Out, node

    async def source(sent: Out[message]) -> None: ...

    source.__annotations__["sent"] = Out[message]
    return node(source)


def problem_of(node_type: NodeType[Any], message: type[Message], **settings: Any) -> str:
    """What a graph's check says of the node where this message comes."""
    try:
        bound(node_type, message, **settings)
    except AssertionError as error:
        return str(next(iter(error.args[0].values())))
    return ""


class _Stopped(Exception):
    """Raised in a node where a checkpoint was taken, and all after it is lost."""


class _StopsAt:
    """Stands for the runtime at a node's ports: stops the node when it rests for the nth time."""

    def __init__(self, nth: int) -> None:
        self.left = nth

    def __enter__(self) -> None:
        self.left -= 1
        if not self.left:
            raise _Stopped

    def __exit__(self, *_: object) -> None: ...


async def drive_in_parts(
    node_type: NodeType[Any], rests: list[int], heard: str, /, *, ports: dict[str, list[Any]], **settings: Any
) -> list[Any]:
    """What a node says that is killed again and again, each time after so many rests, and goes on from there.

    A checkpoint is taken when a node rests: it goes on with the state of that moment and with what it had not taken
    then; what it had said is said.
    """
    told: list[Any] = []
    left = {name: list(items) for name, items in ports.items()}
    state: dict[str, Any] | None = None
    for nth in [*rests, 1 << 60]:
        rest, saved = _StopsAt(nth), Saved(state)
        made: dict[str, Any] = {}
        said: dict[str, In[Any]] = {}
        for port in node_type.ports.values():
            out, into = stream(port.messages[0], credit=1000, ends=Ends(sizes=port.sizes or {}))
            for item in left.get(port.name, ()):
                await out.send(item)
            made[port.name] = into if port.kind == "In" else out
            made[port.name]._spec.rest = rest
            if port.kind == "In":
                out.end()
            else:
                said[port.name] = into
        values = {name: setting.default for name, setting in node_type.settings.items()} | settings
        for name, thing in ((node_type.saved_parameter, saved), (node_type.context_parameter, Context("it"))):
            if name:
                values[name] = thing
        try:
            await node_type.function(*made.values(), **values)
        except _Stopped:
            packed = pack(saved.state())
            state = unpack(packed.tensors, packed.rest)
        left = {name: list(iter(made[name].receive_nowait, None)) for name in ports}
        told += iter(said[heard].receive_nowait, None)
        if rest.left > 0:
            return told
    raise AssertionError("a node rested without end")


def assert_same(found: Message, expected: Message) -> None:
    """Equal bit for bit: values, dtypes and shapes."""
    assert {f.name for f in type(found).fields} == {f.name for f in type(expected).fields}
    for field in type(expected).fields:
        a, b = getattr(found, field.name), getattr(expected, field.name)
        if field.kind == "scalar":
            assert type(a) is type(b)
            assert a == b or (a != a and b != b)
        else:
            assert not isinstance(b, dict) or a.keys() == b.keys()
            for x, y in [(a[key], b[key]) for key in b] if isinstance(b, dict) else [(a, b)]:
                np.testing.assert_array_equal(x, y, strict=True)


def assert_all_same(found: list[Any], expected: list[Any]) -> None:
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert_same(a, b)
