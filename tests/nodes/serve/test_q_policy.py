"""The ε-greedy policy: the best action at ε 0, any at ε 1, and each row's own whatever it is batched with."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')

from flow import Context  # noqa: E402
from flow.testing import drive  # noqa: E402
from nodes.experience import Observations  # noqa: E402
from nodes.messages import Weights  # noqa: E402
from nodes.nets.perceptron import Perceptron  # noqa: E402
from nodes.nets.weights import weights_of  # noqa: E402
from nodes.serve.q_policy import exploration, policy  # noqa: E402

SETTINGS = {"inputs": 3, "actions": 4, "hidden": [8]}


def network() -> Perceptron:
    torch.manual_seed(3)
    return Perceptron(3, [8], 4)


def question(rows: int, seed: int) -> Observations:
    seen = np.random.default_rng(seed).normal(size=(rows, 3)).astype(np.float32)
    return Observations(seen, np.zeros(rows, np.float32), np.zeros(rows, bool), np.arange(rows))


async def answers(questions, explore: float, seed: int = 0):
    weights = [Weights(weights_of(network()))]
    said = await drive(
        policy,
        requests=questions,
        weights=weights,
        explore_first=explore,
        explore_last=explore,
        context=Context("policy", seed=seed),
        **SETTINGS,
    )
    return said.requests


@settings(max_examples=10)
@given(st.lists(st.tuples(st.integers(1, 5), st.integers(0, 99)), min_size=1, max_size=5))
async def test_without_exploring_each_row_gets_the_action_of_the_highest_value(asked):
    questions = [question(*each) for each in asked]
    for each, answer in zip(questions, await answers(questions, 0.0), strict=True):
        with torch.inference_mode():
            best = network()(torch.from_numpy(each.observations.copy())).argmax(-1).numpy()
        np.testing.assert_array_equal(answer.actions, best)
        assert answer.version == 0


async def test_exploring_alone_draws_every_action_alike_and_by_the_seed():
    questions = [question(1280, 0)]  # one, so that what goes into a batch is the same each time
    one, again, other = [await answers(questions, 1.0, seed) for seed in (1, 1, 2)]
    drawn = np.concatenate([answer.actions for answer in one])
    counts = np.bincount(drawn, minlength=4)
    assert (np.abs(counts - 320) < 5 * np.sqrt(320 * 3 / 4)).all()
    np.testing.assert_array_equal(drawn, np.concatenate([answer.actions for answer in again]))
    assert (drawn != np.concatenate([answer.actions for answer in other])).any()


@given(st.integers(-1, 10**6), st.floats(0, 1), st.floats(0, 1), st.integers(1, 10**5))
def test_exploration_goes_from_the_first_share_to_the_last(updates, first, last, over):
    found = exploration(updates, first, last, over)
    assert min(first, last) - 1e-9 <= found <= max(first, last) + 1e-9
    assert exploration(-1, first, last, over) == first
    assert exploration(over, first, last, over) == pytest.approx(last)


async def test_a_policy_whose_learner_ended_before_it_began_ends():
    said = await drive(policy, requests=[], weights=[], **SETTINGS)
    assert said.requests == []
