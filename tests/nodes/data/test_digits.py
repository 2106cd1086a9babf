"""The digits: all of them, each in one part, at its epoch, and on from where a source stopped."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn", reason='needs scikit-learn: pip install "flow-research[digits]"')

from flow.testing import drive
from nodes.data.digits import digits, load

ALL = 1797


@given(share=st.floats(0.01, 0.99))
def test_each_picture_is_in_one_part(share):
    both = np.concatenate([load(part, share)[0] for part in ("train", "test")])
    assert len(both) == ALL
    one_order = np.sort(both.reshape(ALL, -1).view("V256").ravel().tolist())
    other = np.concatenate([load(part, 0.5)[0] for part in ("train", "test")])
    assert (one_order == np.sort(other.reshape(ALL, -1).view("V256").ravel().tolist())).all()
    assert both.min() == 0
    assert both.max() == 1


async def test_an_epoch_repeats_the_one_before():
    sent = (await drive(digits, part="test", epochs=2, test_share=0.05)).pictures
    half = len(sent) // 2
    assert half == round(ALL * 0.05)
    for one, again in zip(sent[:half], sent[half:], strict=True):
        np.testing.assert_array_equal(one.image, again.image)
        assert one.label == again.label


@settings(max_examples=8)
@given(taken=st.integers(1, 35))
async def test_a_source_that_was_stopped_goes_on_with_the_next_picture(taken):
    small = {"part": "test", "test_share": 0.01, "epochs": 2}
    whole = await drive(digits, **small)
    begun = await drive(digits, **small, pictures=taken)
    rest = await drive(digits, **small, saved=begun.saved)
    sent = begun.saved["position"]["sent"]
    assert [each.label for each in whole.pictures[sent:]] == [each.label for each in rest.pictures]
