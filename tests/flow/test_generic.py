"""Ports of any message: what their type variables are once edges tie them."""

from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float32, UInt8

from flow import Array, Call, In, Latest, Message, Out, Publish, Range, Serve, node
from flow.errors import NodeTypeError, SettingError
from flow.generic import derived, solve
from flow.message import DTYPES, Dim, Field, check
from flow.node_type import NodeType
from flow.testing import drive

M = TypeVar("M", bound=Message)
N = TypeVar("N", bound=Message)


class Frames(Message):
    frames: UInt8[Array, "lanes 4"]


class Rows(Message):
    rows: Float32[Array, "rows 2"]


@node
async def source(frames: Out[Frames], *, lanes: int = 3) -> None: ...


@node
async def sink(frames: In[Frames], *, lanes: int = 3) -> None: ...


@node
async def relay(items: In[M], passed: Out[M], *, lanes: int = 7) -> None:
    """Has a setting named like a dimension of what passes."""
    async for item in items:
        await passed.send(item)


@node
async def asker(ask: Call[Rows, Rows]) -> None: ...


@node
async def server(asked: Serve[M, N]) -> None: ...


@node
async def publisher(value: Publish[Frames], *, lanes: int = 3) -> None: ...


@node
async def reader(newest: Latest[M]) -> None: ...


def _pair(settings: Mapping[str, Any], known: Mapping[str, type[Message]]) -> Mapping[str, type[Message]]:
    if settings["copies"] == 13:
        raise SettingError("copies=13 brings bad luck; choose another number")
    if "M" not in known:
        return {}
    size = Dim(None, settings["copies"])
    return {
        "N": derived(
            "Copies", tuple(Field(f.name, f.kind, f.doc, f.dtypes, (size, *f.dims)) for f in known["M"].fields)
        )
    }


@node(binds=_pair)
async def copies(items: In[M], copied: Out[N], *, copies: Annotated[int, Range(1)] = 2) -> None: ...


def solved(nodes: dict[str, NodeType[Any]], *edges: str, **settings: dict[str, Any]):
    tied = [tuple(tuple(end.split(".")) for end in edge.split(" ")) for edge in edges]
    return solve(nodes, {name: settings.get(name, {}) for name in nodes}, tied)


@given(relays=st.integers(1, 6), order=st.randoms(use_true_random=False), lanes=st.integers(1, 9))
def test_a_type_and_its_sizes_pass_through_any_chain_of_relays(relays, order, lanes):
    names = [f"relay{n}" for n in range(relays)]
    nodes = {"source": source, "sink": sink} | dict.fromkeys(names, relay)
    chain = ["source.frames", *[end for name in names for end in (f"{name}.items", f"{name}.passed")], "sink.frames"]
    edges = [f"{frm} {to}" for frm, to in zip(chain[::2], chain[1::2], strict=True)]
    order.shuffle(edges)
    found = solved(nodes, *edges, source={"lanes": lanes})
    assert found.problems == {}
    for name in names:
        for port in found.types[name].ports.values():
            assert port.messages == (Frames,)
            assert found.types[name].port_sizes(port.name, {"lanes": 7}) == {"lanes": lanes}


def test_without_a_sender_that_knows_the_receiver_decides():
    @node
    async def player(played: Out[M]) -> None: ...

    found = solved({"player": player, "sink": sink}, "player.played sink.frames", sink={"lanes": 5})
    assert found.types["player"].ports["played"].messages == (Frames,)
    assert found.types["player"].port_sizes("played", {}) == {"lanes": 5}


def test_questions_come_from_the_caller_and_so_does_an_answer_that_nothing_else_decides():
    found = solved({"asker": asker, "server": server}, "asker.ask server.asked")
    assert found.types["server"].ports["asked"].messages == (Rows, Rows)
    assert str(server.ports["asked"]) == "Serve[M, N]"
    assert str(found.types["server"].ports["asked"]) == "Serve[Rows, Rows]"


def test_a_published_value_decides_what_its_reader_reads():
    found = solved({"publisher": publisher, "reader": reader}, "publisher.value reader.newest")
    assert found.types["reader"].ports["newest"].messages == (Frames,)


@given(numbers=st.integers(1, 5))
def test_a_node_says_what_follows_from_what_arrives(numbers):
    found = solved(
        {"source": source, "copies": copies, "relay": relay},
        "copies.copied relay.items",
        "source.frames copies.items",
        copies={"copies": numbers},
    )
    message = found.types["relay"].ports["items"].messages[0]
    assert message is found.types["copies"].ports["copied"].messages[0]
    check(message(np.zeros((numbers, 3, 4), np.uint8)), message, {"lanes": 3})
    assert str(message.fields[0]) == f"uint8 ({numbers}, lanes, 4)"


def test_what_a_node_refuses_to_say_is_its_problem():
    found = solved({"source": source, "copies": copies}, "source.frames copies.items", copies={"copies": 13})
    assert found.problems == {"copies": "copies=13 brings bad luck; choose another number"}


def test_a_ring_of_relays_says_that_nothing_decides():
    found = solved({"a": relay, "b": relay}, "a.passed b.items", "b.passed a.items")
    assert found.problems["a"].startswith("nothing says what M of its port 'items' is: what it is tied to takes and")
    assert set(found.problems) == {"a", "b"}


def test_a_served_port_refuses_questions_that_cannot_be_batched():
    class Scalar(Message):
        number: int

    @node
    async def either(requests: Serve[M, M]) -> None: ...

    with pytest.raises(NodeTypeError, match="questions are batched along a named first dimension"):
        either.bound({"M": Scalar}, {})


def test_a_variable_that_may_be_no_message_is_refused():
    anything = TypeVar("anything")

    async def wrong(items: In[anything]) -> None: ...

    wrong.__annotations__["items"] = In[anything]  # the name is local, which an annotation as text could not find
    with pytest.raises(NodeTypeError, match='may be anything; write anything = TypeVar\\("anything", bound=Message\\)'):
        node(wrong)


async def test_a_test_drives_a_node_of_any_message_with_any():
    sent = [Frames(np.zeros((2, 4), np.uint8)), Rows(np.zeros((1, 2), np.float32))]
    assert (await drive(relay, items=sent)).passed == sent


def test_the_same_fields_make_the_same_type():
    fields = (Field("x", "array", "", DTYPES, (Dim("rows", 0),), True),)
    assert derived("Any", fields) is derived("Any", fields)
    assert derived("Any", fields).fields == fields


def _sides(settings: Mapping[str, Any], known: Mapping[str, type[Message]]) -> Mapping[str, type[Message]]:
    if "M" not in known or "N" not in known:
        return {}
    fields = [(side, field) for side in "MN" for field in known[side].fields]
    return {"P": derived("Sides", tuple(Field(side, f.kind, f.doc, f.dtypes, f.dims) for side, f in fields))}


P = TypeVar("P", bound=Message)


@node(binds=_sides)
async def sides(left: In[M], right: In[N], both: Out[P]) -> None: ...


@given(left=st.integers(1, 5), right=st.integers(1, 5))
def test_a_name_that_means_two_sizes_means_each_on_its_own_side(left, right):
    found = solved(
        {"a": source, "b": source, "sides": sides, "relay": relay},
        "a.frames sides.left",
        "b.frames sides.right",
        "sides.both relay.items",
        a={"lanes": left},
        b={"lanes": right},
    )
    both = found.types["relay"].ports["items"].messages[0]
    assert [str(field) for field in both.fields] == [f"uint8 ({left}, 4)", f"uint8 ({right}, 4)"]
