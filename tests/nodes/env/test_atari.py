"""The actor beside ale-py itself, stepped with the same seeds and actions."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("ale_py", reason='needs the Atari games: pip install "flow-research[atari]"')

import itertools

from flow.context import Context
from flow.errors import MissingError, SettingError
from flow.testing.harness import drive
from nodes import atari_games
from nodes.atari_games import action_count, game_names, require_game
from nodes.env.atari import actor
from nodes.messages import Actions, Observations, Trajectories

LANES, STEPS = 4, 7
GROUP = LANES // 2


def random_policy(actions: int):
    rng = np.random.default_rng(0)

    def answer(seen: Observations) -> Actions:
        rows = len(seen.first)
        logits = np.zeros((rows, actions), np.float32)
        return Actions(rng.integers(0, actions, rows), logits, np.zeros((rows, 0), np.float32), 3)

    return answer


async def played(game: str, unrolls: int, **settings) -> tuple[dict[int, list[Trajectories]], object]:
    """The unrolls of each group by the stream of its first lane, and the metrics."""
    result = await drive(
        actor,
        policy=random_policy(action_count(game)),
        trajectories=2 * unrolls,
        context=Context("actor", seed=5),
        game=game,
        lanes=LANES,
        steps=STEPS,
        **settings,
    )
    groups: dict[int, list[Trajectories]] = {}
    for piece in result.trajectories:
        groups.setdefault(int(piece.streams[0]), []).append(piece)
    return groups, result.metrics


async def check_beside_emulator(game: str, unrolls: int, frames_max: int) -> tuple[int, int]:
    """Step ale-py with the actor's actions; returns how many episodes ended and lives were lost."""
    from ale_py.vector_env import AtariVectorEnv

    groups, metrics = await played(game, unrolls, episode_frames_max=frames_max, no_ops_max=5)
    ends = deaths = frames = 0
    for number, stream in enumerate(sorted(groups)):
        options = {"num_threads": 1, "noop_max": 5, "max_num_frames_per_episode": frames_max, "reward_clipping": False}
        env = AtariVectorEnv(game, GROUP, **options)
        stacks, info = env.reset(seed=5 + 1000 * number)
        over, lives, first = np.zeros(GROUP, bool), info["lives"], np.ones(GROUP, bool)
        for piece in groups[stream]:
            np.testing.assert_array_equal(piece.frames[:, :4], stacks)
            np.testing.assert_array_equal(piece.first[:, 0], first)
            for t in range(STEPS):
                stacks, rewards, terminated, truncated, info = env.step(piece.actions[:, t].astype(np.int64))
                first = over
                over = terminated | truncated
                died = (info["lives"] < lives) & ~first
                lives = info["lives"]
                np.testing.assert_array_equal(piece.frames[:, 4 + t], stacks[:, 3])
                np.testing.assert_array_equal(piece.first[:, t + 1], first)
                np.testing.assert_array_equal(piece.rewards[:, t], np.where(first, 0, rewards))
                np.testing.assert_array_equal(piece.terminated[:, t], (terminated | died) & ~first)
                ends, deaths, frames = ends + over.sum(), deaths + died.sum(), frames + 4 * (~first).sum()
        assert [int(piece.starts[0]) for piece in groups[stream]] == [STEPS * n for n in range(len(groups[stream]))]
    # The actor may be some steps further than the last unroll it sent.
    assert metrics.counters["frames"] >= frames
    return int(ends), int(deaths)


@pytest.mark.parametrize(("game", "frames_max"), [("pong", 120), ("breakout", 2000)])
async def test_unrolls_hold_what_the_emulator_showed(game, frames_max):
    ends, deaths = await check_beside_emulator(game, 20, frames_max)
    assert ends if game == "pong" else deaths


async def test_unrolls_of_a_lane_overlap_by_a_stack():
    groups, _ = await played("pong", 4)
    for pieces in groups.values():
        for before, after in itertools.pairwise(pieces):
            np.testing.assert_array_equal(before.frames[:, -4:], after.frames[:, :4])
            np.testing.assert_array_equal(before.first[:, -1], after.first[:, 0])


@pytest.mark.parametrize("earlier_starts", [0, 3])
async def test_streams_of_a_start_are_its_own_and_depend_on_no_clock(earlier_starts):
    async def streams(starts: int) -> set[int]:
        context = Context("actor", seed=5, incarnation=starts, number=2)
        told = await drive(
            actor, policy=random_policy(6), trajectories=2, context=context, game="pong", lanes=LANES, steps=STEPS
        )
        return {int(stream) for piece in told.trajectories for stream in piece.streams}

    once, again, later = await streams(earlier_starts), await streams(earlier_starts), await streams(earlier_starts + 1)
    assert once == again
    assert max(once) < min(later)


async def test_lanes_that_cannot_be_halved_are_refused_with_the_mend():
    with pytest.raises(BaseException, match="lanes=5 must be a multiple of 2") as caught:
        await drive(actor, policy=random_policy(6), trajectories=1, game="pong", lanes=5)
    assert isinstance(caught.value, SettingError)


@settings(max_examples=30)
@given(data=st.data())
def test_a_misspelt_game_names_the_nearest(data):
    game = data.draw(st.sampled_from(game_names()))
    at = data.draw(st.integers(0, len(game) - 1))
    misspelt = game[:at] + game[at + 1 :] if data.draw(st.booleans()) else game[:at] + "q" + game[at:]
    if misspelt in game_names():
        require_game(misspelt)
        return
    with pytest.raises(MissingError) as caught:
        require_game(misspelt)
    assert "did you mean" in str(caught.value) or len(game) < 6


def test_there_are_108_games_and_their_actions_are_the_emulators():
    assert len(game_names()) == 108
    assert (action_count("pong"), action_count("breakout")) == (6, 4)


def test_where_the_games_are_missing_it_is_said_how_to_get_them(monkeypatch):
    monkeypatch.setattr(atari_games, "game_names", lambda: ())
    with pytest.raises(MissingError, match=r'pip install "flow-research\[atari\]"'):
        require_game("pong")
