import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nodes.learn.mixing import Pile, cut, joined
from nodes.messages import Trajectories
from tests.nodes.trajectories_for_tests import trajectories

sizes = st.lists(st.integers(1, 5), min_size=1, max_size=6)


def streams_of(pieces: list[Trajectories]) -> list[int]:
    return [int(stream) for piece in pieces for stream in piece.streams]


@given(sizes=sizes, takes=st.lists(st.integers(1, 7), max_size=8))
def test_unrolls_leave_a_pile_in_the_order_they_came_each_once(sizes: list[int], takes: list[int]) -> None:
    pile = Pile()
    number = 0
    for size in sizes:
        pile.add(trajectories(list(range(number, number + size)), 0, 2))
        number += size
    taken: list[int] = []
    for take in takes:
        if take > pile.unrolls:
            break
        pieces = pile.take(take)
        assert sum(len(piece.actions) for piece in pieces) == take
        taken += streams_of(pieces)
    assert taken == list(range(len(taken)))
    assert pile.unrolls == number - len(taken)


@given(sizes=sizes)
def test_joining_what_was_cut_gives_every_field_back(sizes: list[int]) -> None:
    whole = trajectories(list(range(sum(sizes))), 5, 3, core=2)
    bounds = np.cumsum([0, *sizes])
    pieces = [cut(whole, int(a), int(b)) for a, b in itertools.pairwise(bounds)]
    again = joined(pieces)
    for spec in Trajectories.fields:
        np.testing.assert_array_equal(getattr(again, spec.name), getattr(whole, spec.name))


def test_a_piece_without_memory_gets_zeros_beside_one_with_memory() -> None:
    mixed = joined([trajectories([0], 7, 2, core=4), trajectories([1, 2], 7, 2)])
    np.testing.assert_array_equal(mixed.cores, [[7] * 4, [0] * 4, [0] * 4])
