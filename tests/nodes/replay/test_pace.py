"""The pace of sampling: what it allows, and that one side may always go on."""

from __future__ import annotations

import itertools

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import SettingError
from nodes.replay.pace import Counts, Pace, check

RATIOS = [0.25, 0.5, 1.0, 1.5, 8.0]


def test_mava_668_no_state_that_can_be_reached_blocks_both_sides():
    """Every state of every pace that is accepted, whatever order inserts of 1 to 3 and samples come in."""
    seen = 0
    for ratio, batch, slack, least in itertools.product(RATIOS, (1, 2, 5), (None, 1, 2, 4, 20), (0, 3, 7)):
        if slack is not None and slack * ratio < batch:
            with pytest.raises(SettingError, match="would wait for each other"):
                Pace(Counts(), ratio, batch, slack=slack, least=least)
            continue
        states, to_do = set(), [(0, 0, -1), (0, 0, 0)]
        while to_do:
            state = to_do.pop()
            if state in states or state[0] > 24:
                continue
            states.add(state)
            inserted, sampled, begun = state
            pace = Pace(Counts(*state), ratio, batch, slack=slack, least=least)
            assert pace.may_insert() or pace.may_sample(), (ratio, batch, slack, least, state)
            if pace.may_insert():
                to_do += [(inserted + more, sampled, begun) for more in (1, 2, 3)]
            if pace.may_sample():
                to_do.append((inserted, sampled + batch, begun))
            if begun < 0:
                to_do.append((inserted, sampled, inserted))
        seen += len(states)
    assert seen > 10_000


@given(
    ratio=st.sampled_from([*RATIOS, 8.0]),
    batch=st.integers(1, 64),
    more=st.integers(0, 50),
    turns=st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=60),
)
def test_sample_factory_322_samples_stay_within_the_ratio_whatever_the_two_sides_do(ratio, batch, more, turns):
    counts = Counts(begun=0)
    slack = int(batch / ratio) + 1 + more
    pace = Pace(counts, ratio, batch, slack=slack)
    for inserts, samples in turns:
        for _ in range(inserts):
            if pace.may_insert():
                pace.note_inserted(1)
        for _ in range(samples):
            if pace.may_sample():
                pace.note_sampled()
        assert counts.sampled <= ratio * counts.inserted
        assert counts.sampled >= ratio * (counts.inserted - slack - 1)


async def test_eight_samples_for_each_insert_within_a_tenth():
    counts = Counts(begun=0)
    pace = Pace(counts, 8.0, 32, slack=50)

    async def insert():
        while counts.inserted < 1000:
            await pace.wait_to_insert()
            pace.note_inserted(1)
            await trio.sleep(0.001 if counts.inserted % 100 < 50 else 0)

    async def sample():
        while True:
            await pace.wait_to_sample()
            pace.note_sampled()
            if counts.inserted > 600:
                await trio.sleep(0.02)

    with trio.fail_after(1000):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(sample)
            await insert()
            nursery.cancel_scope.cancel()
    assert 0.9 * 8 <= counts.sampled / counts.inserted <= 8


def test_what_could_never_be_sampled_is_refused():
    with pytest.raises(SettingError, match=r"least=9 is more than capacity=5: no sample would be sent; set least = 5"):
        check(least=("least", 9), capacity=("capacity", 5))
    with pytest.raises(SettingError, match="would wait for each other; set slack = 16 or more"):
        Pace(Counts(), 4.0, 64, slack=15)
    Pace(Counts(), 4.0, 64, slack=16)
