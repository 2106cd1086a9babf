"""Atari by a planner's advice: stretches that say what the whole game says, and the actor that sends them."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from flow import Context
from flow.errors import MessageError, MissingError, SettingError
from flow.testing.harness import drive
from nodes.algo.muzero_targets import n_step_values, record, unrolled
from nodes.algo.root import policy_target
from nodes.env.atari_planned import Stretches, UnderWay, actor
from nodes.evaluate.atari import returns
from nodes.games.atari import atari_task
from nodes.games.interface import TASKS, task_named
from nodes.games.messages import Plans, PlayedGame, Positions
from nodes.messages import Weights
from nodes.replay.games import Shelf

needs_ale = pytest.mark.skipif(importlib.util.find_spec("ale_py") is None, reason="needs ale-py")
ACTIONS, UNROLL, TD, DISCOUNT = 3, 2, 3, 0.9
GAME = "atari:pong(history=2,side=32,colour=false,all_actions=false)"


class Whole:
    """A game of random moves; every frame says which move it is of."""

    def __init__(self, rng: np.random.Generator, length: int) -> None:
        self.frames = np.arange(1, length + 1, dtype=np.uint8).reshape(length, 1, 1, 1)
        self.actions = rng.integers(0, ACTIONS, length)
        self.rewards = rng.normal(size=length).astype(np.float32)
        self.values = rng.normal(size=length).astype(np.float32)
        self.policies = policy_target(rng.integers(1, 9, (length, ACTIONS)))

    def sent(self, rules: Stretches, *, ends: str) -> list[PlayedGame]:
        one, found = UnderWay(rules), []
        length = len(self.actions)
        for t in range(length):
            one.add(
                self.frames[t], int(self.actions[t]), float(self.rewards[t]), float(self.values[t]), self.policies[t], t
            )
            last = t == length - 1
            found += one.taken(over=last and ends == "over", cut=last and ends == "cut")
        assert one.moves == length
        assert one.score == pytest.approx(float(self.rewards.astype(np.float64).sum()))
        return found


def shelf(history: int) -> Shelf:
    return Shelf(DISCOUNT, TD, UNROLL, "zero", np.random.default_rng(0), history)


@given(
    seed=st.integers(0, 999),
    length=st.integers(1, 60),
    history=st.integers(1, 6),
    own=st.integers(1, 12),
    more=st.integers(0, 3),
    ends=st.sampled_from(["over", "cut", "goes on"]),
)
def test_what_is_learned_of_stretches_is_what_is_learned_of_the_whole_game(seed, length, history, own, more, ends):
    rng = np.random.default_rng(seed)
    game, ahead = Whole(rng, length), TD + UNROLL + more
    stretches = game.sent(Stretches(history, own, ahead), ends=ends)
    kept = shelf(history)
    targets = n_step_values(game.rewards, game.values, DISCOUNT, TD)
    whole = record(
        game.actions, game.rewards, game.policies, game.values, discount=DISCOUNT, steps=TD, unroll=UNROLL,
        beyond="zero",
    )  # fmt: skip
    learned = []
    for stretch in stretches:
        kept.require_whole(stretch)
        part = record(
            stretch.actions, stretch.rewards, stretch.policies, stretch.values, discount=DISCOUNT, steps=TD,
            unroll=UNROLL, beyond="zero",
        )  # fmt: skip
        priorities = kept.priorities_of(stretch.rewards, stretch.values, stretch.drawn)
        np.testing.assert_array_equal(priorities > 0, stretch.drawn)
        for at in np.flatnonzero(stretch.drawn).tolist():
            t = int(stretch.versions[at])
            learned.append(t)
            ours, theirs = (
                unrolled([each], [start], UNROLL, np.random.default_rng(0)) for each, start in ((part, at), (whole, t))
            )
            for name in ("actions", "rewards", "values", "policies", "real"):
                np.testing.assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-5, err_msg=name)
            assert priorities[at] == pytest.approx(abs(game.values[t] - targets[t]) + 1e-3, rel=1e-4)
            seen = kept.seen(
                {"observations": stretch.observations, "actions": stretch.actions, "policies": stretch.policies},
                np.array([at]),
            )
            shown = [max(0, t - history + 2 + i) for i in range(history)]  # frame t says t + 1; 0 before the first
            assert seen[0, :history].ravel().tolist() == shown
    # Each move once; all of a game that ended, and of others those whose targets are known.
    known = {"over": length, "cut": max(0, length - ahead), "goes on": own * (max(0, length - ahead) // own)}
    assert learned == list(range(known[ends]))


def test_a_stretch_without_what_its_targets_are_made_of_is_refused_with_the_mend():
    game = Whole(np.random.default_rng(0), 20)
    (short, *_) = game.sent(Stretches(2, 4, TD + UNROLL - 1), ends="goes on")
    with pytest.raises(
        MessageError, match=r"with 4 moves after those to be learned; targets take td_steps \+ unroll = 5"
    ):
        shelf(2).require_whole(short)
    (whole, *_) = game.sent(Stretches(2, 4, TD + UNROLL), ends="goes on")
    with pytest.raises(MessageError, match="td_steps = 0 sums whole games"):
        Shelf(DISCOUNT, 0, UNROLL, "zero", np.random.default_rng(0), 2).require_whole(whole)


def test_a_game_of_which_nothing_may_be_drawn_is_refused():
    played = Whole(np.random.default_rng(0), 3).sent(Stretches(1, 5, 5), ends="over")[0]
    played.drawn[:] = False
    with pytest.raises(MessageError, match="no move may be drawn"):
        shelf(1).require_whole(played)


class Adviser:
    """Plans with random visits; remembers what was asked."""

    def __init__(self, actions: int) -> None:
        self.rng, self.actions = np.random.default_rng(0), actions
        self.asked: list[Positions] = []

    def __call__(self, asked: Positions) -> Plans:
        self.asked.append(asked)
        visits = self.rng.integers(1, 9, asked.legal.shape).astype(np.int32)
        return Plans(
            visits, self.rng.normal(size=len(visits)).astype(np.float32), policy_target(visits), len(self.asked)
        )


@needs_ale
async def test_the_actor_sends_stretches_whose_observations_are_what_the_planner_was_shown():
    adviser = Adviser(6)
    result = await drive(
        actor, planner=adviser, games=12, game=GAME, lanes=2, stretch=10, lookahead=4, episode_frames_max=180
    )
    task, kept = atari_task(GAME), shelf(2)
    shown = {row.tobytes() for asked in adviser.asked for row in asked.observations}
    for asked in adviser.asked:
        assert asked.observations.shape == (2, *task.observation_shape)
        assert asked.observations.dtype == np.uint8
        assert asked.legal.all()
        assert asked.noisy.all()
    for played in result.games:
        assert played.observations.shape[1:] == (1, 32, 32)
        at = np.flatnonzero(played.drawn)
        columns = {name: np.asarray(getattr(played, name)) for name in ("observations", "actions", "policies")}
        assert {row.tobytes() for row in kept.seen(columns, at)} <= shown
        assert (np.diff(at) == 1).all()
    metrics = result.metrics
    assert metrics.counters["frames"] == 4 * metrics.counters["moves"]
    assert metrics.counters["games"] >= 1
    assert metrics.series["game_moves"][0] <= 45


@needs_ale
async def test_temperature_is_halved_at_the_updates_named():
    from nodes.env.atari_planned import Group

    group = Group(
        atari_task(GAME), 1, 0, Stretches(1, 1, 1), 0.8, (10, 20), np.random.SeedSequence(0), Context("actor")
    )
    assert [group.heat(version) for version in (0, 9, 10, 19, 20, 99)] == [0.8, 0.8, 0.4, 0.4, 0.2, 0.2]


@needs_ale
async def test_plans_for_another_game_are_refused_with_the_mend():
    def other(asked: Positions) -> Plans:
        rows = len(asked.legal)
        return Plans(np.ones((rows, 4), np.int32), np.zeros(rows, np.float32), np.ones((rows, 4), np.float32), 0)

    with pytest.RaisesGroup(pytest.RaisesExc(MessageError, match=r"visits have shape \(1, 4\), expected \(1, 6\)")):
        await drive(actor, planner=other, games=1, game=GAME, lanes=1)


@needs_ale
async def test_an_evaluation_plays_one_game_a_lane_without_noise_by_the_most_visited_action():
    taken = []

    def advise(asked: Positions) -> Plans:
        rows = len(asked.legal)
        taken.append(rows)
        assert not asked.noisy.any()
        visits = np.ones((rows, 6), np.int32)
        visits[:, 3] = 9
        return Plans(visits, np.zeros(rows, np.float32), policy_target(visits), 0)

    result = await drive(returns, planner=advise, weights=[Weights({})], game=GAME, lanes=3, episode_frames_max=400)
    assert result.metrics.counters["evaluations"] == 1
    (mean,) = result.metrics.series["exam_return"]
    assert mean <= -1  # always one way loses points within 400 frames
    (normalised,) = result.metrics.series["exam_human"]
    assert normalised == pytest.approx((mean + 20.7) / (14.6 + 20.7))
    assert taken[0] == 3
    assert sorted(taken, reverse=True) == taken


def test_options_of_a_game_are_read_and_what_is_left_out_is_the_papers():
    task = atari_task("atari:pong")
    assert (task.history, task.side, task.colour, task.actions) == (32, 96, True, 18)
    assert task.observation_shape == (128, 96, 96)
    assert task.action_planes().shape == (18, 18, 6, 6)
    small = task_named(GAME)
    assert (small.observation_shape, small.actions) == ((4, 32, 32), 6)
    assert small.action_planes()[2].sum(axis=(1, 2)).tolist() == [0, 0, 4, 0, 0, 0]


@needs_ale
@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("atari:pnog", "no ROM of a game 'pnog'; did you mean 'pong'"),
        ("atari:pong(sid=64)", "there is no option 'sid'; did you mean 'side'"),
        ("atari:pong(side=60)", "side=60 must be a multiple of 16; set side = 64"),
        ("atari:pong(history=0)", "history=0 must be 1 or more"),
        ("atari:pong(colour=1)", "colour='1', expected true or false"),
        ("atari:pong(side=big)", "side='big', expected a whole number"),
        ("atari:pong(side=64", "is no game of Atari; write"),
    ],
)
def test_what_is_no_game_of_atari_is_refused_with_the_mend(name, text):
    with pytest.raises((SettingError, MissingError)) as caught:
        task_named(name)
    assert text in str(caught.value)
    assert text in TASKS.problem(name)
