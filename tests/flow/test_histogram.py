"""Histograms: every value has one bucket, and a quantile is near the true one."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from flow.histogram import BUCKETS, bounds, bucket_of, quantile

values = st.integers(0, 2**40)


@given(value=values)
def test_a_value_lies_within_the_bounds_of_its_bucket(value):
    low, high = bounds(bucket_of(value))
    assert low <= value < high
    assert (high - low) * 4 <= max(low, 4)


def test_buckets_follow_one_another_without_a_gap():
    ends = [bounds(bucket) for bucket in range(BUCKETS)]
    assert all(high == low for (_, high), (low, _) in pairwise(ends))
    assert bucket_of(2**70) == BUCKETS - 1
    assert bucket_of(-5) == 0


@given(found=st.lists(values, min_size=1), fraction=st.floats(0, 1))
def test_a_quantile_is_in_the_bucket_of_the_true_one(found, fraction):
    counts = [0.0] * BUCKETS
    for value in found:
        counts[bucket_of(value)] += 1
    told = quantile(counts, fraction)
    rank = max(-(-fraction * len(found) // 1), 1)
    true = sorted(found)[int(rank) - 1]
    low, high = bounds(bucket_of(true))
    assert low <= told <= high


def test_of_no_values_there_is_no_quantile():
    assert quantile([0.0] * BUCKETS, 0.5) is None
