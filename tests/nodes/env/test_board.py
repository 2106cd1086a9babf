"""Self-play by whatever a planner advises."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow import Context
from flow.errors import MessageError
from flow.testing.harness import drive
from nodes.algo.root import policy_target
from nodes.env.board import NOT_PLANNED, Openings, selfplay
from nodes.games.interface import game_named
from nodes.games.messages import Plans, PlayedGame, Positions
from nodes.games.solve import solve


class Adviser:
    """Plans with random visits of legal moves, all of which it remembers by what was asked."""

    def __init__(self, seed: int, *, illegal: bool = False) -> None:
        self.rng, self.illegal = np.random.default_rng(seed), illegal
        self.asked = 0

    def __call__(self, asked: Positions) -> Plans:
        self.asked += 1
        visits = self.rng.integers(1, 9, asked.legal.shape) * (asked.legal != self.illegal)
        values = self.rng.normal(size=len(visits)).astype(np.float32)
        assert asked.noisy.all()
        return Plans(visits.astype(np.int32), values, policy_target(visits), self.asked)


def check_game(name: str, game: PlayedGame) -> None:
    """Replayed by the rules, the game is what it says it is."""
    rules = game_named(name)
    start = next(position for position in rules.starts() if (position.observation() == game.observations[0]).all())
    position = start
    for t, action in enumerate(game.actions.tolist()):
        np.testing.assert_array_equal(game.observations[t], position.observation())
        legal = position.legal()
        assert legal[action]
        if game.drawn[t]:
            assert game.policies[t][action] > 0
            assert not game.policies[t][~legal].any()
            np.testing.assert_allclose(game.policies[t].sum(), 1, rtol=1e-5)
        position = position.after(action)
        assert game.rewards[t] == position.reward
        assert position.over == (t == len(game.actions) - 1)
    assert (np.diff(game.versions) >= 0).all()


@pytest.mark.parametrize("name", ["nim", "tictactoe"])
@given(seed=st.integers(0, 99), lanes=st.integers(1, 5), groups=st.integers(1, 3))
async def test_what_is_sent_are_whole_games_by_the_rules(name, seed, lanes, groups):
    result = await drive(selfplay, planner=Adviser(seed), games=12, game=name, lanes=lanes, groups=groups, warm_moves=3)
    assert len(result.games) == 12
    for game in result.games:
        check_game(name, game)
        assert game.drawn.all()
    assert {len(question.legal) for question in result.planner} == {lanes}


async def test_after_the_warm_moves_the_most_visited_move_is_made():
    result = await drive(selfplay, planner=Adviser(0), games=20, game="tictactoe", lanes=4, warm_moves=2)
    late = [
        game.policies[t][game.actions[t]] == game.policies[t].max()
        for game in result.games
        for t in range(2, len(game.actions))
    ]
    early = [game.policies[t][game.actions[t]] == game.policies[t].max() for game in result.games for t in range(2)]
    assert all(late)
    assert not all(early)


@given(seed=st.integers(0, 99), moves=st.integers(1, 9))
async def test_openings_are_random_legal_moves_and_samples_begin_after_them(seed, moves):
    result = await drive(
        selfplay, planner=Adviser(seed), games=20, game="tictactoe", lanes=3,
        opening_share=1.0, opening_moves=moves, context=Context("selfplay", seed=seed),
    )  # fmt: skip
    for game in result.games:
        check_game("tictactoe", game)
        opening = int(np.count_nonzero(~game.drawn))
        assert opening <= min(moves, 8)
        assert opening >= 1  # no first move of tic-tac-toe ends it
        np.testing.assert_array_equal(game.drawn, np.arange(len(game.actions)) >= opening)
        np.testing.assert_array_equal(game.versions == NOT_PLANNED, ~game.drawn)


async def test_openings_come_as_often_as_is_said_at_every_length_and_with_every_first_move():
    result = await drive(
        selfplay, planner=Adviser(0), games=400, game="tictactoe", lanes=8, opening_share=0.5, opening_moves=3
    )
    lengths = np.array([np.count_nonzero(~game.drawn) for game in result.games])
    assert 0.4 < (lengths > 0).mean() < 0.6
    assert set(np.unique(lengths)) == {0, 1, 2, 3}
    assert min(np.bincount(lengths)[1:]) > 40  # of some 67 each
    first = [game.actions[0] for game, length in zip(result.games, lengths, strict=True) if length]
    assert set(first) == set(range(9))


def test_without_openings_a_seed_means_the_same_games_as_before_there_were_any():
    rng, same = np.random.default_rng(0), np.random.default_rng(0)
    assert Openings(0.0, 5).length(rng) == 0
    assert rng.random() == same.random()


async def test_a_planner_that_plays_perfectly_wins_every_won_start_of_nim():
    found = solve(game_named("nim"))
    index = {position.observation().tobytes(): at for at, position in enumerate(found.positions)}

    def perfect(asked: Positions) -> Plans:
        rows = [index[row.tobytes()] for row in asked.observations]
        visits = np.where(found.best[rows] & asked.legal, 9, 0).astype(np.int32)
        return Plans(visits, found.values[rows].astype(np.float32), policy_target(visits), 0)

    result = await drive(selfplay, planner=perfect, games=40, game="nim", lanes=8)
    for game in result.games:
        z = game.rewards[-1] * (-1.0) ** (len(game.actions) - 1)
        assert z == game.values[0]


async def test_an_illegal_move_of_a_planner_is_refused_with_the_board():
    with pytest.RaisesGroup(
        pytest.RaisesExc(MessageError, match=r"tictactoe: the planner advises move \d, which is not")
    ):
        await drive(selfplay, planner=Adviser(0, illegal=True), games=3, game="tictactoe", lanes=2)


async def test_plans_for_another_game_are_refused_with_the_mend():
    def other(asked: Positions) -> Plans:
        rows = len(asked.legal)
        return Plans(np.ones((rows, 4), np.int32), np.zeros(rows, np.float32), np.ones((rows, 4), np.float32), 0)

    text = r"visits have shape \(2, 4\), expected \(2, 12\); give planner and model the same game"
    with pytest.RaisesGroup(pytest.RaisesExc(MessageError, match=text)):
        await drive(selfplay, planner=other, games=1, game="nim", lanes=2)
