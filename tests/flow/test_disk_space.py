"""The warning comes before the disk is full, once, and is taken back when there is room."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flow.disk_space import LEAST_BYTES, DiskSpace

GIB = 1 << 30


@given(free=st.lists(st.integers(0, 100 * GIB), max_size=30), size=st.sampled_from([GIB // 8, 30 * GIB, 100 * GIB]))
def test_it_warns_once_before_the_disk_is_full_and_says_once_that_there_is_room(free, size):
    space, said = DiskSpace(), []
    least = min(size // 20, LEAST_BYTES)
    for each in free:
        each = min(each, size)
        before = space.little
        text = space.told(each, size)
        assert bool(text) == (before != space.little)
        assert space.little or each >= least
        assert not space.little or each <= 1.25 * least + 1
        said += ["room again" in text] if text else []
    assert said == [bool(at % 2) for at in range(len(said))]


def test_the_warning_says_how_much_is_free_and_what_follows():
    assert DiskSpace().told(100 << 20, 100 * GIB) == (
        "100 MiB of 102400 MiB are free on the run's disk: when it is full, "
        "no checkpoint is made and stores cannot take more; free some space"
    )
