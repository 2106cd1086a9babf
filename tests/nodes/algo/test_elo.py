"""Elo out of a match, and what its interval is worth."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.algo.elo import Elo, elo_of


def test_thirty_of_forty_points_are_185_elo_give_or_take_122():
    # By hand: odds 30.5 / 10.5 = 2.9048, their logarithm 1.0664; √(1/30.5 + 1/10.5) = √(0.03279 + 0.09524) = 0.35781;
    # 400 / ln 10 = 173.718. 1.0664 · 173.718 = 185.25; 1.96 · 0.35781 · 173.718 = 121.83.
    found = elo_of(30, 40)
    assert found.difference == pytest.approx(185.25, abs=0.05)
    assert found.high - found.difference == pytest.approx(121.83, abs=0.05)
    assert str(found) == "+185 (+63 to +307)"


@given(points=st.floats(0, 1000), more=st.floats(0, 1000))
def test_who_loses_what_the_other_wins_is_as_much_weaker(points, more):
    games = math.ceil(points + more) + 1
    ours, theirs = elo_of(points, games), elo_of(games - points, games)
    assert ours.difference == pytest.approx(-theirs.difference, abs=1e-9)
    assert ours.error == pytest.approx(theirs.error)
    assert ours.low < ours.difference < ours.high
    assert math.isfinite(ours.low)
    assert math.isfinite(ours.high)


@given(share=st.floats(0.05, 0.95))
def test_with_many_games_it_is_the_difference_at_which_the_score_is_expected(share):
    found = elo_of(share * 1e6, 1_000_000).difference
    assert 1 / (1 + 10 ** (-found / 400)) == pytest.approx(share, abs=1e-5)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5, 0.8, 0.95])
@pytest.mark.parametrize("games", [20, 100])
def test_the_interval_holds_the_truth_in_19_of_20_matches(share, games):
    truth = 400 * math.log10(share / (1 - share))
    points = np.random.default_rng(0).binomial(games, share, 4000)
    held = [(found := elo_of(int(won), games)).low <= truth <= found.high for won in points]
    assert np.mean(held) > 0.92  # whole games come in steps: of 20 at 0.95 it is 0.928


def test_along_a_ladder_differences_add_and_errors_by_their_squares():
    total = Elo(100.0, 30.0) + Elo(-20.0, 40.0)
    assert (total.difference, total.error) == (80.0, 50.0)


@pytest.mark.parametrize(("points", "games"), [(1, 0), (3, 2), (-1, 2)])
def test_points_that_games_cannot_give_are_refused(points, games):
    with pytest.raises(ValueError, match=f"{points} points in {games} games"):
        elo_of(points, games)
