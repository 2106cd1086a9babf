"""The Q learner: its lessons beside their definition, what it learns, publishes and keeps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')

from flow.errors import SettingError  # noqa: E402
from flow.testing import drive  # noqa: E402
from nodes.algo.q_learning import n_step_returns  # noqa: E402
from nodes.learn.q import Experience, Recipe, Student, learner, lessons  # noqa: E402
from nodes.nets.perceptron import Perceptron  # noqa: E402
from nodes.nets.weights import load_weights  # noqa: E402

SETTINGS = {"inputs": 2, "actions": 2, "hidden": [16]}


def experience(seed: int, rows: int = 8, steps: int = 4, weights: np.ndarray | None = None) -> Experience:
    """Every step is an episode of its own; action 1 is worth 1 where the first number is positive, else 0 is."""
    rng = np.random.default_rng(seed)
    observations = rng.normal(size=(rows, steps, 2)).astype(np.float32)
    actions = rng.integers(0, 2, (rows, steps))
    return Experience(
        observations=observations,
        actions=actions,
        rewards=(actions == (observations[..., 0] > 0)).astype(np.float32),
        next_observations=rng.normal(size=(rows, steps, 2)).astype(np.float32),
        terminated=np.ones((rows, steps), bool),
        truncated=np.zeros((rows, steps), bool),
        first=np.ones((rows, steps), bool),
        handles=100 * seed + np.arange(rows),
        weights=np.ones(rows, np.float32) if weights is None else weights.astype(np.float32),
    )


@given(rows=st.integers(1, 4), steps=st.integers(1, 6), n=st.integers(1, 6), ends=st.integers(0, 255))
def test_lessons_are_the_n_step_windows_of_each_row(rows, steps, n, ends):
    rng = np.random.default_rng(ends)
    terminated = rng.random((rows, steps)) < 0.2
    first = np.zeros((rows, steps), bool)
    first[:, 1:] = terminated[:, :-1]
    sample = Experience(
        observations=rng.normal(size=(rows, steps, 2)).astype(np.float32),
        actions=rng.integers(0, 3, (rows, steps)),
        rewards=rng.normal(size=(rows, steps)).astype(np.float32),
        next_observations=rng.normal(size=(rows, steps, 2)).astype(np.float32),
        terminated=terminated,
        truncated=np.zeros((rows, steps), bool),
        first=first,
        handles=np.arange(rows),
        weights=np.ones(rows, np.float32),
    )
    if n > steps:
        with pytest.raises(SettingError, match=f"windows of {steps} steps hold no n_steps={n}; set steps"):
            lessons(sample, n, 0.9)
        return
    found, at = lessons(sample, n, 0.9), 0
    for row in range(rows):
        for start in range(steps - n + 1):
            cut = slice(start, start + n)
            parts = [array[row : row + 1, cut] for array in (sample.rewards, terminated, sample.truncated, first)]
            one = n_step_returns(*parts, discount=0.9)
            assert found.rewards[at] == one.rewards[0]
            assert found.discounts[at] == one.discounts[0]
            assert found.actions[at] == sample.actions[row, start]
            np.testing.assert_array_equal(found.observations[at], sample.observations[row, start])
            np.testing.assert_array_equal(found.followed[at], sample.next_observations[row, start + one.last[0]])
            at += 1
    assert at == len(found.actions)


async def test_what_an_action_is_worth_is_learned():
    samples = [experience(seed, rows=32) for seed in range(400)]
    said = await drive(learner, samples=samples, learning_rate=1e-2, **SETTINGS)
    network = Perceptron(2, [16], 2)
    load_weights(network, said.weights[-1].message.tensors)
    tests = experience(999, rows=64)
    with torch.inference_mode():
        values = network(torch.from_numpy(tests.observations[:, 0])).numpy()
    worth = np.stack([tests.observations[:, 0, 0] <= 0, tests.observations[:, 0, 0] > 0], 1)
    assert np.abs(values - worth).mean() < 0.1


async def test_every_update_is_published_with_the_next_version():
    said = await drive(learner, samples=[experience(n) for n in range(5)], **SETTINGS)
    assert [value.version for value in said.weights] == list(range(6))
    assert said.metrics.counters["updates"] == 5


async def test_the_learning_rate_falls_to_nothing():
    samples = [experience(n) for n in range(6)]
    said = await drive(learner, samples=samples, anneal_updates=3, **SETTINGS)
    after = [value.message.tensors["layers.1.weight"] for value in said.weights]
    assert (after[2] != after[3]).any()
    for later in after[4:]:
        np.testing.assert_array_equal(after[3], later)


@settings(max_examples=8)
@given(cut=st.integers(1, 5))
async def test_a_learner_that_goes_on_from_its_state_learns_what_it_would_have_learned(cut):
    samples = [experience(n) for n in range(6)]
    whole = await drive(learner, samples=samples, **SETTINGS)
    begun = await drive(learner, samples=samples[:cut], **SETTINGS)
    rest = await drive(learner, samples=samples[cut:], saved=begun.saved, **SETTINGS)
    assert [value.version for value in rest.weights] == list(range(cut, 7))
    for name, value in whole.weights[-1].message.tensors.items():
        np.testing.assert_array_equal(value, rest.weights[-1].message.tensors[name])


async def test_each_sample_is_answered_with_how_wrong_the_values_of_its_windows_were():
    samples = [experience(n) for n in range(3)]
    said = await drive(learner, samples=samples, learning_rate=0.0, **SETTINGS)
    assert [each.handles.tolist() for each in said.priorities] == [each.handles.tolist() for each in samples]
    network = Perceptron(2, [16], 2)
    load_weights(network, said.weights[-1].message.tensors)
    for sample, answer in zip(samples, said.priorities, strict=True):
        with torch.inference_mode():
            values = network(torch.from_numpy(sample.observations.reshape(-1, 2))).numpy().reshape(8, 4, 2)
        taken = np.take_along_axis(values, sample.actions[..., None], 2)[..., 0]
        # Every step is an episode of its own, so that its reward is all it is worth.
        steps = sample.rewards.shape[1] - SETTINGS.get("n_steps", 1) + 1
        expected = np.abs(taken - sample.rewards)[:, :steps].mean(1)
        np.testing.assert_allclose(answer.priorities, expected, rtol=1e-4, atol=1e-6)


async def test_lightzero_490_a_loss_with_weights_is_the_sum_of_each_windows_loss_times_its_own():
    student = Student(2, 2, [16], "cpu", Recipe(1, 0.9, 0.0, 9.0, 1e9), 0)
    rows = 8

    def loss_and_gradient(weights):
        loss, _, _ = student.update(experience(3, rows, weights=weights), 0.0)
        return loss, [parameter.grad.clone() for parameter in student.network.parameters()]

    alone = [loss_and_gradient(np.eye(rows)[row]) for row in range(rows)]
    weights = np.random.default_rng(0).random(rows)
    for order in (np.arange(rows), np.arange(rows)[::-1]):  # permuted, the gradient is another
        loss, gradient = loss_and_gradient(weights[order])
        np.testing.assert_allclose(loss, sum(w * one for w, (one, _) in zip(weights[order], alone, strict=True)), 1e-4)
        for number, each in enumerate(gradient):
            expected = sum(float(w) * one[number] for w, (_, one) in zip(weights[order], alone, strict=True))
            torch.testing.assert_close(each, expected, rtol=1e-4, atol=1e-6)
