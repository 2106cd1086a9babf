"""What opens above the first screen offers its own keys alone."""

from __future__ import annotations

import asyncio
import itertools
import time

import pytest

pytest.importorskip("textual")

from textual.widgets import Static
from textual.widgets._footer import FooterKey

from flow.inspect.terminal.app import Inspector
from flow.run_directory import RunDirectory
from flow.stats import Page


def shown(app):
    """What the footer of the topmost page offers."""
    return {each.description for each in app.screen.query(FooterKey)}


async def until(pilot, look, seconds=20.0):
    """Wait until it is so; a machine with other work on it is slow to draw."""
    end = time.monotonic() + seconds
    while not look():
        assert time.monotonic() < end
        await pilot.pause(0.05)


@pytest.mark.real_time
@pytest.mark.parametrize("key", ["enter", "p", "e", "question_mark"])
def test_the_footer_of_a_page_shows_what_its_keys_do(tmp_path, monkeypatch, key):
    monkeypatch.setenv("FLOW_STATE_HOME", str(tmp_path / "home"))
    run = RunDirectory.create(tmp_path, "small")
    Page.open(run.page_file("actor", 0), node="actor", worker="main")

    async def go():
        app = Inspector(run)
        async with app.run_test(size=(120, 40)) as pilot:
            await until(pilot, lambda: {"peek", "detach"} <= shown(app))
            await pilot.press(key)
            await until(pilot, lambda: "close" in shown(app))
            assert not {"peek", "detach", "restart"} & shown(app)

    asyncio.run(go())


@pytest.mark.real_time
def test_a_graph_that_is_wider_than_the_screen_says_so_and_can_be_moved(tmp_path, monkeypatch):
    monkeypatch.setenv("FLOW_STATE_HOME", str(tmp_path / "home"))
    run = RunDirectory.create(tmp_path, "wide")
    names = [f"a_node_of_long_name_{at}" for at in range(6)]
    pages = {name: Page.open(run.page_file(name, 0), node=name, worker="main") for name in names}
    for before, after in itertools.pairwise(names):
        pages[before].counter(f"edge.{before}.out->{after}.into.sent").add()
        pages[before].gauge(f"edge.{before}.out->{after}.into.sent_credit").set(4)
        pages[after].counter(f"edge.{before}.out->{after}.into.received").add()

    async def go():
        app = Inspector(run)
        async with app.run_test(size=(100, 40)) as pilot:
            head = app.screen.query_one("#head", Static)
            await until(pilot, lambda: "the graph goes on to the right: ]" in str(head.render()))
            for _ in range(12):
                await pilot.press("right_square_bracket")
            await until(pilot, lambda: app.screen.query_one("#graph-pane").scroll_x > 0)
            await until(pilot, lambda: "goes on to the right" not in str(head.render()))

    asyncio.run(go())
