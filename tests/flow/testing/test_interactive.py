"""A node by hand: what the harness feeds, hears, kills and restores, and what it says of wrong use."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from flow import In, Out, node
from flow.errors import SettingError
from flow.testing import harness
from tests.flow.testing.zoo import right
from tests.flow.testing.zoo.speech import Item


@given(numbers=st.lists(st.integers(0, 99), max_size=5))
async def test_what_goes_in_comes_out_and_then_it_ends(numbers):
    async with harness(right.passes) as h:
        for number in numbers:
            await h.push("items", Item(number))
            assert (await h.pull("out")).number == number
        await h.expect_nothing()
        h.close("items")
        await h.ended()


@given(before=st.integers(0, 3), after=st.integers(1, 3))
async def test_a_node_that_is_killed_and_restored_goes_on_from_its_state(before, after):
    async with harness(right.counts) as h:
        for _ in range(before):
            await h.push("items", Item(0))
            await h.pull("out")
        state = await h.snapshot()
        await h.kill()
        await h.restore(state)
        for expected in range(before, before + after):
            await h.push("items", Item(0))
            assert (await h.pull("out")).number == expected


async def test_calls_are_answered_with_nothing_declared_and_alike_for_the_same_question():
    async with harness(right.asks) as h:
        answers = []
        for _ in range(2):
            await h.push("items", Item(3))
            answers.append((await h.pull("out")).number)
        assert answers[0] == answers[1]
        assert len(h.heard("model")) == 2


async def test_a_server_is_asked_and_reads_what_is_published():
    async with harness(right.scales) as h:
        await h.publish("weights", Item(3))
        values = right.Rows(right.np.ones((2, 2), "float32"))
        assert (await h.ask("asked", values)).sums.tolist() == [3, 3]


async def test_a_live_setting_is_changed_and_held_to_its_range():
    async with harness(right.halves, gain=1.0) as h:
        h.set("gain", 0.5)
        await h.push("waves", right.Wave(right.np.ones(1, "float32"), 1))
        assert (await h.pull("out")).samples.tolist() == [0.5]
        with pytest.raises(SettingError, match="from 0 to 1"):
            h.set("gain", 2.0)


async def test_time_passes_only_when_nothing_else_can():
    began = trio.current_time()
    async with harness(right.ticks, every_s=600.0) as h:
        await h.advance(600.0)
        assert (await h.pull("out")).number == 0
    assert trio.current_time() - began < 700


async def test_what_is_not_there_is_said():
    with pytest.raises(SettingError, match="passes has no setting 'size'; it has none"):
        async with harness(right.passes, size=3):
            pass
    async with harness(right.passes) as h:
        with pytest.raises(SettingError, match="has no In port 'item'; it has items"):
            await h.push("item", Item(1))
        with pytest.raises(trio.TooSlowError, match="does nothing for 60 s, and out waits for it"):
            await h.pull("out")
        await h.push("items", Item(1))
        with pytest.raises(AssertionError, match="was expected to say nothing, but port out sent"):
            await h.expect_nothing()


async def test_what_the_node_raises_is_raised_to_the_test():
    @node
    async def breaks(items: In[Item], out: Out[Item]) -> None:
        async for item in items:
            raise ZeroDivisionError(f"at {item.number}")

    async def used() -> None:
        async with harness(breaks) as h:
            await h.push("items", Item(7))
            await h.pull("out")

    with pytest.raises(ZeroDivisionError, match="at 7"):
        await used()
