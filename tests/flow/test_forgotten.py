"""A forgotten `await` is told with its place: by drive, by the contract, and by a run, which ends at once."""

from __future__ import annotations

import warnings

import pytest
import trio

from flow import In, Out, node
from flow.errors import ForgottenAwaitError
from flow.forgotten import no_forgotten_await
from flow.graph.load import load_graph
from flow.launch import launch
from flow.run_directory import RunDirectory
from flow.testing import drive
from tests.flow.testing.zoo.speech import Item
from tests.flow.testing.zoo.wrong_streams import forgets_to_await


async def test_drive_says_which_line_forgot_it():
    with pytest.raises(ForgottenAwaitError) as caught:
        await drive(forgets_to_await, items=[Item(1)])
    text = str(caught.value)
    assert text.startswith("wrong_streams.py:")
    assert text.endswith(": Out.send(…) is called without await, so it does nothing; write await send(…)")


async def test_tasks_of_a_node_are_heard_too_and_other_nodes_are_not():
    @node
    async def with_tasks(items: In[Item], out: Out[Item]) -> None:
        async def say(item: Item) -> None:
            out.send(item)
            await trio.sleep(1)

        async with trio.open_nursery() as nursery:
            async for item in items:
                nursery.start_soon(say, item)

    with pytest.raises(ForgottenAwaitError):
        await drive(with_tasks, items=[Item(1)])

    async def right(done: list[str]) -> None:
        with trio.CancelScope() as scope, no_forgotten_await(scope):
            await trio.sleep(2)
            done.append("right")

    async def wrong(done: list[str]) -> None:
        scope = trio.CancelScope()
        try:
            with no_forgotten_await(scope), scope:
                right(done)
                await trio.sleep(1)
        except ForgottenAwaitError:
            done.append("wrong")

    done: list[str] = []
    async with trio.open_nursery() as nursery:
        nursery.start_soon(right, done)
        nursery.start_soon(wrong, done)
    assert done == ["wrong", "right"]


async def test_other_warnings_go_where_they_went():
    with no_forgotten_await(trio.CancelScope()), pytest.warns(UserWarning, match="hot"):
        warnings.warn("hot", UserWarning, stacklevel=1)


@pytest.mark.real_time
def test_a_run_ends_at_once_with_that_cause(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("FLOW_STATE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    from flow.cli.main import main

    assert main(["new", "graph", "lapsed"]) == 0
    text = (tmp_path / "lapsed.py").read_text()
    assert text.count("await smoothed.send(") == 1
    (tmp_path / "lapsed.py").write_text(text.replace("await smoothed.send(", "smoothed.send("))
    run = RunDirectory.create(tmp_path, "lapsed")
    capsys.readouterr()
    assert launch(load_graph(tmp_path / "lapsed.toml"), run, seed=1, resumed=False) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("first cause: node smoother-0: ForgottenAwaitError: lapsed.py:")
    assert "Out.send(…) is called without await" in last
