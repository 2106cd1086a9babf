"""Places in memory beside a plain model of it: one cell a cache line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.arena import ALIGNMENT, Arena, rounded

LINES = 12


@given(
    steps=st.lists(
        st.one_of(st.integers(1, LINES * ALIGNMENT), st.floats(0, 1, exclude_max=True)), min_size=1, max_size=60
    )
)
def test_places_are_the_lowest_free_ones_never_overlap_and_join_again(steps):
    arena = Arena(LINES * ALIGNMENT)
    used = [False] * LINES  # the model: which line is held
    held = []
    for step in steps:
        if isinstance(step, int):
            lines = rounded(step) // ALIGNMENT
            fitting = [at for at in range(LINES - lines + 1) if not any(used[at : at + lines])]
            start = arena.take(step)
            assert start == (fitting[0] * ALIGNMENT if fitting else None)
            if start is not None:
                held.append((start, step))
                used[start // ALIGNMENT : start // ALIGNMENT + lines] = [True] * lines
        elif held:
            start, size = held.pop(int(step * len(held)))
            arena.give_back(start, size)
            lines = rounded(size) // ALIGNMENT
            used[start // ALIGNMENT : start // ALIGNMENT + lines] = [False] * lines
        assert arena.free == used.count(False) * ALIGNMENT
    for start, size in held:
        arena.give_back(start, size)
    assert arena.take(LINES * ALIGNMENT) == 0


@given(size=st.integers(1, 4 * ALIGNMENT), again=st.integers(0, 4))
def test_what_is_free_is_not_given_back_again(size, again):
    arena = Arena(8 * ALIGNMENT)
    first, second = arena.take(size), arena.take(2 * ALIGNMENT)
    arena.give_back(first, size)
    with pytest.raises(ValueError, match="are not all in use"):
        arena.give_back(first, size)
    with pytest.raises(ValueError, match=r"of 512 are not all in use"):
        arena.give_back(second, (8 + again) * ALIGNMENT)


def test_a_block_takes_whole_cache_lines():
    assert [rounded(size) for size in (0, 1, 64, 65)] == [64, 64, 64, 128]
