"""Go, chess and shogi: numbers of moves and planes, held to what the boards and an engine of its own say."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow.errors import SettingError
from nodes.games import chess, openspiel, shogi
from nodes.games.interface import game_named

pytestmark = pytest.mark.skipif(importlib.util.find_spec("pyspiel") is None, reason=openspiel.MISSING_PACKAGE)


def play(name: str, seed: int, moves: int):
    """The positions of a game of random moves."""
    rng = np.random.default_rng(seed)
    positions = [game_named(name).start(rng)]
    while len(positions) <= moves and not positions[-1].over:
        positions.append(positions[-1].after(int(rng.choice(np.flatnonzero(positions[-1].legal())))))
    return positions


@pytest.mark.parametrize(("name", "planes", "actions"), [
    ("go", 17, 362), ("go:9", 17, 82), ("chess", 119, 4672), ("chess:100", 1407, 4672), ("shogi", 362, 11259),
])  # fmt: skip
def test_games_have_the_papers_planes_and_as_many_moves(name, planes, actions):
    game = game_named(name)
    assert game.observation_shape[0] == planes
    assert game.actions == actions
    assert game.start(np.random.default_rng(0)).observation().shape == game.observation_shape


@pytest.mark.parametrize("name", ["go:5", "chess", "shogi"])
@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), moves=st.integers(0, 60))
def test_each_legal_move_of_the_rules_has_a_number_of_its_own(name, seed, moves):
    for position in play(name, seed, moves)[-3:]:
        if not position.over:
            assert position.legal().sum() == len(position._state.legal_actions())


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), moves=st.integers(0, 120))
def test_moves_of_chess_are_those_of_an_independent_engine(seed, moves):
    engine = pytest.importorskip("chess", reason="python-chess is not installed")
    board = engine.Board()
    for position, later in zip((game := play("chess", seed, moves)), game[1:], strict=False):
        expected = {chess.number_of(move.uci(), position.side) for move in board.legal_moves}
        if not position.over:
            assert set(np.flatnonzero(position.legal())) == expected
        board.push(next(move for move in board.legal_moves if _after(board, move) == _pieces(later)))


def _after(board, move):
    board.push(move)
    pieces = board.board_fen()
    board.pop()
    return pieces


def _pieces(position):
    return position._state.board().to_fen().split()[0]


@pytest.mark.parametrize("module", [chess, shogi])
def test_action_planes_show_where_each_move_goes_from_and_to(module):
    game = game_named(module.__name__.rpartition(".")[2])
    planes = game.action_planes()
    assert planes.shape[0] == game.actions
    assert planes.dtype == np.uint8
    # What leads off the board is told apart: no other two moves enter the dynamics alike.
    flag = 2 if module is chess else 9
    on_board = planes[planes[:, flag, 0, 0] == 1].reshape(-1, planes[0].size)
    assert len(np.unique(on_board, axis=0)) == len(on_board)


def test_the_first_move_of_chess_is_seen_the_same_way_from_both_sides():
    start = game_named("chess").start(np.random.default_rng(0))
    advance = chess.number_of("e2e4", 0)
    assert advance == chess.number_of("e7e5", 1)
    planes = game_named("chess").action_planes()[advance]
    assert planes[0, 1, 4] == 1
    assert planes[1, 3, 4] == 1
    pawns = start.after(advance).observation()
    # Black sees its own eight pawns on its second row, and White's advanced one five rows ahead.
    assert pawns[0, 1].sum() == 8
    assert pawns[6, 4, 4] == 1
    assert pawns[112].all(), "colour"


def test_shogi_is_turned_half_round_for_the_second_player():
    assert shogi.number_of("7g7f", 0) == shogi.number_of("3c3d", 1)
    assert shogi.number_of("P*5e", 0) == shogi.number_of("P*5e", 1)
    start = game_named("shogi").start(np.random.default_rng(0))
    first = start.observation()
    second = start.after(shogi.number_of("7g7f", 0)).observation()
    own_rook, bishop = shogi.PIECES.index("R"), shogi.PIECES.index("B")
    assert first[own_rook].nonzero() == second[own_rook].nonzero()
    assert first[bishop].nonzero() == second[bishop].nonzero()


def test_a_board_of_chess_that_comes_again_says_so():
    position = game_named("chess").start(np.random.default_rng(0))
    for word in ("g1f3", "g8f6", "f3g1", "f6g8"):
        assert position.observation()[12:14].sum() == 0
        position = position.after(chess.number_of(word, position.side))
    assert position.observation()[12].all()
    assert not position.observation()[13].any()


def test_under_promotions_are_moves_of_their_own_and_a_queen_is_the_slide():
    numbers = {piece: chess.number_of(f"a7b8{piece}", 0) for piece in ("n", "b", "r", "q", "")}
    assert len(set(numbers.values())) == 4
    assert numbers["q"] == numbers[""]
    assert chess.step_of(numbers["r"] % chess.KINDS) == (1, 1, "r")


def test_the_history_of_go_shows_a_stone_from_when_it_was_put():
    game = game_named("go:5")
    position = game.start(np.random.default_rng(0))
    for point in (7, 3, 12):
        position = position.after(point)
    seen = position.observation()  # White's to move: its own stone first
    assert [board.nonzero()[0].size for board in seen[:8]] == [1, 2, 1, 1, 0, 1, 0, 0]
    assert not seen[16].any()


@pytest.mark.parametrize("name", ["go:2", "go:20", "go:x", "chess:0", "shogi:9"])
def test_other_sizes_are_refused_with_what_can_be_written(name):
    with pytest.raises(SettingError, match="is no game; write"):
        game_named(name)
