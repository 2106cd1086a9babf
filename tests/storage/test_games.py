"""A store of games beside a list of them."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import NotStoredError, StorageError
from storage.chunks import Column
from storage.games import GameStore
from storage.priorities import Mix

COLUMNS = [Column("boards", "<f4", (2, 3)), Column("moves", "<i8")]
CAPACITY = 24


def game(number: int, length: int) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A game whose every number tells which move of which game it is of, and weights for it."""
    moves = 100 * number + np.arange(length)
    boards = np.broadcast_to(moves[:, None, None], (length, 2, 3)).astype("<f4")
    return {"boards": np.ascontiguousarray(boards), "moves": moves}, (moves % 7).astype(float)


def opened(path: Path, capacity: int = CAPACITY, **more) -> GameStore:
    return GameStore(path, COLUMNS, capacity_positions=capacity, capacity_bytes=1 << 20, **more)


def check(store: GameStore, kept: list[tuple[dict[str, np.ndarray], np.ndarray]], first_place: int) -> None:
    """Places are of the games that a list would keep, with their weights."""
    place = first_place
    total = sum(weights.sum() for _, weights in kept)
    weight_of = {}
    for columns, weights in kept:
        for move in range(len(weights)):
            first, at, found = store.game(place + move)
            assert (first, at) == (place, move)
            for name, array in columns.items():
                np.testing.assert_array_equal(found[name], array)
            weight_of[place + move] = weights[move]
        place += len(weights)
    with pytest.raises(NotStoredError):
        store.game(place)
    if first_place:
        with pytest.raises(NotStoredError):
            store.game(first_place - 1)
    statistics = store.statistics()
    assert (statistics.games, statistics.positions) == (len(kept), place - first_place)
    assert statistics.added_positions == place
    if total:
        draw = store.draw(np.random.default_rng(0), 30)
        for drawn, chance in zip(draw.handles.tolist(), draw.chances, strict=True):
            np.testing.assert_allclose(chance, weight_of[drawn] / total, rtol=1e-6)


lengths = st.lists(st.lists(st.integers(1, 8), min_size=1, max_size=3), min_size=1, max_size=8)


@given(groups=lengths, cache=st.sampled_from([1, 1 << 20]), reopened=st.booleans())
def test_it_holds_the_newest_games_that_fit_and_so_it_does_when_opened_again(groups, cache, reopened):
    with TemporaryDirectory() as directory:
        kept: list[tuple[dict[str, np.ndarray], np.ndarray]] = []
        first_place, number = 0, 0
        store = opened(Path(directory), cache_bytes=cache)
        for group in groups:
            fresh = [game(number + n, length) for n, length in enumerate(group)]
            number += len(fresh)
            store.add(fresh)
            kept += fresh
            while sum(len(weights) for _, weights in kept) > CAPACITY:
                first_place += len(kept.pop(0)[1])
            if reopened:
                with store:
                    pass
                store = opened(Path(directory), cache_bytes=cache)
            check(store, kept, first_place)
        with store:
            pass


def test_opened_with_a_smaller_capacity_it_lets_the_oldest_go(tmp_path):
    games = [game(n, 8) for n in range(3)]
    with opened(tmp_path) as store:
        store.add(games)
    with opened(tmp_path, capacity=17) as store:
        check(store, games[1:], 8)
        store.add([game(3, 4)])
        check(store, [games[2], game(3, 4)], 16)
    with opened(tmp_path, capacity=17) as store:
        check(store, [games[2], game(3, 4)], 16)


def test_a_late_weight_for_a_game_that_has_gone_changes_nothing_and_is_counted(tmp_path):
    with opened(tmp_path) as store:
        store.add([game(0, 8), game(1, 8), game(2, 8)])
        store.add([game(3, 8)])  # in the places of game 0, modulo the capacity
        assert store.set_priorities(np.array([0, 7, 8, 31, 32]), np.full(5, 1000.0)) == 3
        draw = store.draw(np.random.default_rng(0), 200)
        assert set(np.unique(draw.handles)) >= {8, 31}
        assert 24 <= draw.handles.max() <= 31
        assert draw.handles.min() == 8


def test_what_a_store_cannot_take_is_refused_and_nothing_of_it_is_stored(tmp_path):
    columns, weights = game(0, 4)
    with opened(tmp_path) as store:
        for wrong, text in [
            (({"moves": columns["moves"]}, weights), "a game has columns"),
            ((columns, weights[:3]), "needs as many priorities of 0 or more"),
            ((columns, -weights), "needs as many priorities of 0 or more"),
            ((columns, weights * np.nan), "needs as many priorities of 0 or more"),
            (game(0, CAPACITY + 1), "a game of 25 positions, the store has 24"),
        ]:
            with pytest.raises(StorageError, match=text):
                store.add([game(1, 2), wrong])
        with pytest.raises(StorageError, match="is more than the whole capacity"):
            store.add([game(1, 20), game(2, 20)])
        assert store.statistics().games == 0
        with pytest.raises(StorageError, match="there is nothing to draw: 0 of 0 items"):
            store.draw(np.random.default_rng(0), 1)


def test_a_store_of_other_columns_or_of_none_is_refused(tmp_path):
    with opened(tmp_path / "one"):
        pass
    with pytest.raises(StorageError, match="the store was made with columns"):
        GameStore(tmp_path / "one", COLUMNS[:1], capacity_positions=9, capacity_bytes=999)
    with pytest.raises(StorageError, match="'priority' is the store's own column"):
        GameStore(tmp_path / "two", [Column("priority", "<f4")], capacity_positions=9, capacity_bytes=999)
    with pytest.raises(StorageError, match="must be 1 or more"):
        opened(tmp_path / "two", capacity=0)


@pytest.mark.parametrize("reopened", [False, True])
def test_a_game_whose_columns_were_replaced_is_the_new_one_and_all_else_is_as_it_was(tmp_path, reopened):
    games = [game(n, 8) for n in range(3)]
    store = opened(tmp_path)
    store.add(games)
    store.game(9)  # in the cache as it was
    assert store.replace(12, {"moves": np.arange(8)})  # of the second game, 8 to 15
    if reopened:
        with store:
            pass
        store = opened(tmp_path)
    games[1][0]["moves"] = np.arange(8)
    with store:
        check(store, games, 0)
        store.add([game(3, 8)])
        check(store, [*games[1:], game(3, 8)], 8)
        assert not store.replace(3, {"moves": np.arange(8)})  # gone
        for wrong, text in [
            ({"moves": np.arange(7)}, "columns must share a leading axis"),
            ({"moves": np.zeros(8)}, "a game has columns"),
            ({"boards": np.zeros((9, 2, 3), "<f4"), "moves": np.arange(9)}, "columns must share a leading axis"),
        ]:
            with pytest.raises(StorageError, match=text):
                store.replace(12, wrong)
        check(store, [*games[1:], game(3, 8)], 8)


def test_a_position_that_was_added_with_0_is_drawn_by_no_law_whatever_is_said_of_it_later(tmp_path):
    uniform = Mix(uniform=1.0)
    with opened(tmp_path) as store:
        store.add([game(0, 8)])
        store.set_priorities(np.arange(8), np.ones(8))
        assert store.statistics().drawable == 6  # all but moves 0 and 7
        drawn = [store.draw(np.random.default_rng(0), 300, mix) for mix in (uniform, Mix(prioritised=1.0))]
        for each in drawn:
            assert set(each.handles.tolist()) == {1, 2, 3, 4, 5, 6}
            np.testing.assert_allclose(each.chances, 1 / 6)
    with opened(tmp_path) as store:
        assert store.statistics().drawable == 6
        assert set(store.draw(np.random.default_rng(0), 300, uniform).handles.tolist()) == {1, 2, 3, 4, 5, 6}


def test_priorities_that_were_saved_come_back_to_what_is_still_there(tmp_path):
    with opened(tmp_path) as store:
        store.add([game(0, 8), game(1, 8), game(2, 8)])
        store.set_priorities(np.arange(24), np.arange(24) + 1.0)
        saved = store.state_dict()
        store.add([game(3, 8)])
    with opened(tmp_path) as store:
        store.load_state_dict(saved)
        draw = store.draw(np.random.default_rng(0), 500)
        # Game 0 has gone; game 3 came after the priorities were saved, with its own. What was added with 0 is
        # not drawn.
        before = np.concatenate([game(number, 8)[1] for number in (1, 2)])
        expected = np.concatenate([(np.arange(8, 24) + 1.0) * (before > 0), game(3, 8)[1]])
        np.testing.assert_allclose(draw.chances, expected[draw.handles - 8] / expected.sum(), rtol=1e-6)
