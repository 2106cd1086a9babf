"""How often something is started again, beside its definition."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flow.restarts import FACTOR, FIRST_S, MOST_S, Restarts


@given(
    deaths=st.lists(st.tuples(st.sampled_from("ab"), st.floats(0, 40)), max_size=30),
    most=st.integers(0, 4),
    period=st.sampled_from([10.0, 60.0]),
)
def test_never_more_than_its_share_in_any_period(deaths, most, period):
    restarts, now = Restarts(most, period), 0.0
    granted = {"a": [], "b": []}
    for name, after in deaths:
        now += after
        recent = [when for when in granted[name] if when > now - period]
        delay = restarts.delay(name, now)
        if len(recent) >= most:
            assert delay is None
        else:
            assert delay == min(FIRST_S * FACTOR ** len(recent), MOST_S)
            granted[name].append(now)
