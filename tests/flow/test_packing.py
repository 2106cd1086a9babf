"""Compressed frames are what they were when they come out, and what is none is refused before it is made."""

from __future__ import annotations

import contextlib
import tracemalloc

import lz4.frame
import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from flow.carrier.codecs import CODECS
from flow.carrier.packing import HEAD, PACKED_MIN, ToPack, pack, unpack
from flow.errors import WireError

FRAME = st.one_of(
    st.binary(max_size=2 * PACKED_MIN),
    st.builds(lambda byte, count: bytes([byte]) * count, st.integers(0, 255), st.integers(0, 50_000)),
)


@given(st.lists(FRAME, min_size=1, max_size=5), st.sampled_from(CODECS))
def test_what_was_packed_comes_out_as_it_was(frames, codec):
    packed = pack(ToPack(frames, codec))
    assert [bytes(frame) for frame in unpack(packed)] == frames
    assert all(len(there) <= len(here) + HEAD.size for there, here in zip(packed, frames, strict=True))


@pytest.mark.parametrize("codec", CODECS)
def test_what_packs_well_gets_small_and_arrays_stay_aligned(codec):
    frame = np.arange(10_000) % 7
    (packed,) = pack(ToPack([memoryview(frame)], codec))
    assert len(packed) < frame.nbytes / 20
    (found,) = unpack([packed])
    np.testing.assert_array_equal(np.frombuffer(found, frame.dtype), frame)
    assert HEAD.size % 16 == 0


@given(st.lists(st.binary(max_size=60), min_size=1, max_size=3))
def test_any_bytes_are_unpacked_or_refused_with_one_kind_of_error(frames):
    try:
        unpack(frames)
    except WireError:
        return
    assert all(frame[0] == 0 for frame in frames)


@pytest.mark.parametrize("number", range(4))
@pytest.mark.parametrize("size", [0, 10, 1 << 20, 1 << 31, 1 << 40, (1 << 64) - 1])
@pytest.mark.parametrize("inside", [lz4.frame.compress(bytes(5000)), zstandard.compress(bytes(5000)), b""])
def test_a_frame_that_says_another_size_than_it_holds_is_refused_in_little_memory(number, size, inside):
    tracemalloc.start()
    try:
        with contextlib.suppress(WireError):
            assert (number, [bytes(each) for each in unpack([HEAD.pack(number, size) + inside])]) == (0, [b""])
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()
