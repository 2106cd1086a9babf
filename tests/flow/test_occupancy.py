"""A node's time: each moment is one of four things, and they add up to the time that passed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow import occupancy
from flow.occupancy import DOINGS, Occupancy, Wait
from flow.stats import Page
from flow.tally import Number

steps = st.lists(
    st.tuples(st.sampled_from(["starved", "blocked", "paused", "compute", "settle"]), st.integers(0, 10**6)),
    max_size=30,
)


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    return Page.open(tmp_path_factory.mktemp("page") / "n.page", node="n")


@given(steps=steps, data=st.data())
def test_the_times_add_up_whatever_tasks_wait_and_each_moment_is_what_the_rule_says(page, steps, data):
    with pytest.MonkeyPatch.context() as patch:
        now = [0]
        patch.setattr(occupancy, "perf_counter", lambda: now[0] / 1e6)
        mine = Occupancy(page)
        before = {doing: page.counter(f"_{doing}_us").value for doing in DOINGS}
        mine.start()
        going = dict.fromkeys(["starved", "blocked", "paused", "compute"], 0)
        expected = dict.fromkeys(DOINGS, 0)
        for what, micros in steps:
            doing = (
                "busy"
                if going["compute"]
                else next((why for why in ("blocked", "starved", "paused") if going[why]), "busy")
            )
            expected[doing] += micros
            now[0] += micros
            if what == "settle":
                mine.settle()
                continue
            change = data.draw(st.sampled_from([1, -1])) if going[what] else 1
            going[what] += change
            if what == "compute":
                mine.compute(change)
            else:
                mine.wait(what, change)
        mine.stop()
        now[0] += 10**6
        mine.settle()
        found = {doing: page.counter(f"_{doing}_us").value - before[doing] for doing in DOINGS}
        assert all(abs(found[doing] - expected[doing]) <= len(steps) + 1 for doing in DOINGS)


def test_a_wait_under_way_is_seen_and_all_tasks_count(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(occupancy, "perf_counter", lambda: now[0])
    total = Number()
    waiting = Wait(total)
    with waiting:
        now[0] = 2.0
        waiting.settle()
        assert total.value == 2_000_000
        with waiting:
            now[0] = 3.0
    now[0] = 9.0
    waiting.settle()
    assert total.value == 4_000_000
