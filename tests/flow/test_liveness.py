"""Whose loop still turns, and where one that does not hangs."""

from __future__ import annotations

import faulthandler
import os

from hypothesis import given
from hypothesis import strategies as st

from flow.liveness import ANSWER_S, Hangs, Liveness, hanging_line, shown_after_s
from flow.stats import Page


def test_a_loop_that_beats_is_alive_and_one_that_does_not_ages(tmp_path):
    one, two = (
        Page.open(tmp_path / f"{name}-0.page", node=name, replica=0, worker="w", incarnation=0) for name in ("a", "b")
    )
    liveness = Liveness(tmp_path)
    assert liveness.seconds_since_beat(10) == {"a-0": 0, "b-0": 0}
    one.beat()
    assert liveness.seconds_since_beat(15) == {"a-0": 0, "b-0": 5}
    two.beat()
    assert liveness.seconds_since_beat(40) == {"a-0": 25, "b-0": 0}


def test_what_a_worker_takes_is_what_it_said_itself_and_not_the_worker_before_it(tmp_path, monkeypatch):
    def opened(pid, incarnation):
        monkeypatch.setattr(os, "getpid", lambda: pid)
        page = Page.open(tmp_path / "a-0.page", node="a", replica=0, worker="w", incarnation=incarnation)
        return page, page.gauge("_memory_bytes", "B")

    liveness = Liveness(tmp_path)
    page, memory = opened(111, 0)
    for size in (500, 600):
        memory.set(size)
        page.beat()
        liveness.seconds_since_beat(0)
    assert liveness.memory("a-0", 111) == 600
    page, memory = opened(222, 1)
    liveness.seconds_since_beat(0)
    page.beat()
    liveness.seconds_since_beat(0)
    assert liveness.memory("a-0", 222) == 0
    memory.set(100)
    page.beat()
    liveness.seconds_since_beat(0)
    assert liveness.memory("a-0", 222) == 100
    assert liveness.memory("a-0", 111) == liveness.memory("b-0", 222) == 0


def test_the_line_it_hangs_in_is_the_innermost_of_its_main_thread(tmp_path):
    stack = tmp_path / "w.stack"
    with stack.open("w") as file:
        faulthandler.dump_traceback(file, all_threads=True)
    assert f'File "{__file__}"' in hanging_line(stack)
    assert hanging_line(tmp_path / "none") == "no stack was written"
    stack.write_text("")
    assert hanging_line(stack) == "no stack was written"


@given(stalls=st.lists(st.floats(0, 40), max_size=60), step=st.floats(0.05, 2))
def test_a_worker_is_asked_before_it_is_told_of_or_killed_and_never_killed_early(stalls, step):
    hangs = Hangs(30.0)
    asked_at, now = None, 0.0
    for stalled in stalls:
        now += step
        due = hangs.due("main", stalled, now)
        if stalled < hangs.shown_s:
            assert due == ""
            asked_at = None
        elif due == "ask":
            assert asked_at is None
            asked_at = now
        elif due:
            assert now - asked_at > ANSWER_S
            assert (due == "kill") == (stalled >= 30)
            asked_at = asked_at if due == "kill" else None


def test_a_hang_is_told_once_and_then_killed():
    hangs = Hangs(30.0)
    polls = [hangs.due("main", second, second) for second in range(33)]
    assert [(second, due) for second, due in enumerate(polls) if due] == [
        (10, "ask"), (11, "tell"), (30, "ask"), (31, "kill"), (32, "kill")
    ]  # fmt: skip
    assert shown_after_s(30.0) == 10.0
