"""Ctrl-C at a terminal: the first drains and saves, the second stops at once, at whatever moment they come."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.runs.running import Home, line_graph
from tests.runs.terminal import CTRL_C, AtTerminal

pytestmark = pytest.mark.real_time


@pytest.fixture
def at_terminal(home: Home) -> Iterator[Callable[[str], AtTerminal]]:
    opened = []

    def start(text: str) -> AtTerminal:
        opened.append(AtTerminal(home, ["run", home.graph(text), "--runs", home.path / "runs"]))
        return opened[-1]

    yield start
    home.end_all()
    for one in opened:
        one.process.wait()
        one.close()


def test_the_first_ctrl_c_drains_and_saves(at_terminal: Callable[[str], AtTerminal]):
    running = at_terminal(line_graph({"run": "doubler", "pause_ms": 20}, source={"pause_ms": 1}))
    running.until_arrived(5)
    running.press(CTRL_C)
    assert running.wait() == 0, running.story()
    assert running.run.about()["outcome"] == "stopped"
    assert running.checkpoints()
    for edge, count in running.ledger().items():
        assert count.sent == count.received, edge
    made = running.ledger()["source.numbers->step0.numbers"].sent
    assert running.received() == [2 * number for number in range(made)]
    running.assert_terminal_restored()
    running.assert_nothing_left()


def test_a_second_ctrl_c_stops_a_drain_that_cannot_end_at_once(at_terminal: Callable[[str], AtTerminal]):
    running = at_terminal(line_graph({"run": "trouble", "fault": "stay", "at": 20}, source={"pause_ms": 1}))
    running.until_arrived(19)
    running.press(CTRL_C)
    running.until(lambda: "draining" in running.log(), "the drain to begin")
    time.sleep(0.5)
    assert running.process.poll() is None
    running.press(CTRL_C)
    pressed = time.monotonic()
    assert running.wait() == 130, running.story()
    assert time.monotonic() - pressed < 0.7
    running.assert_nothing_left(0.5)
    running.assert_terminal_restored()
    assert running.run.about()["outcome"] == "stopped"


def test_ctrl_c_at_any_moment_leaves_a_whole_terminal_and_nobody_behind(at_terminal: Callable[[str], AtTerminal]):
    rng = random.Random(5)
    for moment in (0.2, 0.6, 0.9, 1.2, rng.uniform(0.3, 1.5), rng.uniform(1.0, 2.5)):
        running = at_terminal(line_graph(source={"pause_ms": 1}))
        time.sleep(moment)
        running.press(CTRL_C)
        if rng.random() < 0.4:
            time.sleep(rng.uniform(0.0, 0.1))
            running.press(CTRL_C)
        status = running.wait(10)
        # Neither flow's own: python itself was not up yet, or was going.
        elsewhere = status == -signal.SIGINT or "Fatal Python error" in running.output
        assert status in (0, 130) or elsewhere, f"{moment}: {running.output}"
        running.assert_no_process_left()
        running.assert_terminal_restored()
        if status == 0:
            assert running.run.about()["outcome"] == "stopped"
            assert all(one.sent == one.received for one in running.ledger().values()), running.story()
