"""Time chunks: what is encoded comes back, or an error says which value is damaged."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from flow.errors import StorageError
from storage.chunks import decode, encode, parse

DTYPES = st.one_of(
    hnp.boolean_dtypes(),
    hnp.integer_dtypes(endianness="?"),
    hnp.unsigned_integer_dtypes(endianness="?"),
    hnp.floating_dtypes(endianness="?"),
    hnp.complex_number_dtypes(endianness="?"),
    hnp.byte_string_dtypes(min_len=1, max_len=5),
    hnp.unicode_string_dtypes(min_len=1, max_len=5),
    hnp.datetime64_dtypes(max_period="s", min_period="s"),
    hnp.timedelta64_dtypes(max_period="s", min_period="s"),
)


@st.composite
def columns(draw):
    steps = draw(st.integers(1, 5))
    shapes = hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4)
    names = draw(st.lists(st.text(max_size=4), min_size=1, max_size=4, unique=True))
    return {name: draw(hnp.arrays(draw(DTYPES), (steps, *draw(shapes)))) for name in names}


def exactly_equal(found, expected):
    """Bit for bit, so that NaN equals itself."""
    return (found.dtype, found.shape, found.tobytes()) == (expected.dtype, expected.shape, expected.tobytes())


@given(columns(), st.integers(0, 2**62), st.integers(0, 2**62))
def test_what_is_encoded_comes_back_bit_for_bit(arrays, stream, start):
    value = encode(stream, start, arrays)
    chunk = parse(value, "here")
    assert (chunk.stream, chunk.start, chunk.names) == (stream, start, tuple(arrays))
    found = decode(value, "here")
    assert all(exactly_equal(found[name], array) for name, array in arrays.items())


@given(columns(), st.data())
def test_chosen_columns_are_the_same_as_among_all(arrays, data):
    names = tuple(data.draw(st.lists(st.sampled_from(sorted(arrays)), unique=True)))
    found = decode(encode(0, 0, arrays), "here", names)
    assert tuple(found) == names
    assert all(exactly_equal(found[name], arrays[name]) for name in names)


@given(st.integers(0, 10**6), st.integers(1, 255), st.integers(0, 3))
def test_a_changed_or_missing_byte_is_an_error_that_names_the_value(at, change, seed):
    rng = np.random.default_rng(seed)
    arrays = {"frames": np.zeros((4, 20, 20), np.uint8), "noise": rng.integers(0, 256, (4, 5), np.uint8)}
    value = bytearray(encode(1, 2, arrays))
    at %= len(value)
    with pytest.raises(StorageError, match=r"^store/9: "):
        decode(bytes(value[:at]), "store/9")
    value[at] ^= change
    with pytest.raises(StorageError, match=r"^store/9: "):
        decode(bytes(value), "store/9")


@given(st.binary(max_size=200))
def test_bytes_of_a_stranger_are_an_error(value):
    with pytest.raises(StorageError, match=r"^store/9: "):
        parse(value, "store/9")


def test_a_column_that_does_not_shrink_is_stored_as_it_is():
    noise = np.random.default_rng(0).integers(0, 256, (4, 1000), np.uint8)
    assert noise.tobytes() in encode(0, 0, {"noise": noise})
    assert len(encode(0, 0, {"board": np.zeros((4, 1000), np.uint8)})) < 200


def test_a_transposed_column_is_stored_in_its_own_order():
    frames = np.arange(4 * 30 * 40, dtype=np.int32).reshape(40, 30, 4).T
    assert exactly_equal(decode(encode(0, 0, {"f": frames}), "here")["f"], frames)


@pytest.mark.parametrize(
    ("arrays", "says"),
    [
        ({"a": np.zeros(2), "b": np.zeros(3)}, "share a leading axis"),
        ({"a": np.zeros((0, 3))}, "share a leading axis"),
        ({"a": np.array(1.0)}, "share a leading axis"),
        ({"a": np.array([object()])}, "dtype object cannot be stored"),
    ],
)
def test_columns_that_cannot_be_stored_are_named(arrays, says):
    with pytest.raises(StorageError, match=f"stream 3, step 40.*{says}"):
        encode(3, 40, arrays)


def test_an_unknown_column_is_answered_with_those_there_are():
    with pytest.raises(StorageError, match=r"no column 'reward'; it has \['action'\]"):
        decode(encode(0, 0, {"action": np.zeros(3)}), "here", ("reward",))
