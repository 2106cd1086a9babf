"""Games of players in turn beside slow loops over PettingZoo's own API."""

from __future__ import annotations

import re
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float32, Int64

pettingzoo = pytest.importorskip("pettingzoo", reason='needs PettingZoo: pip install "flow-research[pettingzoo]"')

from gymnasium import spaces  # noqa: E402

from flow import Array, Message  # noqa: E402
from flow.context import Context  # noqa: E402
from flow.errors import MessageError, MissingError, SettingError  # noqa: E402
from flow.host import first_cause  # noqa: E402
from flow.testing import drive  # noqa: E402
from nodes.env import tables  # noqa: E402
from nodes.env.pettingzoo import match, selfplay  # noqa: E402
from nodes.env.tables import GAMES, game_names  # noqa: E402
from nodes.experience import Actions, Positions, game_of  # noqa: E402

HERE = "tests.nodes.env.test_pettingzoo"


class Advice(Message):
    actions: Int64[Array, "rows"]
    values: Float32[Array, "rows"]
    version: int


class Countdown(pettingzoo.AECEnv):
    """Three players take one or two from a heap that each sees noisily; who takes the last is out first."""

    metadata: ClassVar = {"name": "countdown", "is_parallelizable": False}

    def __init__(self, heap: int = 6, *, truncates: bool = False) -> None:
        self.possible_agents = ["a", "b", "c"]
        self.heap_at_first, self.truncates = heap, truncates

    def observation_space(self, agent):
        return spaces.Tuple((spaces.Discrete(20), spaces.Box(0, 1, (2,), np.float64)))

    def action_space(self, agent):
        return spaces.Discrete(2)

    def reset(self, seed=None, options=None):
        self.rng = np.random.default_rng(seed)
        self.agents = list(self.possible_agents)
        self.heap = self.heap_at_first + int(self.rng.integers(3))
        self.noise = {agent: self.rng.random(2) for agent in self.agents}
        self.rewards = dict.fromkeys(self.agents, 0)
        self._cumulative_rewards = dict.fromkeys(self.agents, 0)
        self.terminations = dict.fromkeys(self.agents, False)
        self.truncations = dict.fromkeys(self.agents, False)
        self.infos = {agent: {} for agent in self.agents}
        self.agent_selection = "a"

    def observe(self, agent):
        return min(self.heap, 19), self.noise[agent]

    def step(self, action):
        agent = self.agent_selection
        if self.terminations[agent] or self.truncations[agent]:
            self._was_dead_step(action)
            return
        self._cumulative_rewards[agent] = 0
        self._clear_rewards()
        self.heap -= action + 1
        self.rewards[agent] = 0.5
        if self.heap <= 0:
            self.rewards[agent] = -1
            over = self.truncations if self.truncates else self.terminations
            # The first to empty the heap is out; the others go on with a fresh one, until a second is.
            over[agent] = True
            self.heap = 3
            if sum(over.values()) >= 2:
                over.update(dict.fromkeys(over, True))
        self._accumulate_rewards()
        at = self.agents.index(agent)
        self.agent_selection = self.agents[(at + 1) % len(self.agents)]
        self._deads_step_first()


def countdown(heap: int = 6, truncates: bool = False) -> Countdown:
    return Countdown(heap, truncates=truncates)


def no_game() -> int:
    return 3


def advisor(seed: int):
    rng = np.random.default_rng(seed)

    def answer(seen: Positions) -> Advice:
        actions = np.array([rng.choice(np.flatnonzero(legal)) for legal in seen.legal])
        return Advice(actions, rng.random(len(actions), np.float32), int(rng.integers(100)))

    return answer


def made(name: str):
    return countdown() if ":" in name else pettingzoo.make("aec", name)


def check_game(game, env, seed: int) -> None:
    """Play a game's actions once more, by the book."""
    env.reset(seed=seed)
    names = env.possible_agents
    outcome = dict.fromkeys(names, 0.0)
    moves = 0
    for agent in env.agent_iter():
        observation, reward, terminated, truncated, info = env.last()
        outcome[agent] += reward
        if terminated or truncated:
            env.step(None)
            continue
        if moves == len(game.actions):
            raise AssertionError("the game went on")
        assert names[game.players[moves]] == agent
        mask = observation.get("action_mask") if isinstance(observation, dict) else info.get("action_mask")
        np.testing.assert_array_equal(game.legal[moves], np.ones(game.legal.shape[1]) if mask is None else mask)
        np.testing.assert_array_equal(game.observations[moves], seen(env, agent, observation))
        env.step(int(game.actions[moves]))
        moves += 1
    assert moves == len(game.actions)
    np.testing.assert_allclose(game.rewards.sum(0), [outcome[name] for name in names], atol=1e-6)


def seen(env, agent, observation):
    space = env.observation_space(agent)
    if isinstance(space, spaces.Dict):
        return observation["observation"]
    return np.float32(spaces.flatten(space, observation))


@settings(max_examples=25)
@given(
    environment=st.sampled_from(
        ["classic/tictactoe-v3", "classic/connect_four-v3", "classic/leduc_holdem-v4", f"{HERE}:countdown"]
    ),
    seed=st.integers(0, 1 << 40),
)
async def test_games_are_those_of_a_slow_loop(environment, seed):
    result = await drive(
        selfplay,
        policy=advisor(seed),
        games=6,
        context=Context("selfplay", seed=seed),
        environment=environment,
    )
    for number, game in enumerate(result.games):
        check_game(game, made(environment), (seed + number) % (1 << 31))
        assert game.terminated
        assert game.final_observations.shape[1:] == game.observations.shape[1:]
    assert result.metrics.series["game_length"][:6] == [len(game.actions) for game in result.games]
    assert result.metrics.counters["illegal"] == 0


@settings(max_examples=10)
@given(lanes=st.integers(1, 4), seed=st.integers(0, 1000))
async def test_lanes_play_games_of_their_own_with_what_the_policy_said_of_each_move(lanes, seed):
    said: list[tuple[Positions, Advice]] = []
    answer = advisor(seed)

    def policy(positions: Positions) -> Advice:
        said.append((positions, answer(positions)))
        return said[-1][1]

    result = await drive(selfplay, policy=policy, games=5, environment="classic/tictactoe-v3", lanes=lanes)
    begun = [0] * lanes
    playing: list[list[tuple[int, float, int]]] = [[] for _ in range(lanes)]
    finished: list[list[tuple[int, float, int]]] = []
    for positions, advice in said:
        assert list(positions.lane_ids) == list(range(lanes))
        for lane in range(lanes):
            if positions.first[lane] and playing[lane]:
                finished.append(playing[lane])
                playing[lane] = []
            begun[lane] += int(positions.first[lane])
            playing[lane].append((int(advice.actions[lane]), float(advice.values[lane]), advice.version))
    for game in result.games:
        rows = [(int(a), float(v), int(n)) for a, v, n in zip(game.actions, game.values, game.version, strict=True)]
        assert rows in finished + playing
        check_game(game, made("classic/tictactoe-v3"), 0)
    assert type(result.games[0]) is game_of(Advice)


@given(swap=st.booleans())
@settings(max_examples=5)
async def test_a_match_asks_each_side_for_its_own_turns(swap):
    asked: dict[str, list[Positions]] = {"first": [], "second": []}
    answer = advisor(1)

    def side(name):
        def policy(positions: Positions) -> Actions:
            asked[name].append(positions)
            return Actions(answer(positions).actions)

        return policy

    result = await drive(
        match,
        first=side("first"),
        second=side("second"),
        games=8,
        environment="classic/tictactoe-v3",
        lanes=3,
        swap=swap,
    )
    for name, player in (("first", 0), ("second", 1)):
        for positions in asked[name]:
            swapped = positions.lane_ids % 2 if swap else 0
            assert (positions.players ^ swapped == player).all()
    counts = result.metrics.counters
    outcomes = sum(counts.get(name, 0) for name in ("first_won", "second_won", "drawn"))
    assert outcomes == counts["games"] >= 8
    for game in result.games:
        check_game(game, made("classic/tictactoe-v3"), 0)


async def test_who_plays_best_wins_the_match_whoever_begins():
    def wins(positions: Positions) -> Actions:
        rows = zip(positions.observations, positions.legal, strict=True)
        return Actions(np.array([_best(board.reshape(9, 2), legal) for board, legal in rows]))

    weak = advisor(3)
    result = await drive(
        match,
        first=wins,
        second=lambda positions: Actions(weak(positions).actions),
        games=30,
        environment="classic/tictactoe-v3",
        lanes=4,
    )
    counts = result.metrics.counters
    assert counts["first_won"] > 5 * counts.get("second_won", 0)


LINES = [(0, 1, 2), (3, 4, 5), (6, 7, 8), (0, 3, 6), (1, 4, 7), (2, 5, 8), (0, 4, 8), (2, 4, 6)]


def _best(board: np.ndarray, legal: np.ndarray) -> int:
    """Win if one can, else keep the other from winning, else the middle or what is left."""
    for side in (0, 1):
        for line in LINES:
            free = [cell for cell in line if legal[cell]]
            if len(free) == 1 and sum(board[cell, side] for cell in line) == 2:
                return free[0]
    return 4 if legal[4] else int(np.flatnonzero(legal)[0])


async def test_a_game_that_is_cut_short_is_not_over():
    result = await drive(selfplay, policy=advisor(0), games=3, environment="classic/tictactoe-v3", moves_max=4)
    for game in result.games:
        assert len(game.actions) == len(game.observations) == len(game.rewards) == 4
        assert not game.terminated
    truncated = await drive(
        selfplay, policy=advisor(0), games=2, environment=f"{HERE}:countdown", options=["truncates=true", "heap=9"]
    )
    assert not any(game.terminated for game in truncated.games)


async def test_an_illegal_move_is_counted_and_judged_by_the_game():
    result = await drive(
        selfplay,
        policy=lambda seen: Actions(np.zeros(len(seen.players), np.int64)),
        games=1,
        environment="classic/tictactoe-v3",
    )
    assert result.metrics.counters["illegal"] >= 1
    assert list(result.games[0].rewards.sum(0)) == [0, -1]


@settings(max_examples=20)
@given(data=st.data())
def test_a_misspelt_game_names_the_nearest(data):
    name = data.draw(st.sampled_from(game_names()))
    at = data.draw(st.integers(9, len(name) - 1))
    problem = GAMES.problem(name[:at] + "q" + name[at:])
    assert "is not an environment of PettingZoo; " in problem
    assert 'write "module:env" for one of your own' in problem
    assert GAMES.problem(name) == ""


def test_the_names_read_without_importing_are_those_of_pettingzoo():
    assert set(game_names()) >= {name for name in pettingzoo.aec_registry if name.startswith("classic/")}


def test_where_pettingzoo_is_missing_any_name_passes_until_the_package_is_asked_for(monkeypatch):
    monkeypatch.setattr(tables.importlib.util, "find_spec", lambda name: None)
    game_names.cache_clear()
    assert GAMES.problem("classic/ches") == ""
    game_names.cache_clear()


class Moves(Message):
    moves: Int64[Array, "rows"]


class Rewarded(Message):
    actions: Int64[Array, "rows"]
    rewards: Float32[Array, "rows"]


def test_an_answer_that_games_cannot_hold_is_refused():
    with pytest.raises(SettingError, match="answers with Moves, which has no field `actions`"):
        game_of(Moves)
    with pytest.raises(SettingError, match="has a field 'rewards', which game have; give it another name"):
        game_of(Rewarded)


@pytest.mark.parametrize(
    ("node_type", "settings", "error", "text"),
    [
        (match, {"environment": f"{HERE}:countdown"}, SettingError, "has 3 players, a, b, c, and a match is of 2"),
        (
            selfplay,
            {"environment": f"{HERE}:cuntdown"},
            SettingError,
            "no env 'cuntdown'; did you mean 'countdown'",
        ),
        (selfplay, {"environment": f"{HERE}:no_game"}, SettingError, "makes a int, no pettingzoo.AECEnv"),
        (selfplay, {"environment": "classic/ches-v6"}, MissingError, "classic/ches-v6 cannot be made"),
        (
            selfplay,
            {"environment": f"{HERE}:countdown", "options": ["width=3"]},
            SettingError,
            "does not take the options {'width': 3}",
        ),
    ],
)
async def test_what_cannot_be_played_says_why(node_type, settings, error, text):
    cause = await cause_of(node_type, advisor(0), **settings)
    assert isinstance(cause, error)
    assert re.search(text, str(cause)), cause


async def test_actions_that_are_no_numbers_of_actions_are_refused():
    cause = await cause_of(selfplay, lambda seen: Actions(np.zeros((1, 2))), environment="classic/tictactoe-v3")
    assert isinstance(cause, MessageError)
    assert "a game takes the number of an action, int64 (rows,); the policy answered float64 ('rows', 2)" in str(cause)


async def cause_of(node_type, policy, **settings) -> BaseException:
    """What a node that cannot play dies of."""
    ports = {port.name: policy for port in node_type.ports.values() if port.kind == "Call"}
    try:
        await drive(node_type, games=1, **ports, **settings)
    except Exception as error:
        return first_cause(error)
    raise AssertionError("it played")
