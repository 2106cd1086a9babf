"""What is observed, as the board again."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from nodes.games.interface import game_named
from nodes.games.shown import boards, drawn
from tests.nodes.games.test_play import after, needs_spiel


def squares(text: str) -> list[str]:
    """A board's letters, row by row, without what stands around them."""
    return [mark for line in text.splitlines() for mark in line.split() if mark in list("xo.")]


@given(seed=st.integers(0, 99), moves=st.integers(0, 8))
def test_tictactoe_and_nim_are_drawn_as_they_stand_from_the_movers_view(seed, moves):
    nim = after("nim", seed, moves)
    assert drawn("nim", nim.observation()) == str(nim)
    position = after("tictactoe", seed, moves)
    own = str(position) if position.mover == 0 else str(position).translate(str.maketrans("xo", "ox"))
    assert squares(drawn("tictactoe", position.observation())) == squares(own)


@needs_spiel
@given(seed=st.integers(0, 99), moves=st.integers(0, 20))
def test_openspiels_boards_are_drawn_as_it_draws_them(seed, moves):
    for name in ("openspiel:connect_four", "openspiel:tic_tac_toe"):
        position = after(name, seed, moves)
        lines = [line for line in str(position).splitlines() if set(line) <= set("xo.")]
        assert drawn(name, position.observation()).replace(" ", "") == "\n".join(lines)
    othello = after("openspiel:othello", seed, moves)
    rows = [line.split()[1:-1] for line in str(othello).splitlines()[2:10]]
    as_mover = str.maketrans("-xo", ".xo" if othello.mover == 0 else ".ox")
    assert drawn("openspiel:othello", othello.observation()) == "\n".join(map(" ".join, rows)).translate(as_mover)


@needs_spiel
@given(seed=st.integers(0, 99), moves=st.integers(0, 30))
def test_chess_go_and_shogi_show_the_movers_pieces_from_its_own_side(seed, moves):
    chess = after("chess", seed, moves)
    rows = [line.split()[1:] for line in str(chess).splitlines()[:8]]
    if chess.side:  # the board turned over, and whose pieces are capitals with it
        rows = [[mark.swapcase() for mark in row] for row in reversed(rows)]
    assert drawn("chess", chess.observation()) == "\n".join(map(" ".join, rows))
    go = after("go:5", seed, moves)
    stones = "".join("".join(line.split()[1:]) for line in str(go).splitlines()[2:7][::-1])
    as_mover = stones.replace("+", ".").replace("X", "xo"[go.side]).replace("O", "ox"[go.side])
    assert drawn("go:5", go.observation()).replace(" ", "").replace("\n", "") == as_mover
    shogi = after("shogi", seed, moves)
    shown = drawn("shogi", shogi.observation()).splitlines()
    pieces = [mark for line in shown[:9] for mark in line.split()]
    expected = [mark for line in str(shogi).splitlines()[1:10] for mark in line.split()[:-1]]
    if shogi.side:
        expected = [mark.swapcase() for mark in reversed(expected)]
    assert pieces == expected


def test_at_most_four_boards_of_a_message_are_shown_and_none_of_a_game_that_is_not_known():
    seen = np.stack([game_named("nim").start(np.random.default_rng(seed)).observation() for seed in range(6)])
    assert len(boards({"observations": seen}, [{}, {"game": "nim"}])) == 4
    assert boards({"observations": seen}, [{"lanes": 3}]) == []
    assert boards({"observations": seen}, [{"game": "atari:pong"}, {"game": "nim"}]) == []
    assert boards({"observations": np.zeros((2, 3, 4, 4), np.float32)}, [{"game": "openspiel:hex"}]) == []
    assert boards({"visits": seen}, [{"game": "nim"}]) == []
