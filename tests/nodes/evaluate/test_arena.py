"""Matches of players whose strength is known."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from flow.errors import SettingError
from flow.testing.harness import drive
from nodes.evaluate.arena import Match, arena
from nodes.games import openspiel
from nodes.games.interface import game_named
from nodes.games.messages import Plans
from nodes.games.opponents import RandomMoves, opponent_named
from tests.nodes.evaluate.test_exam import NOTHING, adviser, solved

needs_spiel = pytest.mark.skipif(importlib.util.find_spec("pyspiel") is None, reason=openspiel.MISSING_PACKAGE)


class Perfect:
    """Makes a best move."""

    def __init__(self, name: str) -> None:
        self.found = solved(name)

    def move(self, position) -> int:
        return int(self.found.q[self.found.index[position.key]].argmax())


async def scored(name: str, *, wrong: bool, seed: int = 0, **more):
    return await drive(arena, planner=adviser(name, wrong=wrong), weights=[NOTHING], game=name, **more)


@pytest.mark.parametrize("name", ["nim", "tictactoe"])
async def test_perfect_play_beats_random_moves_and_the_worst_play_loses(name):
    good, bad = [await scored(name, wrong=wrong, games=40) for wrong in (False, True)]
    assert good.metrics.gauges["score"] > bad.metrics.gauges["score"] + 0.25
    assert good.metrics.gauges["elo"] > 0 > bad.metrics.gauges["elo"]
    for each in (good, bad):
        low, middle, high = (each.metrics.gauges[name] for name in ("elo_low", "elo", "elo_high"))
        assert low < middle < high


async def test_several_arenas_of_a_graph_are_told_apart_by_a_prefix():
    result = await scored("nim", wrong=False, games=4, prefix="random_")
    assert {"random_score", "random_elo", "random_elo_low", "random_elo_high"} == set(result.metrics.gauges)
    assert set(result.metrics.series) == {"random_match_score"}


@settings(max_examples=10)
@given(seed=st.integers(0, 999), openings=st.integers(1, 4), moves=st.integers(0, 5))
def test_perfect_play_on_both_sides_scores_what_the_openings_are_worth(seed, openings, moves):
    found = solved("tictactoe")
    match = Match(game_named("tictactoe"), openings, moves, np.random.default_rng(seed))
    expected = []
    for board in match.under_way:
        value = found.values[found.index[board.position.key]]
        expected.append((1 + (value if board.position.mover == board.side else -value)) / 2)
    player = Perfect("tictactoe")
    advise = adviser("tictactoe", wrong=False)
    while match.under_way:
        match.answer(player)
        if match.under_way:
            match.move(advise(match.question()))
    assert sorted(match.scores) == sorted(expected)
    assert len(match.scores) == 2 * openings
    assert np.mean(match.scores) == 0.5  # each opening from both sides


@needs_spiel
async def test_openspiels_search_is_an_opponent_and_moves_legally():
    game = game_named("openspiel:connect_four")
    strong, weak = opponent_named("mcts", game, 200, 0), RandomMoves(0)
    match = Match(game, 3, 0, np.random.default_rng(0))
    while match.under_way:
        match.answer(strong)
        if match.under_way:
            moves = [weak.move(board.position) for board in match.under_way]
            visits = np.eye(7, dtype=np.int32)[moves]
            match.move(Plans(visits, np.zeros(len(moves), np.float32), visits.astype(np.float32), 0))
    assert np.mean(match.scores) < 0.3


@needs_spiel
async def test_openspiels_search_does_not_play_our_own_games():
    with pytest.raises(SettingError, match="opponent=\"mcts\" plays games of OpenSpiel alone, found 'nim'"):
        await scored("nim", wrong=False, opponent="mcts")
