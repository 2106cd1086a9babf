"""A node's state to bytes and back."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import enum

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from flow.errors import CheckpointError
from flow.saved import Saved, pack, read, unpack

numbers = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5), st.binary(max_size=5)
)
arrays = npst.arrays(
    st.sampled_from([bool, np.uint8, np.int16, np.int64, np.float16, np.float32, np.dtype(">f4"), np.float64]),
    npst.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=3),
    elements={"allow_nan": False},
)
states = st.recursive(
    numbers | arrays,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=4) | st.integers(-9, 9), inner, max_size=3),
    ),
    max_leaves=10,
)


class Colour(enum.IntEnum):
    RED = 1


@dataclasses.dataclass
class Progress:
    updates: int = 0
    means: np.ndarray = dataclasses.field(default_factory=lambda: np.zeros(2))


def through(state):
    packed = pack(state)
    return unpack(packed.tensors, packed.rest)


def same(one, other):
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.shape == other.shape and np.array_equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return type(one) is type(other) and len(one) == len(other) and all(map(same, one, other))
    return type(one) is type(other) and one == other


@given(state=st.dictionaries(st.text(max_size=4), states, max_size=3))
def test_state_comes_back_as_it_was(state):
    assert same(state, through(state))


def test_what_is_nearly_a_number_or_a_dict_comes_back_as_one():
    state = {"f": np.float32(1.5), "i": np.int64(3), "e": Colour.RED, "d": collections.OrderedDict(a=1 << 90)}
    assert through(state) == {"f": 1.5, "i": 3, "e": 1, "d": {"a": 1 << 90}}


@pytest.mark.parametrize("value", [{1, 2}, object(), 1j, np.array(["text"]), np.array([object()])])
def test_what_cannot_be_saved_is_said(value):
    with pytest.raises(CheckpointError, match="cannot be saved"):
        pack({"thing": value})


@given(kind=st.sampled_from([np.random.PCG64, np.random.MT19937, np.random.Philox]), seed=st.integers(0, 99))
def test_a_generator_goes_on_where_it_was(kind, seed):
    generator = np.random.Generator(kind(seed))
    generator.random(7)
    before = Saved()
    before.keep("generator", generator)
    state = through(before.state())
    expected = generator.random(5)
    restored = Saved(state).keep("generator", np.random.Generator(kind(0)))
    np.testing.assert_array_equal(restored.random(5), expected)


def test_a_dataclass_is_kept_and_its_copy_does_not_change_with_it():
    saved, progress = Saved(), Progress()
    saved.keep("progress", progress)
    packed = pack(saved.state())
    progress.means += 1
    progress.updates = 9
    restored = Saved(unpack(packed.tensors, packed.rest))
    assert restored.resumed
    again = restored.keep("progress", Progress(5))
    assert (again.updates, list(again.means)) == (0, [0, 0])


def test_state_that_does_not_fit_is_said():
    with pytest.raises(CheckpointError, match="holds no state 'network', only other"):
        Saved({"other": {}}).keep("network", Progress())
    with pytest.raises(CheckpointError, match="'progress' does not fit the Progress"):
        Saved({"progress": {"updates": 1}}).keep("progress", Progress())
    saved = Saved()
    saved.keep("progress", Progress())
    with pytest.raises(CheckpointError, match="kept twice"):
        saved.keep("progress", Progress())
    saved.keep("number", 3)
    with pytest.raises(CheckpointError, match="int cannot be kept"):
        saved.state()


@given(data=st.data())
def test_damaged_state_is_refused_or_read_and_nothing_else(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("state")
    pack({"a": {"w": np.ones(3), "t": (1, 1 << 80), "text": "x"}}).write(folder, "n-0")
    path = data.draw(st.sampled_from([folder / "n-0.msgpack", folder / "n-0.safetensors"]))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    with contextlib.suppress(CheckpointError):
        read(folder, "n-0")


def test_a_node_that_kept_nothing_has_no_state(tmp_path):
    assert read(tmp_path, "n-0") is None


def test_torch_state_comes_back():
    torch = pytest.importorskip("torch")
    network = torch.nn.Linear(3, 2).to(torch.bfloat16)
    optimiser = torch.optim.Adam(network.parameters())
    network(torch.ones(1, 3, dtype=torch.bfloat16)).sum().backward()
    optimiser.step()
    saved = Saved()
    saved.keep("network", network)
    saved.keep("optimiser", optimiser)
    state = through(saved.state())
    restored = Saved(state)
    twin = restored.keep("network", torch.nn.Linear(3, 2).to(torch.bfloat16))
    twin_optimiser = restored.keep("optimiser", torch.optim.Adam(twin.parameters()))
    for one, other in ((network, optimiser), (twin, twin_optimiser)):
        other.zero_grad()
        one(torch.full((1, 3), 2.0, dtype=torch.bfloat16)).sum().backward()
        other.step()
    assert all(torch.equal(a, b) for a, b in zip(network.parameters(), twin.parameters(), strict=True))
