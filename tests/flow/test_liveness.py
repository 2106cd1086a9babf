"""Whose loop still turns, and where one that does not hangs."""

from __future__ import annotations

import faulthandler

from flow.liveness import Liveness, hanging_line
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


def test_the_line_it_hangs_in_is_the_innermost_of_its_main_thread(tmp_path):
    stack = tmp_path / "w.stack"
    with stack.open("w") as file:
        faulthandler.dump_traceback(file, all_threads=True)
    assert f'File "{__file__}"' in hanging_line(stack)
    assert hanging_line(tmp_path / "none") == "no stack was written"
    stack.write_text("")
    assert hanging_line(stack) == "no stack was written"
