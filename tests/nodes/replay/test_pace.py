"""The pace of a replay: neither side runs away from the other, and one of them may always go on."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from nodes.replay.pace import Pace


@given(
    ratio=st.floats(0.01, 100),
    draws=st.integers(1, 64),
    inserts=st.lists(st.integers(1, 64), min_size=1, max_size=30),
    begin=st.integers(0, 5),
    greedy=st.lists(st.booleans(), max_size=200),
)
def test_neither_side_runs_away_and_one_may_always_go_on(ratio, draws, inserts, begin, greedy):
    pace = Pace(ratio, slack=draws)
    left = list(inserts)
    for insert_first in [*greedy, *[True] * 50]:
        may_insert, may_draw = pace.may_insert(), pace.may_draw(draws)
        assert may_insert or may_draw
        if may_insert and left and (insert_first or not may_draw):
            pace.counts.inserted += left.pop()
            if len(inserts) - len(left) > begin:
                pace.begin()
        elif may_draw:
            pace.counts.drawn += draws
        since = pace.counts.inserted - pace.counts.begun if pace.counts.begun >= 0 else 0
        assert pace.counts.drawn <= ratio * since
        assert ratio * since <= pace.counts.drawn + draws + ratio * max(inserts)


def test_nothing_is_drawn_before_drawing_begins():
    pace = Pace(8.0, slack=4)
    pace.counts.inserted = 1000
    assert pace.may_insert()
    assert not pace.may_draw(1)
