"""Messages drawn from their types keep to them, and reach what is rare."""

from __future__ import annotations

from typing import Annotated

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st
from jaxtyping import Float32, Int64, UInt8

from flow import Array, In, Message, Out, Range, node
from flow.errors import MessageError, NodeTypeError, SettingError
from flow.message import check
from flow.testing import laid_out, messages
from flow.testing.cases import Cases, Wants
from flow.testing.strategies import LAYOUTS, elements


class Bounded(Message):
    level: Annotated[float, Range(-1, 1)]
    rate: Annotated[int, Range(1, 8)]
    moves: Annotated[UInt8[Array, "rows"], Range(0, 17)]
    gains: Annotated[Float32[Array, "rows 30"], Range(0.1, 0.7)]
    table: Annotated[dict[str, Int64[Array, "_"]], Range(5, None)]


class Frames(Message):
    frames: UInt8[Array, "lanes size size"]
    scale: Float32[Array, "size+1"]


@given(message=messages(Bounded))
def test_numbers_keep_to_their_range(message):
    check(message, Bounded, {})
    assert message.rate in range(1, 9)
    assert not message.moves.size or message.moves.max() <= 17


@pytest.mark.parametrize(
    "wrong",
    [
        {"rate": 0},
        {"level": 2.0},
        {"level": float("nan")},
        {"moves": np.array([18], np.uint8)},
        {"table": {"a": np.array([4])}},
    ],
)
def test_a_number_out_of_its_range_is_refused_with_the_range(wrong):
    good = {
        "level": 0.0,
        "rate": 1,
        "moves": np.zeros(1, np.uint8),
        "gains": np.full((1, 30), 0.5, np.float32),
        "table": {},
    }
    with pytest.raises(MessageError, match=rf"field {next(iter(wrong))}.*: expected .* (from|at least) "):
        check(Bounded(**{**good, **wrong}), Bounded, {})


def test_a_range_is_told_with_the_field_and_belongs_to_numbers():
    assert [str(field) for field in Bounded.fields[:3]] == [
        "float from -1 to 1",
        "int from 1 to 8",
        "uint8 (rows) from 0 to 17",
    ]
    with pytest.raises(NodeTypeError, match="field name: a str has no Range"):

        class Wrong(Message):
            name: Annotated[str, Range(1, 2)]


@given(message=messages(Frames, sizes={"lanes": 3}))
def test_a_name_means_one_size(message):
    check(message, Frames, {"lanes": 3})
    assert message.frames.shape == (3, message.frames.shape[1], message.frames.shape[1])
    assert len(message.scale) == message.frames.shape[1] + 1
    assert not message.frames.flags.writeable


@pytest.mark.parametrize(
    "rare",
    [
        lambda m: m.frames.size > 1 and not m.frames.flags.c_contiguous and not m.frames.flags.f_contiguous,
        lambda m: m.frames.ndim == 3 and m.frames.shape[1] > 1 and m.frames.flags.f_contiguous,
        lambda m: m.frames.size == 0,
        lambda m: bool(np.isnan(m.scale).any()),
        lambda m: bool((np.signbit(m.scale) & (m.scale == 0)).any()),
    ],
)
def test_what_is_rare_is_drawn(rare):
    find(messages(Frames), rare, settings=settings(max_examples=2000, database=None, deadline=None))


@given(data=st.data(), layout=st.sampled_from(LAYOUTS))
def test_a_layout_changes_no_element(data, layout):
    array = data.draw(elements("int16", (2, 3)))
    assert laid_out(array, layout).tolist() == array.tolist()


def test_a_large_array_is_cheap_and_its_simplest_is_all_the_same():
    simplest = find(elements("uint8", (4, 84, 84)), lambda array: True)
    assert not simplest.any()


@node
async def crops(frames: In[Frames], out: Out[Frames], *, size: Annotated[int, Range(1, 5)], lanes: int) -> None: ...


@given(case=Cases(crops, {"lanes": 2}).cases(Wants(least=1)))
def test_a_setting_fixes_the_dimension_of_its_name(case):
    for _, message in case.inputs["frames"]:
        size = case.settings["size"]
        assert message.frames.shape == (2, size, size)
        assert 1 <= size <= 5


def test_a_setting_that_is_not_there_or_does_not_fit_is_named():
    with pytest.raises(SettingError, match="crops has no setting 'sise'; it has size, lanes"):
        Cases(crops, {"sise": 2})
    with pytest.raises(SettingError, match="expected int from 1 to 5, found 9"):
        Cases(crops, {"size": 9})
