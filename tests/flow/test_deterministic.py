"""What makes a run come out bit for bit as another of its seed."""

from __future__ import annotations

import random

import numpy as np
import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from flow import saved
from flow.deterministic import ALIGNMENT, Generators, InTurn, aligned
from flow.testing import messages
from tests.flow.sample_messages import Block, Everything, same


def draw(count):
    """What a node might draw from generators that the whole process shares."""
    found = [random.random() for _ in range(count)] + np.random.random(count).tolist()
    torch = pytest.importorskip("torch")
    return found + torch.rand(count).tolist()


@given(
    counts=st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 3)), max_size=8),
    cut=st.integers(0, 8),
    seed=st.integers(0, (1 << 32) - 2),
)
def test_what_a_node_draws_depends_on_its_own_seed_and_goes_on_behind_a_checkpoint(counts, cut, seed):
    alone = Generators(seed)
    expected = [alone.use(draw, count) for node, count in counts if node == "a"]
    mine, other = Generators(seed), Generators(seed + 1)
    outside = random.getstate()
    found = []
    for at, (node, count) in enumerate(counts):
        if at == cut and mine.state_dict() is not None:  # killed and resumed
            packed = saved.pack({"generators": mine.state_dict()})
            mine = Generators(0)
            mine.load_state_dict(saved.unpack(packed.tensors, packed.rest)["generators"])
        drawn = (mine if node == "a" else other).use(draw, count)
        if node == "a":
            found.append(drawn)
    assert found == expected
    assert random.getstate() == outside


async def test_computations_of_two_nodes_take_turns():
    turn, under_way, most = trio.Lock(), [0], [0]

    def work():
        under_way[0] += 1
        most[0] = max(most[0], under_way[0])
        sum(range(20_000))
        under_way[0] -= 1

    threads = [InTurn(name, None, turn, Generators(1)) for name in ("a", "b")]
    async with trio.open_nursery() as nursery:
        for _ in range(5):
            for each in threads:
                nursery.start_soon(each.run, "compute", work)
    for each in threads:
        assert not each.busy
        each.stop()
    assert most == [1]


@given(message=messages(Everything))
def test_aligned_messages_say_the_same(message):
    found = aligned(message)
    assert same(found, message)


@given(shift=st.integers(0, 40), rows=st.integers(1, 9))
def test_arrays_come_to_lie_at_a_multiple_of_64_bytes_and_stay_read_only(shift, rows):
    memory = np.arange(shift + rows, dtype=np.uint8)
    memory.flags.writeable = False
    found = aligned(Block(3, memory[shift:])).data
    assert found.ctypes.data % ALIGNMENT == 0
    assert not found.flags.writeable
    np.testing.assert_array_equal(found, memory[shift:])
