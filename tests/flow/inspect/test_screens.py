"""What opens above the first screen offers its own keys alone."""

from __future__ import annotations

import asyncio

import pytest

pytest.importorskip("textual")

from textual.widgets._footer import FooterKey

from flow.inspect.terminal.app import Inspector
from flow.run_directory import RunDirectory
from flow.stats import Page


@pytest.mark.real_time
@pytest.mark.parametrize("key", ["enter", "p", "e", "question_mark"])
def test_the_footer_of_a_page_shows_what_its_keys_do(tmp_path, monkeypatch, key):
    monkeypatch.setenv("FLOW_STATE_HOME", str(tmp_path / "home"))
    run = RunDirectory.create(tmp_path, "small")
    Page.open(run.page_file("actor", 0), node="actor", worker="main")

    async def go():
        app = Inspector(run)
        async with app.run_test(size=(120, 40)) as pilot:
            await pilot.pause(0.2)
            assert {"peek", "detach"} <= {each.description for each in app.screen.query(FooterKey)}
            await pilot.press(key)
            await pilot.pause(0.2)
            shown = {each.description for each in app.screen.query(FooterKey)}
            assert "close" in shown
            assert not {"peek", "detach", "restart"} & shown

    asyncio.run(go())
