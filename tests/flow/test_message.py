"""Messages: what their annotations say, what is held to it, and what fits what."""

import dataclasses
from typing import Annotated

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float, Float32, Float64, Int64, Shaped, UInt8

from flow import Array, Message, Range, Tensor
from flow.errors import MessageError, NodeTypeError
from flow.message import DTYPES, as_library, check, freeze, misfits, size_in_bytes


class Clip(Message):
    """A short piece of audio."""

    samples: Float32[Array, "time"]
    """Amplitude in [-1, 1]."""
    rate: int  # Hz
    gain: float = 1.0


class Labels(Message):
    values: Annotated[Int64[Array, "rows 2"], Range(0, 8)]


class Shares(Message):
    values: Annotated[Float64[Array, "rows"], Range(0, 1)]


class Step(Message):
    frames: UInt8[Array, "lanes size size"]
    rewards: Float32[Array, "lanes+1"]


class Table(Message):
    weights: dict[str, Float32[Array, "..."]]


class Loose(Message):
    anything: Shaped[Array, "..."]
    some: Float[Array, "_ 3"]


def field(cls, name):
    return next(each for each in cls.fields if each.name == name)


def test_fields_say_dtypes_dimensions_and_docs():
    assert str(field(Clip, "samples")) == "float32 (time)"
    assert field(Clip, "samples").doc == "Amplitude in [-1, 1]."
    assert field(Clip, "rate").doc == "Hz"
    assert [str(each) for each in Step.fields] == ["uint8 (lanes, size, size)", "float32 (lanes+1)"]
    assert str(field(Table, "weights")) == "{name: float32 (...)}"
    assert field(Loose, "anything").dtypes == DTYPES
    assert field(Loose, "some").dtypes == ("float16", "float32", "float64")


def test_a_message_is_frozen():
    clip = Clip(np.zeros(3, np.float32), 8)
    with pytest.raises(dataclasses.FrozenInstanceError):
        clip.rate = 9


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (bytes, "bytes is not something a message carries; use int, float, bool, str, an array such as"),
        (dict[int, int], r"dict\[int, int\] is not something a message carries"),
        (Float32[Array, "... 3"], r"'\.\.\.' comes last, found '\.\.\. 3'; name the dimensions before it"),
        (Float32[Array, "a*2"], "dimension 'a\\*2' is not understood; write a size, a name, name\\+1, _ or"),
    ],
)
def test_what_a_message_cannot_carry_is_told(annotation, text):
    with pytest.raises(NodeTypeError, match=f"message .*Wrong, field thing: {text}"):
        type("Wrong", (Message,), {"__annotations__": {"thing": annotation}, "__module__": __name__})


def test_a_name_that_is_nowhere_is_told():
    with pytest.raises(NodeTypeError, match="name 'Nowhere' is not defined; import the name at the top of"):
        type("Wrong", (Message,), {"__annotations__": {"thing": "Nowhere"}, "__module__": __name__})


def test_what_lies_outside_a_range_is_told_with_its_place():
    for values, text in (
        ([[0, 8], [9, 1]], r"found 9 at \[1, 0\]$"),
        ([[-1, 8], [9, 1]], r"found -1 at \[0, 0\], and 1 more$"),
    ):
        with pytest.raises(MessageError, match=text):
            check(Labels(np.array(values)), Labels, {})
    with pytest.raises(MessageError, match=r"found nan at \[1\]$"):
        check(Shares(np.array([0.5, np.nan])), Shares, {})


sizes = st.integers(0, 5)


@given(lanes=sizes, size=sizes, told=st.booleans())
def test_a_message_of_its_type_passes(lanes, size, told):
    step = Step(np.zeros((lanes, size, size), np.uint8), np.zeros(lanes + 1, np.float32))
    check(step, Step, {"lanes": lanes, "size": size} if told else {})
    assert size_in_bytes(step) == lanes * size * size + 4 * (lanes + 1)


@given(shape=st.tuples(sizes, sizes, sizes), rewards=sizes)
def test_a_name_means_one_size_in_a_message(shape, rewards):
    step = Step(np.zeros(shape, np.uint8), np.zeros(rewards, np.float32))
    if shape[1] == shape[2] and rewards == shape[0] + 1:
        check(step, Step, {})
    else:
        with pytest.raises(MessageError, match="found shape"):
            check(step, Step, {})


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            Step(np.zeros((1, 2, 2), np.int8), np.zeros(2, np.float32)),
            "field frames: expected uint8 .*, found dtype int8",
        ),
        (Step(np.zeros((1, 2), np.uint8), np.zeros(2, np.float32)), r"field frames: expected .*, found shape \(1, 2\)"),
        (Step([1, 2], np.zeros(2, np.float32)), "field frames: expected uint8 .*, found list"),
        (Step(np.zeros((2, 2, 2), np.uint8), np.zeros(2, np.float32)), r"with lanes\+1 = 3, found shape \(2,\)"),
        (Table([1]), "field weights: expected .*, found list"),
        (Table({"a": np.zeros(2)}), r"field weights\['a'\]: expected .name: float32 .*, found dtype float64"),
        (Clip(np.zeros(2, np.float32), 2.5), "field rate: expected int, found float 2.5"),
        (Clip(np.zeros(2, np.float32), True), "field rate: expected int, found bool True"),
    ],
)
def test_what_does_not_conform_is_told(message, text):
    with pytest.raises(MessageError, match=text):
        check(message, type(message), {})


def test_another_type_is_told():
    with pytest.raises(MessageError, match="expected a Step, found Table"):
        check(Table({}), Step, {})


def test_an_int_passes_for_a_float():
    check(Clip(np.zeros(2, np.float32), 8, 2), Clip, {})


@given(sent=sizes, wanted=sizes)
def test_known_sizes_decide_whether_an_edge_fits(sent, wanted):
    problems = misfits(Step, {"lanes": sent}, Step, {"lanes": wanted})
    assert bool(problems) == (sent != wanted)
    assert not misfits(Step, {}, Step, {"lanes": wanted})


def test_a_type_fits_itself_and_a_type_with_fewer_fields():
    class Part(Message):
        frames: UInt8[Array, "n _ _"]

    for cls in (Clip, Step, Table, Loose):
        assert misfits(cls, {}, cls, {}) == []
    assert misfits(Step, {"lanes": 3}, Part, {}) == []
    assert misfits(Part, {}, Step, {}) == ["field rewards: not sent; expected float32 (lanes+1)"]


class Rows(Message):
    things: Shaped[Array, "rows ..."]


@given(shape=st.lists(sizes, max_size=4).map(tuple), rows=sizes)
def test_dots_at_the_end_stand_for_any_further_dimensions(shape, rows):
    rows_of = Rows(np.zeros(shape, np.int8))
    if shape and shape[0] == rows:
        check(rows_of, Rows, {"rows": rows})
    else:
        with pytest.raises(MessageError, match=r"expected any \(rows, \.\.\.\)"):
            check(rows_of, Rows, {"rows": rows})


def test_what_declares_anything_fits_what_declares_something_unless_they_can_never_agree():
    class Typed(Message):
        things: UInt8[Array, "rows 4"]

    class Flat(Message):
        things: UInt8[Array, ""]

    assert misfits(Rows, {}, Typed, {}) == []
    assert misfits(Typed, {"rows": 2}, Rows, {"rows": 2}) == []
    assert misfits(Typed, {"rows": 2}, Rows, {"rows": 3}) != []
    assert misfits(Rows, {}, Flat, {}) == ["field things: sends any (rows, ...), receives uint8 ()"]


def test_a_misfit_shows_both_sides():
    class Other(Message):
        frames: Float32[Array, "lanes size"]
        rewards: Float[Array, "..."]

    assert misfits(Step, {"lanes": 3}, Other, {}) == [
        "field frames: sends uint8 (lanes=3, size, size), receives float32 (lanes, size)"
    ]


def test_what_was_sent_is_read_only():
    table = Table({"a": np.zeros(2, np.float32)})
    freeze(table)
    with pytest.raises(ValueError, match="read-only"):
        table.weights["a"][0] = 1


def test_tensors_share_memory_with_the_arrays_they_came_from():
    torch = pytest.importorskip("torch")

    class Torch(Message):
        values: Float32[Tensor, "n"]
        table: dict[str, Float32[Tensor, "..."]]

    values = np.zeros(3, np.float32)
    message = as_library(Torch(values, {"a": values}))
    values[1] = 7
    assert isinstance(message.values, torch.Tensor)
    assert message.values[1] == 7
    assert message.table["a"][1] == 7
    check(message, Torch, {"n": 3})
    clip = Clip(values, 8)
    assert as_library(clip) is clip
