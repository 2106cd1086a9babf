"""Figures of a node that are drawn from histograms agree with each other."""

from hypothesis import given
from hypothesis import strategies as st

from flow.histogram import BUCKETS, bucket_of
from flow.inspect.overview import _half_and_most


@given(sizes=st.lists(st.integers(1, 5000), min_size=1, max_size=30))
def test_the_median_batch_is_never_above_the_largest_and_both_are_near_the_truth(sizes):
    counts = [0.0] * BUCKETS
    for size in sizes:
        counts[bucket_of(size)] += 1
    half, most = _half_and_most(counts)
    assert half <= most <= max(sizes)
    assert most >= max(sizes) * 0.8
    assert half <= sorted(sizes)[len(sizes) // 2] * 1.25
