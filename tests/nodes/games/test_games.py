"""The games themselves, and their exact values."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow.errors import MissingError, SettingError
from nodes.games import openspiel, solve
from nodes.games.interface import GAMES, IllegalMove, game_named

SPIEL = importlib.util.find_spec("pyspiel") is not None
needs_spiel = pytest.mark.skipif(not SPIEL, reason=openspiel.MISSING_PACKAGE)
NAMES = ["nim", "tictactoe", *(pytest.param(f"openspiel:{name}", marks=needs_spiel) for name in ("connect_four", "y"))]


@pytest.mark.parametrize("name", NAMES)
@given(seed=st.integers(0, 9999))
def test_players_alternate_over_legal_moves_until_one_wins_or_none_can_move(name, seed):
    rng = np.random.default_rng(seed)
    game = game_named(name)
    position = game.start(rng)
    for move in range(game.moves_max + 1):
        assert position.observation().shape == game.observation_shape
        assert position.observation().dtype == np.float32
        legal = position.legal()
        assert legal.shape == (game.actions,)
        assert legal.any() != position.over
        if position.over:
            assert position.reward in (-1.0, 0.0, 1.0)
            break
        if move:
            assert position.reward == 0
        illegal = np.flatnonzero(~legal)
        if illegal.size:
            with pytest.raises(IllegalMove):
                position.after(int(rng.choice(illegal)))
        before = (str(position), position.key)
        later = position.after(int(rng.choice(np.flatnonzero(legal))))
        assert (str(position), position.key) == before, "a position never changes"
        assert later.mover == 1 - position.mover
        position = later
    else:
        pytest.fail("more moves than the game has")


def test_nim_is_lost_where_the_exclusive_or_of_the_heaps_is_zero():
    found = solve.solve(game_named("nim"))
    assert len(found.positions) == 119
    nim_sums = np.array([np.bitwise_xor.reduce(position.heaps) for position in found.positions])
    assert (found.won == (nim_sums != 0)).all()
    assert found.won.sum() == 102
    legal = np.stack([position.legal() for position in found.positions])
    blunders = 1 - (found.best & legal).sum(1)[found.won] / legal.sum(1)[found.won]
    assert round(float(blunders.mean()), 3) == 0.753


def test_tictactoe_is_a_draw_and_has_4520_positions():
    found = solve.solve(game_named("tictactoe"))
    assert len(found.positions) == 4520
    assert found.values[0] == 0


@needs_spiel
def test_our_tictactoe_is_that_of_openspiel():
    ours, theirs = solve.solve(game_named("tictactoe")), solve.solve(game_named("openspiel:tic_tac_toe"))
    assert len(theirs.positions) == 4520
    assert sorted(map(tuple, ours.q.tolist())) == sorted(map(tuple, theirs.q.tolist()))


@needs_spiel
def test_a_game_too_large_to_solve_is_refused(monkeypatch):
    monkeypatch.setattr(solve, "POSITIONS_MAX", 1000)
    with pytest.raises(SettingError, match="openspiel:connect_four has more than 1000 positions"):
        solve.solve(game_named("openspiel:connect_four"))


@needs_spiel
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("nmi", "'nmi' is no game; did you mean 'nim'"),
        ("openspiel:conect_four", "OpenSpiel has no game 'conect_four'; did you mean openspiel:connect_four"),
        ("openspiel:kuhn_poker", "it lacks: no chance, nothing hidden"),
        ("openspiel:go(bord=3)", "OpenSpiel does not take 'go"),
    ],
)
def test_what_is_no_such_game_is_refused_with_the_mend(name, text, capfd):
    with pytest.raises(SettingError, match=text.replace("(", r"\(")):
        game_named(name)
    assert text.split(";")[0] in GAMES.problem(name)
    capfd.readouterr()


def test_openspiel_that_is_not_installed_says_what_to_install(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingError, match=r'pip install "flow-research\[openspiel\]"'):
        game_named("openspiel:connect_four")


@pytest.mark.parametrize("name", ["nim", "tictactoe"])
def test_best_moves_hold_every_start_and_the_worst_ones_do_not(name):
    found = solve.solve(game_named(name))
    assert found.held(found.q.argmax(1)) == 1.0
    worst = np.where(np.isfinite(found.q), found.q, np.inf).argmin(1)
    assert found.held(worst) < 0.6
    assert found.best[found.matters].any(1).all()


@given(seed=st.integers(0, 999))
def test_what_is_held_is_what_playing_all_lines_out_says(seed):
    rng = np.random.default_rng(seed)
    found = solve.solve(game_named("nim"))
    # Mostly good moves, so that both cases come up.
    noisy = np.where(rng.random(len(found.q)) < 0.05, rng.random(found.q.shape).argmax(1), 0)
    legal = np.isfinite(found.q)
    moves = np.where((noisy > 0) & legal[np.arange(len(legal)), noisy], noisy, found.q.argmax(1))

    def worst(position, ours: bool) -> float:
        if position.over:
            return -position.reward if ours else position.reward  # whoever moved last was the other, or we
        at = found.index[position.key]
        choices = [moves[at]] if ours else np.flatnonzero(legal[at])
        return min(worst(position.after(int(move)), not ours) for move in choices)

    starts = rng.choice(found.starts, 6)
    alone = solve.Solution(found.positions, found.q, found.index, starts.tolist(), found.after)
    held = [
        worst(found.positions[at], ours) >= (found.values[at] if ours else -found.values[at])
        for at in starts
        for ours in (True, False)
    ]
    assert alone.held(moves) == pytest.approx(np.mean(held))


@needs_spiel
@given(seed=st.integers(0, 2**32 - 1))
def test_opponents_take_any_seed_a_node_may_have(seed):
    game = game_named("openspiel:connect_four")
    position = game.start(np.random.default_rng(0))
    move = game.searcher(2, seed, 2.0, 10).move(position)
    assert position.legal()[move]
