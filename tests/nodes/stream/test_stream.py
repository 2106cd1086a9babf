"""General nodes over streams: each by the property that it is there for."""

import math

import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st
from jaxtyping import Float32

from flow import Array, Live, Message, Saved
from flow.errors import MessageError
from flow.testing import drive
from flow.testing.memory_ports import stream
from nodes.stream.batch import batch, unbatch
from nodes.stream.limit import limit
from nodes.stream.merge import merge
from nodes.stream.shuffle import shuffle
from nodes.stream.split import split
from nodes.stream.window import cut, window
from nodes.stream.zip import zip as pair
from tests.nodes.stream.streams import (
    Clip,
    Numbered,
    assert_all_same,
    bound,
    clips,
    drive_in_parts,
    numbered,
    problem_of,
)

rests = st.lists(st.integers(1, 7), max_size=4)


class Rows(Message):
    """Rows of a stream that may be cut anywhere."""

    values: Float32[Array, "rows 2"]
    more: Float32[Array, "rows"]
    rate: int


def rows(start: int, count: int) -> Rows:
    numbers = np.arange(start, start + count, dtype=np.float32)
    return Rows(np.stack([numbers, -numbers], 1), numbers / 2, 16)


@given(sent=clips(), size=st.integers(1, 4))
async def test_batches_taken_apart_are_what_was_sent(sent, size):
    batched = await drive(bound(batch, Clip, size=size), items=sent, size=size)
    into = bound(batch, Clip, size=size).ports["batches"].messages[0]
    again = await drive(bound(unbatch, into), batches=batched.batches)
    assert [each.samples.shape[0] for each in batched.batches] == [
        min(size, len(sent) - start) for start in range(0, len(sent), size)
    ]
    assert_all_same(again.items, sent)


@given(sent=clips(), size=st.integers(1, 4), rests=rests)
async def test_batches_are_the_same_however_often_the_node_is_stopped(sent, size, rests):
    made = bound(batch, Clip, size=size)
    in_one = await drive(made, items=sent, size=size)
    in_parts = await drive_in_parts(made, rests, "batches", ports={"items": sent}, size=size)
    assert_all_same(in_parts, in_one.batches)
    apart = bound(unbatch, made.ports["batches"].messages[0])
    again = await drive_in_parts(apart, rests, "items", ports={"batches": in_one.batches})
    assert_all_same(again, sent)


@given(count=st.integers(0, 9), size=st.integers(1, 4))
async def test_a_last_smaller_batch_can_be_dropped(count, size):
    sent = [
        Clip(np.ones(2, np.float32), np.zeros((2, 3), np.uint8), np.array(True), np.ones(1), {}, 1, 1.0, True)
    ] * count
    made = bound(batch, Clip, size=size, last="drop")
    result = await drive(made, items=sent, size=size, last="drop")
    assert [len(each.samples) for each in result.batches] == [size] * (count // size)
    assert str(made.ports["batches"].messages[0].fields[0]) == f"float32 ({size}, time)"


async def test_messages_of_different_shapes_are_not_stacked():
    with pytest.raises(MessageError, match=r"field values: messages of \(1, 2\), \(2, 2\) cannot be stacked; give all"):
        await drive(bound(batch, Rows, size=2), items=[rows(0, 1), rows(1, 2)], size=2)


def test_what_cannot_be_stacked_or_taken_apart_is_told_before_a_run():
    assert "field name of Numbered is a text, and texts cannot be stacked" in problem_of(batch, Numbered, size=2)
    assert "Numbered has no first dimension to go along; send arrays" in problem_of(unbatch, Numbered)
    text = problem_of(unbatch, Clip)
    assert "field flag of Clip has no first dimension" in text


@given(count=st.integers(0, 40), size=st.integers(1, 8), seed=st.integers(0, 9), rests=rests)
async def test_a_shuffle_loses_nothing_moves_nothing_far_and_is_the_same_again(count, size, seed, rests):
    made = bound(shuffle, Numbered, size=size)
    sent = numbered(list(range(count)))
    result = await drive(made, items=sent, size=size, seed=seed)
    order = [each.number for each in result.shuffled]
    assert sorted(order) == list(range(count))
    assert all(abs(place - number) < size for place, number in enumerate(order))
    in_parts = await drive_in_parts(made, rests, "shuffled", ports={"items": sent}, size=size, seed=seed)
    assert [each.number for each in in_parts] == order


async def test_a_shuffle_brings_every_message_to_many_places():
    places = np.zeros((20, 20))
    for seed in range(200):
        result = await drive(shuffle, items=numbered(list(range(20))), size=8, seed=seed)
        for place, each in enumerate(result.shuffled):
            places[each.number, place] += 1
    # A message in the middle has 15 places to go to; each is taken now and then.
    assert (places[10, 3:18] > 0).all()
    assert places[0].max() < 80


@given(count=st.integers(0, 12), length=st.integers(1, 4), data=st.data(), rests=rests)
async def test_windows_hold_consecutive_messages(count, length, data, rests):
    hop = data.draw(st.integers(1, length))
    sent = [rows(start, 1) for start in range(count)]
    made = bound(window, Rows, length=length, hop=hop)
    result = await drive(made, items=sent, length=length, hop=hop)
    assert [list(each.more[:, 0] * 2) for each in result.windows] == [
        list(range(start, start + length)) for start in range(0, count - length + 1, hop)
    ]
    in_parts = await drive_in_parts(made, rests, "windows", ports={"items": sent}, length=length, hop=hop)
    assert_all_same(in_parts, result.windows)


@given(lengths=st.lists(st.integers(0, 5), max_size=6), length=st.integers(1, 5), data=st.data(), rests=rests)
async def test_windows_do_not_depend_on_how_the_stream_was_cut(lengths, length, data, rests):
    hop = data.draw(st.integers(1, length))
    settings = {"length": length, "hop": hop}
    starts = [0, *np.cumsum(lengths).tolist()]
    pieces = [rows(start, count) for start, count in zip(starts, lengths, strict=False)]
    made = bound(cut, Rows, **settings)
    in_pieces = await drive(made, pieces=pieces, **settings)
    in_one = await drive(made, pieces=[rows(0, sum(lengths))], **settings)
    assert_all_same(in_pieces.windows, in_one.windows)
    assert [each.more[0] * 2 for each in in_one.windows] == list(range(0, sum(lengths) - length + 1, hop))
    assert_all_same(await drive_in_parts(made, rests, "windows", ports={"pieces": pieces}, **settings), in_one.windows)


async def test_a_number_that_changes_within_a_window_is_refused():
    other = Rows(np.zeros((1, 2), np.float32), np.zeros(1, np.float32), 8)
    with pytest.raises(MessageError, match="field rate changes from 16 within a window; split the stream by it"):
        await drive(cut, pieces=[rows(0, 1), other], length=2)


@pytest.mark.parametrize("node_type", [window, cut])
def test_a_hop_over_messages_is_refused(node_type):
    assert problem_of(node_type, Rows, length=2, hop=3).startswith("hop=3 must be at most length=2: a longer hop")


@given(left=st.integers(0, 6), right=st.integers(0, 6), rests=rests)
async def test_pairs_are_the_first_with_the_first_until_a_side_ends(left, right, rests):
    settings = {"left_prefix": "a_", "right_prefix": "b_"}
    made = bound(pair, Numbered, **settings)
    ports = {"left": numbered(list(range(left))), "right": numbered(list(range(right)))}
    result = await drive(made, **ports, **settings)
    expected = [(n, n) for n in range(min(left, right))]
    assert [(each.a_number, each.b_number) for each in result.pairs] == expected
    assert result.metrics.counters["unpaired"] == (left > right)
    in_parts = await drive_in_parts(made, rests, "pairs", ports=ports, **settings)
    assert [(each.a_number, each.b_number) for each in in_parts] == expected


@given(left=st.integers(0, 4), right=st.integers(0, 4))
async def test_a_rest_can_be_refused(left, right):
    ports = {"left": numbered(list(range(left))), "right": numbered(list(range(right)))}
    settings = {"rest": "refuse", "left_prefix": "a_"}
    if left == right:
        await drive(pair, **ports, **settings)
        return
    longer = "left" if left > right else "right"
    with pytest.raises(MessageError, match=f'the {longer} stream has more messages than the other; set rest = "drop"'):
        await drive(pair, **ports, **settings)


def test_two_fields_of_one_name_are_told_apart_and_their_dimensions_too():
    told = problem_of(pair, Rows)
    assert "both have a field 'more'; tell them apart with a setting, as in right_prefix = " in told
    made = bound(pair, Rows, right_prefix="right_").ports["pairs"].messages[0]
    assert [str(field) for field in made.fields if field.kind == "array"] == [
        "float32 (rows, 2)",
        "float32 (rows)",
        "float32 (rows_right, 2)",
        "float32 (rows_right)",
    ]


@given(left=st.lists(st.integers(0, 9), max_size=6), right=st.lists(st.integers(0, 9), max_size=6), rests=rests)
async def test_merged_streams_keep_each_sides_order_and_rise_where_both_do(left, right, rests):
    ports = {"left": numbered(left, "left"), "right": numbered(right, "right")}
    made = bound(merge, Numbered, by="at")
    result = await drive(made, **ports, by="at")
    told = result.merged
    assert [each.number for each in told if each.name == "left"] == left
    assert [each.number for each in told if each.name == "right"] == right
    both = {name: numbered(sorted(side), name) for name, side in (("left", left), ("right", right))}
    rising = (await drive(made, **both, by="number")).merged
    # Python's sort is stable, so of equal ones the left comes first.
    assert [(each.number, each.name) for each in rising] == [
        (each.number, each.name) for each in sorted(both["left"] + both["right"], key=lambda each: each.number)
    ]
    assert_all_same(await drive_in_parts(made, rests, "merged", ports=ports, by="at"), told)


def test_what_cannot_be_merged_or_split_by_is_told_before_a_run():
    assert (
        problem_of(merge, Numbered, by="nmber") == "by = 'nmber': Numbered has no field 'nmber'; did you mean 'number'?"
    )
    assert "by = 'name' is str, which has no order" in problem_of(merge, Numbered, by="name")
    assert "no field 'nam'; did you mean 'name'?" in problem_of(split, Numbered, field="nam", values=[])
    assert "split goes by a field of one value" in problem_of(split, Clip, field="samples", values=[])
    assert "values = ['x']: field number is int, and one of these is none" in problem_of(
        split, Numbered, field="number", values=["x"]
    )


@given(numbers=st.lists(st.integers(0, 5), max_size=9), wanted=st.lists(st.integers(0, 5), max_size=3))
async def test_a_split_sends_each_message_one_way_and_keeps_the_order_of_both(numbers, wanted):
    settings = {"field": "number", "values": [str(each) for each in wanted]}
    result = await drive(bound(split, Numbered, **settings), items=numbered(numbers), **settings)
    assert [each.number for each in result.matching] == [number for number in numbers if number in wanted]
    assert [each.number for each in result.others] == [number for number in numbers if number not in wanted]


@pytest.mark.parametrize(("field", "values", "matches"), [("mono", ["true"], 2), ("gain", ["0.5"], 1)])
async def test_a_split_reads_values_as_its_field_holds_them(field, values, matches):
    made = [
        Clip(np.ones(0, np.float32), np.ones((2, 1), np.uint8), np.array(True), np.ones(1), {}, 1, gain, mono)
        for gain, mono in [(0.5, True), (1.0, True), (2.0, False)]
    ]
    result = await drive(split, items=made, field=field, values=values)
    assert (len(result.matching), len(result.others)) == (matches, 3 - matches)


@given(
    pauses=st.lists(st.integers(0, 8), max_size=12),
    per_second=st.sampled_from([0.5, 1.0, 4.0]),
    burst=st.integers(1, 3),
)
async def test_no_stretch_of_time_holds_more_than_its_share(pauses, per_second, burst):
    times = (np.cumsum(pauses) / 4).tolist()
    moments = await _moments(times, per_second, burst)
    for first in range(len(moments)):
        for last in range(first, len(moments)):
            stretch = moments[last] - moments[first]
            assert last - first + 1 <= burst + stretch * per_second + 1e-6
    # No later than needed: each goes when it came, or when its share allows.
    even = 0.0
    for time, moment in zip(times, moments, strict=True):
        due = max(time, even - (burst - 1) / per_second)
        assert moment == pytest.approx(due, abs=1e-6)
        even = max(even, due) + 1 / per_second


class LateClock(trio.abc.Clock):
    """Wakes whoever sleeps only at whole multiples of `grain` seconds, and takes no time for anything else."""

    def __init__(self, grain: float) -> None:
        self.now, self.grain = 0.0, grain

    def start_clock(self) -> None:
        pass

    def current_time(self) -> float:
        return self.now

    def deadline_to_sleep_time(self, deadline: float) -> float:
        if self.now < deadline < 1e6:
            self.now = (math.floor(deadline / self.grain) + 1) * self.grain
        return 0.0 if deadline <= self.now else 1e3


@given(grain=st.floats(0.001, 0.1), per_second=st.sampled_from([30.0, 300.0, 2000.0]), burst=st.integers(1, 4))
def test_late_wake_ups_do_not_lower_the_rate(grain, per_second, burst):
    count = 200
    moments = trio.run(_moments, [0.0] * count, per_second, burst, clock=LateClock(grain))
    assert moments[-1] <= (count - burst) / per_second + 2 * grain
    for at, moment in enumerate(moments):
        assert moment >= (at + 1 - burst) / per_second - 1e-9, "none goes before it is due"


async def _moments(times: list[float], per_second: float, burst: int) -> list[float]:
    """When messages that come at these times are let pass, in seconds after the start."""
    out, items = stream(Numbered, credit=100)
    limited, heard = stream(Numbered)
    moments: list[float] = []
    began = trio.current_time()

    async def feed() -> None:
        for number, time in enumerate(times):
            await trio.sleep_until(began + time)
            await out.send(Numbered(number, "", time))
        out.end()

    async def let_pass() -> None:
        await limit(items, limited, saved=Saved(), per_second=Live(per_second), burst=burst)
        limited.end()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(feed)
        nursery.start_soon(let_pass)
        async for message in heard:
            assert message.number == len(moments)
            moments.append(trio.current_time() - began)
    return moments
