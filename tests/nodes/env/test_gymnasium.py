"""The Gymnasium node beside slow loops over Gymnasium's own API, stepped with the same seeds and actions."""

import re
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jaxtyping import Float32, Int64, Shaped

gym = pytest.importorskip("gymnasium", reason='needs Gymnasium: pip install "flow-research[gymnasium]"')

from gymnasium import spaces  # noqa: E402

from flow import Array, In, Message, Serve, node  # noqa: E402
from flow.context import Context  # noqa: E402
from flow.errors import MissingError, SettingError  # noqa: E402
from flow.generic import solve  # noqa: E402
from flow.host import first_cause  # noqa: E402
from flow.message import Dim  # noqa: E402
from flow.setting import named_values  # noqa: E402
from flow.testing import drive  # noqa: E402
from nodes.env import lanes as lanes_module  # noqa: E402
from nodes.env.gymnasium import actor  # noqa: E402
from nodes.env.lanes import ENVIRONMENTS, Lanes, environment_names  # noqa: E402
from nodes.experience import Actions, Observations, transitions_of  # noqa: E402


class Advice(Message):
    """An answer with more than the actions."""

    actions: Shaped[Array, "rows ..."]
    log_probabilities: Float32[Array, "rows"]
    counts: Int64[Array, "rows 2"]
    version: int


class Composite(gym.Env):
    """Observes a dict and takes a tuple, as the flattened spaces have to hold."""

    observation_space = spaces.Dict(
        {"place": spaces.Box(-1, 1, (2, 2), np.float64), "kind": spaces.Discrete(3), "bits": spaces.MultiBinary(2)}
    )
    action_space = spaces.Tuple((spaces.Discrete(2), spaces.Box(-1, 1, (2,), np.float32)))

    def __init__(self, length: int = 3) -> None:
        self.length = length

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.steps = 0
        return self._observation(), {}

    def step(self, action):
        self.steps += 1
        choice, push = action
        return self._observation(), float(choice) + float(push.sum()), self.steps == self.length, False, {}

    def _observation(self):
        return {
            "place": self.np_random.uniform(-1, 1, (2, 2)),
            "kind": int(self.np_random.integers(3)),
            "bits": self.np_random.integers(0, 2, 2).astype(np.int8),
        }


class Growing(Composite):
    """Observes what is no tensor."""

    observation_space = spaces.Sequence(spaces.Discrete(2))


@pytest.fixture(scope="module", autouse=True)
def _registered():
    gym.register("FlowComposite-v0", Composite)
    gym.register("FlowGrowing-v0", Growing)
    yield
    del gym.registry["FlowComposite-v0"], gym.registry["FlowGrowing-v0"]


def flat_actions(space, rng: np.random.Generator, rows: int):
    """Random actions as the node takes them: of a tuple's parts side by side."""
    space.seed(int(rng.integers(1 << 30)))
    flat = not isinstance(space, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary))
    drawn = [space.sample() for _ in range(rows)]
    return np.stack([np.asarray(spaces.flatten(space, each) if flat else each) for each in drawn])


def advisor(environment: str, seed: int):
    rng = np.random.default_rng(seed)
    space = gym.make(environment).action_space

    def answer(seen: Observations) -> Advice:
        rows = len(seen.first)
        return Advice(
            flat_actions(space, rng, rows),
            rng.random(rows, np.float32),
            rng.integers(0, 9, (rows, 2)),
            int(rng.integers(100)),
        )

    return answer


def as_array(space, observation):
    array = np.asarray(
        observation
        if isinstance(space, (spaces.Box, spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary))
        else spaces.flatten(space, observation)
    )
    return array.astype(np.float32) if array.dtype == np.float64 else array


async def cause_of(policy, **settings) -> BaseException:
    """What a node that cannot play dies of."""
    try:
        await drive(actor, policy=policy, transitions=1, **settings)
    except Exception as error:
        return first_cause(error)
    raise AssertionError("it played")


ENVIRONMENTS_PLAYED = {
    "CartPole-v1": ["max_episode_steps=12"],
    "Pendulum-v1": ["max_episode_steps=5"],
    "FrozenLake-v1": ["map_name='4x4'", "max_episode_steps=9"],
    "Blackjack-v1": [],
    "Taxi-v4": ["max_episode_steps=4"],
    "FlowComposite-v0": ["length=4"],
}


@settings(max_examples=30)
@given(
    environment=st.sampled_from(sorted(ENVIRONMENTS_PLAYED)),
    per_group=st.integers(1, 3),
    groups=st.integers(1, 2),
    steps=st.integers(1, 5),
    seed=st.integers(0, 1 << 40),
)
async def test_transitions_are_those_of_a_slow_loop(environment, per_group, groups, steps, seed):
    options = ENVIRONMENTS_PLAYED[environment]
    total = per_group * groups
    messages = -(-40 // steps) * groups
    result = await drive(
        actor,
        policy=advisor(environment, seed),
        transitions=messages,
        context=Context("actor", seed=seed),
        environment=environment,
        lanes=total,
        groups=groups,
        steps=steps,
        options=options,
    )
    ends = 0
    for lane in range(total):
        first_lane = lane // per_group * per_group
        env = gym.make(environment, **named_values(options, "options"))
        ends += check_lane(result, env, lane, (seed + first_lane) % (1 << 31) + lane - first_lane)
    taken = sum(message.first.size for message in result.transitions)
    assert result.metrics.counters["steps"] >= taken
    assert result.metrics.counters.get("episodes", 0) >= ends > 0


def check_lane(result, env, lane: int, seed: int) -> int:
    """Hold a lane's transitions to an environment that takes its actions; returns how many episodes ended."""
    observation, _ = env.reset(seed=seed)
    first, length, gained, ends = True, 0, 0.0, 0
    for message, row, t in entries(result.transitions, lane):
        np.testing.assert_array_equal(
            message.observations[row, t], as_array(env.observation_space, observation), strict=True
        )
        assert message.first[row, t] == first
        action = message.actions[row, t]
        if isinstance(env.action_space, (spaces.Tuple, spaces.Dict)):
            action = spaces.unflatten(env.action_space, action)
        elif isinstance(env.action_space, spaces.Discrete):
            action = int(action)
        observation, reward, terminated, truncated, _ = env.step(action)
        np.testing.assert_array_equal(
            message.next_observations[row, t], as_array(env.observation_space, observation), strict=True
        )
        assert message.rewards[row, t] == np.float32(reward)
        assert (message.terminated[row, t], message.truncated[row, t]) == (terminated, truncated)
        first = terminated or truncated
        length, gained = length + 1, gained + float(np.float32(reward))
        if first:
            observation, _ = env.reset()
            assert length in result.metrics.series["episode_length"]
            assert np.abs(np.array(result.metrics.series["episode_return"]) - gained).min() < 1e-6
            ends, length, gained = ends + 1, 0, 0.0
    return ends


def entries(messages, lane: int):
    """Where the transitions of a lane are, in their order."""
    for message in messages:
        for row in np.flatnonzero(message.lane_ids == lane):
            for t in range(message.first.shape[1]):
                yield message, row, t


@settings(max_examples=15)
@given(size=st.integers(1, 4), steps=st.integers(1, 4), seed=st.integers(0, 1000))
async def test_the_vector_form_that_resets_in_a_step_of_its_own_loses_and_adds_no_transition(size, steps, seed):
    rng = np.random.default_rng(seed)
    result = await drive(
        actor,
        policy=lambda seen: Actions(rng.integers(0, 2, len(seen.first))),
        transitions=30,
        context=Context("actor", seed=seed),
        environment="CartPole-v1",
        lanes=size,
        steps=steps,
        vector=True,
    )
    env = gym.make_vec("CartPole-v1", size, vectorization_mode="vector_entry_point")
    rng = np.random.default_rng(seed)
    seen, _ = env.reset(seed=seed)
    expected: list[list[tuple]] = [[] for _ in range(size)]
    over = np.zeros(size, bool)
    first = np.ones(size, bool)
    for _ in range(40 * steps):
        actions = rng.integers(0, 2, size)
        then, _, terminated, truncated, _ = env.step(actions)
        for lane in np.flatnonzero(~over):
            expected[lane].append(
                (seen[lane], actions[lane], then[lane], terminated[lane], truncated[lane], first[lane])
            )
        first, over = over, (terminated | truncated) & ~over
        seen = then.copy()
    for lane in range(size):
        told = [
            tuple(
                getattr(message, name)[row, t]
                for name in ("observations", "actions", "next_observations", "terminated", "truncated", "first")
            )
            for message, row, t in entries(result.transitions, lane)
        ]
        for mine, theirs in zip(told, expected[lane], strict=False):
            for a, b in zip(mine, theirs, strict=True):
                np.testing.assert_array_equal(a, b)
        assert not told or len(told) <= len(expected[lane])


async def test_what_the_policy_says_beside_its_actions_travels_with_each_step():
    said: list[Advice] = []
    answer = advisor("CartPole-v1", 3)

    def policy(seen: Observations) -> Advice:
        said.append(answer(seen))
        return said[-1]

    result = await drive(actor, policy=policy, transitions=3, environment="CartPole-v1", lanes=2, steps=4)
    for number, message in enumerate(result.transitions):
        for t in range(4):
            advice = said[4 * number + t]
            np.testing.assert_array_equal(message.actions[:, t], advice.actions)
            np.testing.assert_array_equal(message.log_probabilities[:, t], advice.log_probabilities)
            np.testing.assert_array_equal(message.counts[:, t], advice.counts)
            np.testing.assert_array_equal(message.version[:, t], [advice.version] * 2)


def test_the_type_of_the_transitions_follows_from_the_policys_answer():
    @node
    async def policy(requests: Serve[Observations, Advice]) -> None: ...

    @node
    async def learner(steps: In[transitions_of(Advice, 5)]) -> None: ...

    nodes = {"actor": actor, "policy": policy, "learner": learner}
    edges = [(("actor", "policy"), ("policy", "requests")), (("actor", "transitions"), ("learner", "steps"))]
    found = solve(nodes, {"actor": {"steps": 5}, "policy": {}, "learner": {}}, edges)
    assert not found.problems
    fields = {field.name: field for field in found.types["actor"].ports["transitions"].messages[0].fields}
    assert fields["counts"].dims == (Dim("rows", 0), Dim(None, 5), Dim(None, 2))
    assert fields["version"].dtypes == ("int64",)
    assert fields["actions"].any_rank


class NoActions(Message):
    moves: Int64[Array, "rows"]


class Twice(Message):
    actions: Int64[Array, "rows"]
    rewards: Float32[Array, "rows"]


class Said(Message):
    actions: Int64[Array, "rows"]
    reason: str


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (NoActions, "answers with NoActions, which has no field `actions`, only moves; name what is to be done"),
        (Twice, "has a field 'rewards', which transitions have; give it another name"),
        (Said, "has a field 'reason', str, which transitions cannot hold; answer with arrays and numbers"),
    ],
)
def test_an_answer_that_transitions_cannot_hold_is_refused(answer, text):
    with pytest.raises(SettingError, match=text):
        transitions_of(answer, 1)


@settings(max_examples=40)
@given(data=st.data())
def test_a_misspelt_environment_names_the_nearest(data):
    name = data.draw(st.sampled_from(environment_names()))
    at = data.draw(st.integers(1, len(name) - 1))
    misspelt = name[:at] + "q" + name[at:]
    problem = ENVIRONMENTS.problem(misspelt)
    assert "is not an environment of Gymnasium; " in problem
    assert 'write "package:Name-v0" for one that another package registers' in problem
    assert ENVIRONMENTS.problem(name) == ""
    assert ENVIRONMENTS.problem(f"somewhere:{misspelt}") == ""


def test_the_names_read_without_importing_are_those_of_gymnasium():
    own = {name for name, spec in gym.registry.items() if "gymnasium.envs" in str(spec.entry_point)}
    missing = {name for name in own if name not in environment_names() and not name.startswith(("phys2d", "tabular"))}
    assert not missing
    assert {"CartPole-v1", "LunarLander-v3", "HalfCheetah-v5", "Taxi-v4"} <= set(environment_names())


def test_where_gymnasium_is_missing_any_name_passes_until_the_package_is_asked_for(monkeypatch):
    monkeypatch.setattr(lanes_module, "environment_names", lambda: ())
    assert lanes_module.EnvironmentNames(lambda: (), "an environment of Gymnasium").problem("CartPole-v1") == ""


@pytest.mark.parametrize(
    ("settings", "error", "text"),
    [
        (
            {"environment": "CartPole-v1", "lanes": 5, "groups": 2},
            SettingError,
            "lanes=5 must be a multiple of groups=2",
        ),
        ({"environment": "nowhere:CartPole-v1"}, MissingError, "nowhere:CartPole-v1 cannot be made"),
        ({"environment": "CartPole-v1", "options": ["gravty=3"]}, SettingError, "does not take the options"),
        ({"environment": "CartPole-v1", "options": ["gravity"]}, SettingError, 'write "gravity=true" for instance'),
        ({"environment": "FrozenLake-v1", "options": ["map_name=8x8"]}, SettingError, "a text in quotes"),
        ({"environment": "FlowGrowing-v0"}, SettingError, "graphs and sequences are no tensors"),
        ({"environment": "Taxi-v4", "vector": True}, MissingError, "cannot be made as a vector: .* set vector = false"),
    ],
)
async def test_what_cannot_be_made_says_why(settings, error, text):
    cause = await cause_of(lambda seen: Actions(np.zeros(1, np.int64)), **settings)
    assert isinstance(cause, error)
    assert re.search(text, str(cause)), cause


@pytest.mark.parametrize(
    ("environment", "actions", "text"),
    [
        ("CartPole-v1", np.zeros((1, 1), np.int64), r"CartPole-v1 takes actions of Discrete\(2\), int64 \(rows\)"),
        ("CartPole-v1", np.zeros(1, np.float32), r"the policy answered float32 \('rows',\)"),
        ("CartPole-v1", np.full(1, 2), "CartPole-v1 takes actions from 0 to 1; the policy answered 2"),
        ("Pendulum-v1", np.zeros(1, np.float32), r"float32 \(rows, 1\)"),
    ],
)
async def test_actions_of_another_space_are_refused(environment, actions, text):
    cause = await cause_of(lambda seen: Actions(actions), environment=environment)
    assert isinstance(cause, SettingError)
    assert re.search(text, str(cause)), cause


@given(push=st.floats(-9, 9, width=32), clip=st.booleans())
def test_actions_outside_a_box_are_clipped_unless_told_otherwise(push, clip):
    mine = Lanes("Pendulum-v1", 1, [], vector=False, clip=clip)
    mine.reset(7)
    env = gym.make("Pendulum-v1")
    env.reset(seed=7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        expected = env.step(np.array([np.clip(push, -2, 2) if clip else push], np.float32))
        got = mine.step(np.array([[push]], np.float32))
    np.testing.assert_array_equal(got.followed[0], expected[0])
