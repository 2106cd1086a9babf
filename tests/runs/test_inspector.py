"""The inspector's screen against real runs: what it shows is so, what a key asks for happens, the dead open too."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

pytest.importorskip("textual")

from textual.widgets import DataTable, Input, OptionList, Static

from flow.inspect.terminal.app import Inspector
from flow.inspect.terminal.screens import Help, NodeScreen, PortScreen, TextScreen
from flow.inspect.touched import touches
from tests.flow.inspect.timelines import assert_sound
from tests.runs.running import Home, Running
from tests.runs.test_control import ended, killed, scaling

pytestmark = pytest.mark.real_time
SIZE = (140, 44)


class Screen:
    """A screen whose keys a test presses."""

    def __init__(self, app, pilot):
        self.app, self.pilot = app, pilot

    def text(self, name):
        return str(self.app.screen.query_one(name, Static).render())

    async def until(self, look, what, seconds=15.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if look():
                return
            await self.pilot.pause(0.05)
        raise AssertionError(
            f"waited {seconds} s for {what}\n{self.text('#text') if self.app.screen.query('#text') else ''}"
        )

    async def press(self, *keys):
        await self.pilot.press(*keys)

    def state(self, node):
        return next(each.state for each in self.app.overview.nodes if each.node == node)


def test_a_key_takes_a_trace(home: Home, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("flow.inspect.terminal.app.TRACE_S", 0.5)
    running = scaling(home)
    running.until_arrived(20)

    async def act(screen):
        await screen.press("t")
        await screen.until(lambda: "ui.perfetto.dev" in screen.text("#head"), "the trace")

    inspecting(running, act)
    (file,) = (running.run.path / "traces").iterdir()
    assert_sound(json.loads(file.read_text())["traceEvents"])
    ended(running)


def inspecting(running: Running, act):
    """Attach to a run, and do what `act` says."""

    async def go():
        app = Inspector(running.run)
        async with app.run_test(size=SIZE) as pilot:
            await act(Screen(app, pilot))

    asyncio.run(go())


def test_the_first_screen_shows_the_run_and_keys_change_it(home: Home):
    running = scaling(home)
    running.until_arrived(20)

    async def act(screen):
        assert running.run.name in screen.text("#head")
        assert "bottleneck" in screen.text("#head")
        assert "step0" in screen.text("#graph")
        assert "►" in screen.text("#graph")
        assert "started, pid" in screen.text("#events")
        table = screen.app.query_one(DataTable)
        assert [table.get_row_at(at)[0] for at in range(3)] == ["sink", "source", "step0"]
        table.move_cursor(row=2)
        await screen.press("space")
        await screen.until(lambda: screen.state("step0") == "paused", "the pause")
        count = running.counter("scaled")
        await screen.press("n")
        await screen.until(lambda: running.counter("scaled") == count + 1, "the step")
        await screen.press("space")
        await screen.until(lambda: running.counter("scaled") > count + 5, "it to go on")
        await screen.press("e")
        await screen.until(lambda: screen.app.screen.query(Input), "the question")
        await screen.press(*"factor", "space", "7", "enter")
        await screen.until(lambda: 7 in running.received(), "the setting")
        await screen.press("e")
        await screen.until(lambda: screen.app.screen.query(Input), "the question")
        await screen.press(*"factor", "space", "7", "7", "enter")
        await screen.until(lambda: "expected int from 0 to 9, found 77" in screen.text("#head"), "the refusal")
        await screen.press("c")
        await screen.until(lambda: running.checkpoints(), "the checkpoint")
        await screen.press("r")
        await screen.until(lambda: "its restart 1" in screen.text("#head"), "the restart")
        assert "touched 5 times" in screen.text("#head")

    inspecting(running, act)
    texts = [touch.text for touch in touches(running.run)]
    assert texts == ["paused", "stepped by 1", "resumed", "factor: 1 -> 7", "restarted"]
    ended(running)
    assert running.wait() == 0


def test_a_node_its_ports_and_its_stack_open_above(home: Home):
    running = scaling(home)
    running.until_arrived(20)

    async def act(screen):
        screen.app.query_one(DataTable).move_cursor(row=2)
        await screen.press("enter")
        await screen.until(lambda: isinstance(screen.app.screen, NodeScreen), "the node")
        await screen.until(lambda: "int from 0 to 9  live" in screen.text("#text"), "its settings")
        assert "numbers  In[Number]" in screen.text("#text")
        assert "begins after 0" in screen.text("#text")
        await screen.press("escape")
        await screen.press("x")
        await screen.until(lambda: isinstance(screen.app.screen, TextScreen), "the stack")
        assert "live_nodes.py" in screen.text("#text")
        await screen.press("escape", "p")
        await screen.until(lambda: isinstance(screen.app.screen, PortScreen), "the ports")
        await screen.until(lambda: screen.app.screen.query_one(OptionList).option_count == 2, "two ports")
        await screen.press("down", "enter")
        await screen.until(lambda: "message Number" in screen.text("#text"), "a message")
        assert "values  int64    (1)" in screen.text("#text")
        await screen.press("escape", "question_mark")
        await screen.until(lambda: isinstance(screen.app.screen, Help), "the keys")
        await screen.press("escape", "m")
        await screen.press("q")

    inspecting(running, act)
    assert touches(running.run) == []
    ended(running)


def test_a_run_that_was_killed_opens_the_same_way_and_says_what_cannot_be_done(home: Home):
    running = scaling(home)
    running.until_arrived(20)
    killed(running)

    async def act(screen):
        assert "died" in screen.text("#head")
        assert "step0" in screen.text("#graph")
        screen.app.query_one(DataTable).move_cursor(row=2)
        assert screen.state("step0") == "ended by a kill"
        await screen.press("space")
        await screen.until(lambda: "is over; what it left can be read" in screen.text("#head"), "the refusal")
        await screen.press("enter")
        await screen.until(lambda: "is over" in screen.text("#text"), "what is left of it")
        assert "begins after 0" in screen.text("#text")

    inspecting(running, act)


def test_without_textual_the_way_to_it_is_told(home: Home, monkeypatch):
    running = scaling(home)
    running.until_arrived(1)
    (home.path / "textual.py").write_text("raise ModuleNotFoundError('no textual', name='textual')\n")
    environment = home.environment
    path = f"{home.path}:{environment['PYTHONPATH']}"
    monkeypatch.setattr(type(home), "environment", {**environment, "PYTHONPATH": path})
    told = home.flow("inspect")
    assert told.returncode == 1
    assert "pip install 'flow-research[inspect]'" in told.stderr
    ended(running)
