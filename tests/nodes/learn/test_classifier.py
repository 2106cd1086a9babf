"""Learner and evaluator of classes: what is learned, measured, refused and kept."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch", reason='needs PyTorch: pip install "flow-research[torch]"')

from flow.errors import MessageError  # noqa: E402
from flow.testing import drive  # noqa: E402
from nodes.learn.classifier import Labelled, Logits, evaluator, examiner, learner  # noqa: E402
from nodes.messages import Weights  # noqa: E402

SETTINGS = {"inputs": 6, "classes": 3, "hidden": [8]}


def batches(count: int, rows: int = 16, seed: int = 0) -> list[Labelled]:
    """Pictures of 2x3 whose class is where their largest column is."""
    rng = np.random.default_rng(seed)
    images = [rng.normal(size=(rows, 2, 3)).astype(np.float32) for _ in range(count)]
    return [Labelled(image, image.sum(1).argmax(-1)) for image in images]


@settings(max_examples=10)
@given(count=st.integers(0, 9), every=st.integers(1, 4))
async def test_the_last_weights_are_published_and_those_of_every_nth_update(count, every):
    said = await drive(learner, batches=batches(count), publish_every=every, **SETTINGS)
    expected = [n for n in range(1, count + 1) if n % every == 0 or n == count]
    assert [value.version for value in said.weights] == expected
    assert said.metrics.counters.get("updates", 0) == count


async def test_what_can_be_learned_is_learned():
    told = await drive(learner, batches=batches(400), learning_rate=1e-2, publish_every=400, **SETTINGS)
    judged = await drive(evaluator, tests=batches(4, seed=9), weights=[told.weights[-1].message], **SETTINGS)
    assert judged.metrics.gauges["test_accuracy"] > 0.95


async def test_accuracy_is_the_share_of_pictures_whose_class_has_the_largest_logit():
    weights = (await drive(learner, batches=batches(3), **SETTINGS)).weights[-1].message
    tests = batches(3, rows=7, seed=1)
    said = await drive(evaluator, tests=tests, weights=[weights], **SETTINGS)
    w = weights.tensors
    right = 0
    for batch in tests:
        hidden = np.maximum(batch.image.reshape(len(batch.image), -1) @ w["layers.1.weight"].T + w["layers.1.bias"], 0)
        right += int(((hidden @ w["layers.3.weight"].T + w["layers.3.bias"]).argmax(-1) == batch.label).sum())
    assert said.metrics.gauges["test_accuracy"] == pytest.approx(right / 21)


async def test_an_evaluator_that_goes_on_has_kept_its_tests_and_judges_no_weights_twice():
    weights = (await drive(learner, batches=batches(3), **SETTINGS)).weights[-1].message
    begun = await drive(evaluator, tests=batches(3, rows=7, seed=1), weights=[weights], **SETTINGS)
    rest = await drive(evaluator, tests=[], weights=[weights], saved=begun.saved, **SETTINGS)
    assert "evaluations" not in rest.metrics.series, "the same version again"
    rest = await drive(evaluator, tests=[], weights=[weights, weights], saved=begun.saved, **SETTINGS)
    assert rest.metrics.series["evaluations"] == begun.metrics.series["evaluations"]


@settings(max_examples=10)
@given(cut=st.integers(1, 5))
async def test_a_learner_that_goes_on_from_its_state_learns_what_it_would_have_learned(cut):
    given_ = batches(6)
    whole = await drive(learner, batches=given_, **SETTINGS)
    begun = await drive(learner, batches=given_[:cut], **SETTINGS)
    rest = await drive(learner, batches=given_[cut:], saved=begun.saved, **SETTINGS)
    assert rest.weights[-1].version == 6
    for name, value in whole.weights[-1].message.tensors.items():
        np.testing.assert_array_equal(value, rest.weights[-1].message.tensors[name])


async def test_a_batch_of_no_pictures_teaches_nothing():
    empty = Labelled(np.zeros((0, 2, 3), np.float32), np.zeros(0, np.int64))
    said = await drive(learner, batches=[empty], **SETTINGS)
    assert not said.weights


async def test_nothing_held_out_is_said_and_nothing_is_measured():
    said = await drive(evaluator, tests=[], weights=[Weights({})], **SETTINGS)
    assert said.metrics.gauges == {}


@given(behind=st.integers(0, 3))
async def test_an_examiner_asks_until_who_serves_has_the_newest_weights(behind):
    """The server answers wrongly under old weights; they reach it after some answers."""
    tests, versions = batches(2, rows=5), iter([*[-1] * behind, *[0] * 9])

    def classify(asked):
        version = next(versions)
        return Logits(asked.image.sum(1) * (1 if version == 0 else -1), version)

    said = await drive(examiner, tests=tests, weights=[Weights({})], classify=classify)
    assert said.metrics.gauges["test_accuracy"] == 1
    assert len(said.classify) == 2 + behind


@pytest.mark.parametrize(
    ("image", "label", "problem"),
    [
        ((2, 2, 3), [0, 3], "field label: expected 0 to 2, found 3; set classes"),
        ((2, 2, 3), [-1, 0], "field label: expected 0 to 2, found -1; set classes"),
        ((2, 3, 3), [0, 1], "field image: expected 6 numbers a picture, found 9; set inputs"),
    ],
)
async def test_what_the_network_is_not_made_for_is_refused(image, label, problem):
    wrong = Labelled(np.zeros(image, np.float32), np.array(label))
    with pytest.raises(MessageError, match=problem):
        await drive(learner, batches=[wrong], **SETTINGS)
    with pytest.raises(MessageError, match=problem):
        await drive(evaluator, tests=[wrong], **SETTINGS)
