"""Reanalyze: what the newest search says takes the place of what was said when a game was played; the rest stays."""

from __future__ import annotations

import numpy as np
import pytest

from flow import Context
from flow.errors import MessageError
from flow.testing.harness import drive
from nodes.games.interface import game_named
from nodes.games.messages import Plans, PlayedGame
from nodes.replay.games import columns_of
from nodes.replay.reanalyze import legal_along, replay
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


async def test_stored_games_are_planned_anew_and_their_samples_are_what_the_newest_search_says(tmp_path):
    games = [played(seed) for seed in range(12)]
    of_start = {game.observations.tobytes(): np.stack(legal) for game, legal in games}
    asked = []

    def plan(positions):
        asked.append(len(positions.noisy))
        # Whole games, without noise, with the moves that are legal there.
        np.testing.assert_array_equal(positions.legal, of_start[positions.observations.tobytes()])
        assert not positions.noisy.any()
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
    assert 3 * 11 <= len(asked) <= 3 * 12
    refreshed = int(result.metrics.counters["refreshed_games"])
    assert 3 * 11 - 1 <= refreshed <= len(asked)
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
