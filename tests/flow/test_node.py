"""Node types: what a signature declares, and every way to declare it wrongly."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float32

from flow import Array, Call, In, Live, Message, NodeType, Out, Range, Serve, node
from flow.documentation import summary
from flow.errors import NodeTypeError, SettingError
from flow.node_type import OTHER_END, SENDING, load
from flow.setting import Setting
from tests.nodes_for_tests import Frames, actor, policy

if TYPE_CHECKING:
    from collections.abc import Sequence


class Rows(Message):
    values: Float32[Array, "rows 2"]


class Wider(Message):
    values: Float32[Array, "columns 2"]


class Two(Message):
    values: Float32[Array, "rows 2"]
    others: Float32[Array, "columns 2"]


class Plain(Message):
    number: int


class Nothing(Message): ...


class Table(Message):
    weights: dict[str, Float32[Array, "..."]]


def test_a_signature_declares_ports_and_settings():
    assert {name: str(port) for name, port in actor.ports.items()} == {
        "policy": "Call[Question, Answer]",
        "frames": "Out[Frames]",
    }
    assert {name: str(setting) for name, setting in actor.settings.items()} == {
        "game": "str",
        "lanes": "int from 1 to 4096",
        "size": "int",
        "speed": "float",
        "layout": "one of 'NCHW', 'NHWC'",
        "seeds": "list of int or nothing",
        "shout": "bool",
    }
    assert actor.name == "tests.nodes_for_tests:actor"
    assert actor.context_parameter == "context"
    assert [name for name, setting in actor.settings.items() if setting.required] == ["game"]
    assert actor.settings["speed"].live
    assert actor.settings["speed"].default == 1.0


def test_docs_come_from_args_strings_and_comments():
    assert summary(actor.doc) == "Play games."
    assert actor.settings["game"].doc == "which game, in lower case."
    assert [field.doc for field in Frames.fields] == ["grey levels", "Not clipped.", ""]

    @node
    async def commented(
        rows: In[Rows],  # what comes
        *,
        times: int = 2,  # how often
        most: int = 3,
        least: int = 3,
    ) -> None:
        """Do.

        Args:
          most, least: bounds,
            both included.
        """

    assert commented.ports["rows"].doc == "what comes"
    docs = {name: setting.doc for name, setting in commented.settings.items()}
    assert docs == {
        "times": "how often",
        "most": "bounds, both included.",
        "least": "bounds, both included.",
    }


def test_a_node_type_is_still_the_function():
    seen = []

    @node(needs=("torch",))
    async def told(rows: In[Rows], *, times: int = 2) -> None:
        """Tell."""
        seen.append((rows, times))

    asyncio.run(told("rows", times=3))
    assert seen == [("rows", 3)]
    assert told.needs == ("torch",)


def test_integer_settings_are_sizes():
    assert policy.sizes({"size": 9}) == {"size": 9}
    assert actor.sizes({"game": "pong", "shout": True, "speed": 2.0}) == {"lanes": 2, "size": 4}


def test_each_kind_of_port_has_one_other_end():
    assert all(OTHER_END[OTHER_END[kind]] == kind for kind in OTHER_END)
    assert all((kind in SENDING) != (OTHER_END[kind] in SENDING) for kind in OTHER_END)


def not_async(rows: In[Rows]) -> None: ...
async def no_annotation(rows) -> None: ...
async def no_annotation_of_setting(rows: In[Rows], *, size=1) -> None: ...
async def unknown_name(rows: In[Nowhere]) -> None: ...
async def imported_for_types_only(rows: Sequence[int]) -> None: ...
async def no_port(rows: int) -> None: ...
async def no_message(rows: In[int]) -> None: ...
async def scalar_question(ask: Call[Plain, Rows]) -> None: ...
async def empty_question(ask: Call[Nothing, Rows]) -> None: ...
async def two_dimensions(ask: Serve[Two, Rows]) -> None: ...
async def table_in_answer(ask: Serve[Rows, Table]) -> None: ...
async def other_answer(ask: Serve[Rows, Wider]) -> None: ...
async def wrong_setting(*, sizes: tuple[int, ...] = ()) -> None: ...
async def wrong_default(*, size: Annotated[int, Range(1, 4)] = 5) -> None: ...
async def wrong_choice(*, layout: Literal["a", "b"] = "c") -> None: ...
async def own_word(*, replicas: int = 1) -> None: ...


@pytest.mark.parametrize(
    ("function", "text"),
    [
        (not_async, ": a node is an async function; write `async def`"),
        (
            no_annotation,
            ", parameter 'rows': has no type; a port is written rows: In[M], and a setting stands",
        ),
        (no_annotation_of_setting, ", parameter 'size': has no type; write size: int, or what else it is"),
        (
            unknown_name,
            ": name 'Nowhere' is not defined; import the name at the top of tests.flow.test_node, outside `if TYPE_CH",
        ),
        (imported_for_types_only, ": name 'Sequence' is not defined; import the name at the top of tests"),
        (
            no_port,
            ", parameter 'rows': int is no port; use In[M], Out[M], Call[Q, A], Serve[Q, A], Publish[M] or Latest",
        ),
        (no_message, ", port 'rows': int is no message; make it a subclass of Message"),
        (scalar_question, ", port 'ask': questions are batched along a named first dimension, which field number of"),
        (empty_question, ", port 'ask': questions are batched along a named first dimension, which field (none) of"),
        (two_dimensions, ", port 'ask': the fields of Two must share one first dimension, found ['columns', 'rows']"),
        (table_in_answer, ", port 'ask': the fields of Rows must share one first dimension, found ['rows'], and Table"),
        (other_answer, ", port 'ask': each array of Wider must begin with the dimension rows of Rows, since it is cut"),
        (wrong_setting, ", setting 'sizes': tuple[int, ...] cannot be written in a graph file; use int, float, bool"),
        (wrong_default, ", setting 'size': its default does not fit: expected int from 1 to 4, found 5"),
        (wrong_choice, ", setting 'layout': its default does not fit: expected one of 'a', 'b', found 'c'"),
        (own_word, ", setting 'replicas': a graph file uses this word for itself; give it another name"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_wrong_declaration_is_told(function, text):
    with pytest.raises(NodeTypeError) as caught:
        NodeType(function)
    assert str(caught.value).startswith(f"tests.flow.test_node:{function.__name__}{text}")


@given(low=st.integers(-9, 9), more=st.integers(0, 9), value=st.integers(-30, 30))
def test_bounds_are_included(low, more, value):
    setting = Setting("size", "int", bounds=Range(low, low + more))
    if low <= value <= low + more:
        assert setting.accept(value) == setting.accept(float(value)) == value
    else:
        with pytest.raises(SettingError, match=f"expected int from {low} to {low + more}, found {value}"):
            setting.accept(value)


SCALARS = {
    "int": st.integers(),
    "float": st.floats(allow_nan=False),
    "bool": st.booleans(),
    "str": st.text(),
}


@given(st.sampled_from(sorted(SCALARS)), st.data())
def test_a_setting_takes_its_own_type_alone_and_in_lists(kind, data):
    values = data.draw(st.lists(SCALARS[kind], max_size=3))
    many = Setting("many", "list", items=kind)
    assert many.accept(values) == values
    assert [Setting("one", kind).accept(value) for value in values] == values
    assert many.accept(many.accept(values)) == many.accept(values)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        (Setting("x", "int"), True),
        (Setting("x", "int"), 1.5),
        (Setting("x", "bool"), 1),
        (Setting("x", "str"), 1),
        (Setting("x", "float"), "1"),
        (Setting("x", "int"), None),
        (Setting("x", "list", items="int"), 3),
        (Setting("x", "list", items="int"), ["3"]),
        (Setting("x", "choice", choices=("a",)), "b"),
    ],
)
def test_a_setting_refuses_other_types(setting, value):
    with pytest.raises(SettingError, match=r"expected .*, found "):
        setting.accept(value)


def test_nothing_is_taken_where_it_is_said():
    assert Setting("x", "int", optional=True).accept(None) is None


@pytest.mark.parametrize(
    ("bounds", "text"), [(Range(1), "at least 1"), (Range(high=2), "at most 2"), (Range(1, 2), "from 1 to 2")]
)
def test_ranges_read_as_words(bounds, text):
    assert str(bounds) == text


def test_a_live_setting_may_have_a_live_default():
    @node
    async def lively(out: Out[Rows], *, rate: Live[float] = Live(0.5), other: Live[int] = Live(2)) -> None:
        """Live."""

    assert [(each.live, each.default) for each in lively.settings.values()] == [(True, 0.5), (True, 2)]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("actor", "'actor' names no node type; write it as \"module:function\""),
        ("tests.nowhere:actor", "'tests.nowhere:actor': there is no module 'tests.nowhere'"),
        ("tests.nodes_for_tests:unmarked", "unmarked is not marked with @node in "),
        ("tests.nodes_for_tests:nobody", "nobody does not exist in "),
    ],
)
def test_loading_what_is_no_node_type_is_told(name, text):
    with pytest.raises(NodeTypeError) as caught:
        load(name)
    assert text in str(caught.value)


def test_a_node_type_loads_by_its_name():
    assert load("tests.nodes_for_tests:actor") is actor
