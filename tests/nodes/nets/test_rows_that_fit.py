"""A batch that does not fit is computed in parts: every row once, in order, and no more than fits at once."""

from __future__ import annotations

import math
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')

from nodes.experience import Observations  # noqa: E402
from nodes.nets.rows_that_fit import RowsThatFit  # noqa: E402
from nodes.serve.in_parts import answered, rows_cut  # noqa: E402


@given(batches=st.lists(st.integers(0, 300), min_size=1, max_size=5), room=st.integers(1, 300))
def test_each_row_is_computed_once_in_order_and_what_fits_is_remembered(batches, room):
    released, failed = [], []
    fits = RowsThatFit(lambda: released.append(True))

    def part(low, high):
        if high - low > room:
            failed.append(high - low)
            raise torch.OutOfMemoryError("CUDA out of memory")
        return list(range(low, high))

    for rows in batches:
        limit = fits.most
        parts = fits.run(rows, part)
        assert parts  # what has no rows has its shapes and dtypes all the same
        assert list(chain.from_iterable(parts)) == list(range(rows))
        if max(batches) <= room:
            assert fits.most is None
        elif limit is not None:
            assert fits.most <= limit
    assert len(released) == len(failed) <= math.ceil(math.log2(300)) + 1
    if failed:
        assert room / 2 - 1 < fits.most <= room
        assert f"{fits.most} rows are computed at once" in fits.news()
    assert fits.news() is None


@given(total=st.integers(1, 40), real=st.integers(0, 40), room=st.integers(1, 40))
def test_a_batch_with_padding_is_answered_as_if_it_had_fitted(total, real, room):
    real = min(real, total)
    rng = np.random.default_rng(total)
    asked = Observations(
        rng.normal(size=(total, 3)), np.zeros(total, np.float32), np.zeros(total, bool), np.arange(total)
    )

    def answer(part, rows):
        if len(part.lane_ids) > room:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return rows_cut(part, 0, rows)

    found = answered(RowsThatFit(), answer, asked, real)
    np.testing.assert_array_equal(found.lane_ids, np.arange(real))
    np.testing.assert_array_equal(found.observations, asked.observations[:real])


@pytest.mark.parametrize("rows", [0, 1])
def test_what_cannot_be_halved_and_does_not_fit_is_an_error(rows):
    def part(low, high):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError) as caught:
        RowsThatFit().run(rows, part)
    assert "needs a larger device" in caught.value.__notes__[0]


def test_another_error_than_memory_passes_and_is_not_tried_again():
    calls = []

    def part(low, high):
        calls.append((low, high))
        raise RuntimeError("CUDA error: device-side assert triggered")

    with pytest.raises(RuntimeError, match="device-side assert"):
        RowsThatFit().run(8, part)
    assert calls == [(0, 8)]
