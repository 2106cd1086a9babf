"""Replay of games: what is sampled, how often, and how it holds playing and learning together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow import Context
from flow.errors import SettingError
from flow.testing.harness import drive
from nodes.games.messages import PlayedGame
from nodes.messages import Priorities
from nodes.replay.games import LEAST_PRIORITY, Shelf, columns_in, columns_of, replay
from storage.games import GameStore


def game(number: int, moves: int, outcome: float = 1.0) -> PlayedGame:
    """A game whose numbers say which move of which game they are of."""
    tags = 100 * number + np.arange(moves)
    rewards = np.zeros(moves, np.float32)
    rewards[-1] = outcome
    return PlayedGame(
        np.repeat(tags[:, None], 3, 1).astype(np.float32),
        tags % 4,
        rewards,
        np.linspace(-1, 1, moves).astype(np.float32),
        np.eye(4, dtype=np.float32)[tags % 4],
        tags,
        np.ones(moves, bool),
        True,
    )


SETTINGS = {"batch": 4, "unroll": 3, "least_positions": 6, "slack": 8, "samples_a_position": 2.0}


async def sampled(tmp_path, games, *, samples, **more):
    return await drive(
        replay,
        inserts=games,
        priorities=more.pop("priorities", []),
        samples=samples,
        context=Context("replay", directory=tmp_path),
        **{**SETTINGS, **more},
    )


async def test_samples_are_stretches_of_the_games_that_came(tmp_path):
    games = [game(n, 2 + n % 4) for n in range(1, 12)]
    result = await sampled(tmp_path, games, samples=6)
    by_number = dict(enumerate(games, 1))
    for sample in result.samples:
        assert (sample.weights == 1).all()
        for row in range(4):
            number, start = divmod(int(sample.observations[row, 0]), 100)
            played = by_number[number]
            length = len(played.actions)
            assert sample.versions[row] == 100 * number + start
            for k in range(4):
                t = start + k
                assert sample.real[row, k] == (t < length)
                if t < length:
                    assert sample.values[row, k] == (-1.0) ** (length - 1 - t)
                    np.testing.assert_array_equal(sample.policies[row, k], played.policies[t])
                if k < 3 and t < length:
                    assert sample.actions[row, k] == played.actions[t]
                    assert sample.rewards[row, k] == played.rewards[t]


async def test_no_more_is_sampled_than_was_played_allows_and_the_rest_waits(tmp_path):
    games = [(float(n), game(n, 5)) for n in range(1, 6)]
    result = await sampled(tmp_path, games, samples=None)
    # 25 positions, sampled twice each; a batch is 4, and one may be under way when the last game ends the node.
    assert 25 * 2 - 4 - 8 <= 4 * len(result.samples) <= 25 * 2


async def test_play_waits_for_learning_when_it_is_ahead(tmp_path):
    taken = []

    async def slow_learner():
        games = [game(n, 5) for n in range(1, 40)]
        result = await sampled(tmp_path, games, samples=3)
        taken.append(result.metrics.gauges["stored_games"])

    await slow_learner()
    # 12 were sampled, 6 positions' worth; 8 more may be ahead, and a batch or two be on its way.
    assert taken[0] <= (6 + 8 + 4) // 5 + 2


def shelf(**more) -> Shelf:
    settings = {
        "discount": -1.0,
        "td_steps": 0,
        "unroll": 2,
        "beyond": "zero",
    }
    return Shelf(rng=np.random.default_rng(0), **{**settings, **more})


@given(alpha=st.sampled_from([0.0, 0.5, 1.0]), beta=st.sampled_from([0.0, 0.4, 1.0]))
def test_positions_are_drawn_by_priority_and_weights_take_it_away_again(alpha, beta, tmp_path_factory):
    games = [game(n, 4, outcome=(-1.0) ** n) for n in range(1, 5)]
    held = shelf()
    path = tmp_path_factory.mktemp("games")
    with GameStore(path, columns_of(games[0]), capacity_positions=99, capacity_bytes=1 << 20, exponent=alpha) as store:
        store.add(
            [(columns_in(played), held.priorities_of(played.rewards, played.values, played.drawn)) for played in games]
        )
        # |ν - z| from the definition.
        z = [played.rewards[-1] * (-1.0) ** (3 - np.arange(4)) for played in games]
        p = np.concatenate([np.abs(played.values - target) for played, target in zip(games, z, strict=True)])
        p = (p + LEAST_PRIORITY) ** alpha
        chances = p / p.sum()
        sample = held.sample(store, 4000, beta)
        drawn = np.bincount(sample.handles, minlength=16) / 4000
        np.testing.assert_allclose(drawn, chances, atol=0.03)
        np.testing.assert_allclose(sample.weights, (1 / (16 * chances[sample.handles])) ** beta, rtol=1e-3)


async def test_an_error_makes_its_position_come_up_more_often(tmp_path):
    games = [(0.0, game(1, 20)), (2.0, game(2, 1)), (3.0, game(3, 60))]
    priorities = [(1.0, Priorities(np.array([3, 999]), np.array([1e4, 1.0], np.float32)))]
    result = await sampled(
        tmp_path, games, samples=None, priorities=priorities, priority_exponent=1.0, least_positions=21, slack=99
    )
    seen = np.concatenate([sample.observations[:, 0] for sample in result.samples[:10]])
    assert (seen == 103).mean() > 0.9
    assert result.metrics.counters["late_priorities"] == 1


async def test_after_a_restart_games_are_there_and_counts_go_on(tmp_path):
    first = await sampled(tmp_path, [game(n, 5) for n in range(1, 5)], samples=None)
    again = await sampled(tmp_path, [(0.0, game(9, 5)), (9.0, game(10, 1))], samples=None, saved=first.saved)
    numbers = {int(tag) // 100 for sample in again.samples for tag in sample.observations[:, 0]}
    assert len(numbers & {1, 2, 3, 4}) >= 2
    assert again.saved["counts"]["inserted"] == 26
    assert again.saved["counts"]["sampled"] <= 52


@pytest.mark.parametrize(
    ("settings", "text"),
    [
        ({"least_positions": 9, "capacity_positions": 8}, "least_positions=9 is more than capacity_positions=8"),
        ({"batch": 64}, "would wait for each other; set slack = 32 or more"),
    ],
)
async def test_settings_that_would_never_send_a_sample_are_refused(tmp_path, settings, text):
    with pytest.raises(SettingError, match=text):
        await sampled(tmp_path, [game(1, 5)], samples=None, **settings)
