"""Reanalyze: what the newest search says takes the place of what was said when a game was played; the rest stays."""

from __future__ import annotations

import numpy as np
import pytest
import trio

from flow import Context
from flow.errors import MessageError
from flow.testing.harness import drive
from nodes.games.interface import game_named
from nodes.games.messages import Plans, PlayedGame
from nodes.replay.games import columns_of
from nodes.replay.reanalyze import AT_ONCE, BEHIND_GAMES, legal_along, replay
from storage.games import GameStore

NIM = game_named("nim")


def played(seed: int) -> tuple[PlayedGame, list[np.ndarray]]:
    """A game of random moves, version 1, and what was legal before each."""
    rng = np.random.default_rng(seed)
    position, seen, legal, moves, paid = NIM.start(rng), [], [], [], []
    while not position.over:
        seen.append(position.observation())
        legal.append(position.legal())
        moves.append(int(rng.choice(np.flatnonzero(position.legal()))))
        position = position.after(moves[-1])
        paid.append(position.reward)
    values = np.zeros(len(moves), np.float32)
    policies = np.full((len(moves), NIM.actions), 1 / NIM.actions, np.float32)
    versions = np.ones(len(moves), np.int64)
    drawn = np.ones(len(moves), bool)
    rewards = np.array(paid, np.float32)
    return PlayedGame(np.stack(seen), np.array(moves), rewards, values, policies, versions, drawn, True), legal


@pytest.mark.parametrize("seed", range(20))
def test_what_was_legal_is_found_again_from_the_moves(seed):
    game, legal = played(seed)
    np.testing.assert_array_equal(legal_along(NIM, game.observations[0], game.actions), legal)


def test_a_game_of_another_kind_is_told():
    game, _ = played(0)
    with pytest.raises(MessageError, match="begins where no game of nim does"):
        legal_along(NIM, game.observations[0] + 1, game.actions)


def even(positions):
    """A plan that has visited every legal move as often."""
    visits = positions.legal.astype(np.int32)
    return Plans(visits, np.zeros(len(visits), np.float32), np.zeros(visits.shape, np.float32), 9)


async def kept(tmp_path, games, plan, **settings):
    return await drive(
        replay,
        inserts=games,
        priorities=[],
        planner=plan,
        samples=None,
        context=Context("replay", directory=tmp_path),
        game="nim", batch=4, unroll=2, td_steps=2, least_positions=4, slack=5000, samples_a_position=1.0,
        **settings,
    )  # fmt: skip


async def test_games_wait_for_what_is_planned_anew_however_slow_the_planner_is(tmp_path):
    async def slowly(positions):
        await trio.sleep(60)
        return even(positions)

    result = await kept(tmp_path, [played(seed)[0] for seed in range(60)], slowly, refreshes_a_game=2.0)
    owed = 2 * 60 - int(result.metrics.counters["refreshed_games"])
    assert 0 <= owed < 2 * BEHIND_GAMES


async def test_what_is_owed_is_planned_in_questions_of_several_games(tmp_path):
    asked = []

    async def slowly(positions):
        asked.append(len(positions.noisy))
        await trio.sleep(60)
        return even(positions)

    await kept(tmp_path, [played(seed)[0] for seed in range(60)], slowly, refreshes_a_game=4.0)
    assert max(asked) <= AT_ONCE
    assert np.mean(asked[len(asked) // 2 :]) > AT_ONCE / 2  # at first there are but a few games


async def test_each_game_gets_the_plans_of_its_own_positions(tmp_path):
    def by_position(positions):
        values = positions.observations.reshape(len(positions.legal), -1) @ np.arange(15, dtype=np.float32) / 50
        visits = positions.legal.astype(np.int32)
        return Plans(visits, values, np.zeros(visits.shape, np.float32), 9)

    games = [played(seed)[0] for seed in range(30)]
    await kept(tmp_path, games, by_position, refreshes_a_game=3.0)
    with GameStore(
        tmp_path / "games", columns_of(games[0]), capacity_positions=1_000_000, capacity_bytes=4 << 30
    ) as store:
        place, anew = 0, 0
        for game in games:
            _, _, stored = store.game(place)
            place += len(game.actions)
            if stored["versions"][0] == 9:
                anew += 1
                expected = game.observations.reshape(len(game.actions), -1) @ np.arange(15, dtype=np.float32) / 50
                np.testing.assert_allclose(stored["values"], expected, rtol=1e-5)
                legal = legal_along(NIM, game.observations[0], game.actions)
                np.testing.assert_allclose(stored["policies"], legal / legal.sum(1, keepdims=True), rtol=1e-6)
        assert anew > 20


async def test_stored_games_are_planned_anew_and_their_samples_are_what_the_newest_search_says(tmp_path):
    games = [played(seed) for seed in range(12)]
    legal_at = {
        seen.tobytes(): may for game, legal in games for seen, may in zip(game.observations, legal, strict=True)
    }

    def plan(positions):
        # As self-play asks: with noise, and with the moves that are legal there.
        np.testing.assert_array_equal(positions.legal, [legal_at[seen.tobytes()] for seen in positions.observations])
        assert positions.noisy.all()
        visits = np.where(positions.legal.cumsum(1) == 1, positions.legal, 0).astype(np.int32)
        priors = np.zeros(visits.shape, np.float32)
        return Plans(visits, np.full(len(visits), 0.75, np.float32), priors, 9)

    result = await drive(
        replay,
        inserts=[(float(n), game) for n, (game, _) in enumerate(games)],
        priorities=[],
        planner=plan,
        samples=None,
        context=Context("replay", directory=tmp_path),
        game="nim", refreshes_a_game=3.0, batch=4, unroll=2, td_steps=2, least_positions=4, slack=50,
        samples_a_position=4.0,
    )  # fmt: skip
    # The last game may end the node before those that it allows are done.
    assert 3 * 11 <= int(result.metrics.counters["refreshed_games"]) <= 3 * 12
    fresh = np.concatenate([sample.versions for sample in result.samples]) == 9
    assert fresh[-20:].any()
    assert not fresh[:4].all()
    for sample in result.samples:
        for row in np.flatnonzero(sample.versions == 9):
            real = sample.real[row]
            assert set(np.unique(sample.policies[row][real])) <= {0.0, 1.0}
    with GameStore(
        tmp_path / "games", columns_of(games[0][0]), capacity_positions=1_000_000, capacity_bytes=4 << 30
    ) as store:
        place = 0
        for game, _ in games:  # on disk: what was played stays, and what was said is new where it was planned anew
            _, _, stored = store.game(place)
            for name in ("observations", "actions", "rewards"):
                np.testing.assert_array_equal(stored[name], getattr(game, name))
            anew = stored["versions"][0] == 9
            np.testing.assert_array_equal(stored["values"], 0.75 if anew else game.values)
            place += len(game.actions)
