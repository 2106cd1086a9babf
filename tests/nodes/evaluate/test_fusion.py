"""Two networks' scores fused: what each way of answering is, and what is left on disk."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

pytest.importorskip("sklearn", reason='needs scikit-learn: pip install "flow-research[video]"')
pytest.importorskip("matplotlib", reason='needs matplotlib: pip install "flow-research[report]"')

from flow import Context
from flow.testing import drive
from nodes.algo.late_fusion import confusion, mean_fusion
from nodes.evaluate.fusion import fusion
from nodes.recognition import Scores


def softmax(known: int, of: int, rng) -> np.ndarray:
    values = rng.normal(0, 0.3, of)
    values[known] += 4
    return (np.exp(values) / np.exp(values).sum()).astype(np.float32)


def scores(count: int = 120, seed: int = 0) -> tuple[list[Scores], list[Scores]]:
    """Six classes, pairs of one of two and one of three: one network knows the first part, the other the second."""
    rng = np.random.default_rng(seed)
    firsts, seconds = [], []
    for video in range(count):
        part, other = rng.integers(2), rng.integers(3)
        label, test = int(3 * part + other), video % 2 == 0
        one = np.repeat(softmax(part, 2, rng), 3) / 3
        two = np.tile(softmax(other, 3, rng), 2) / 2
        firsts.append(Scores(video, label, 0, test, one.astype(np.float32)))
        seconds.append(Scores(video, label, 0, test, two.astype(np.float32)))
    return firsts, seconds


async def test_fusion_makes_the_pair_of_what_each_network_knows(tmp_path):
    firsts, seconds = scores()
    order = np.random.default_rng(0).permutation(len(seconds))
    context = Context("fusion", directory=tmp_path)
    said = await drive(fusion, first=firsts, second=[seconds[n] for n in order], context=context)
    accuracies = said.metrics.gauges
    assert accuracies["svm_accuracy"] > 0.95
    assert accuracies["mean_accuracy"] > 0.95
    assert accuracies["first_accuracy"] < 0.6 > accuracies["second_accuracy"]
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["svm"]["accuracy"] == pytest.approx(accuracies["svm_accuracy"])
    by_class = results["svm"]["by_class"]
    labels = [each.label for each in firsts if each.test]
    whole = sum(by_class[str(label)] for label in labels) / len(labels)
    assert whole == pytest.approx(accuracies["svm_accuracy"])
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
    assert len(np.load(tmp_path / "scores.npz")["labels"]) == len(labels)


async def test_without_training_videos_there_is_no_svm(tmp_path):
    firsts, seconds = ([each for each in part if each.test] for part in scores())
    said = await drive(fusion, first=firsts, second=seconds, context=Context("fusion", directory=tmp_path))
    assert set(said.metrics.gauges) == {"first_accuracy", "second_accuracy", "mean_accuracy"}


async def test_a_video_that_one_network_alone_has_scored_is_left_out(tmp_path):
    firsts, seconds = scores()
    texts: list[str] = []
    context = Context("fusion", directory=tmp_path, log=lambda text, level="info": texts.append(text))
    await drive(fusion, first=firsts[:-2], second=seconds, context=context)
    assert texts[0] == "2 videos were scored by one network alone, and are left out"
    await drive(fusion, first=[], second=[], context=context)
    assert texts[-1] == "no held-out video was scored, so nothing is measured"


@settings(max_examples=20)
@given(seed=st.integers(0, 99), count=st.integers(1, 9))
def test_the_confusion_matrix_counts_each_video_once(seed, count):
    rng = np.random.default_rng(seed)
    labels, said = rng.integers(0, 4, (2, count))
    table = confusion(labels, said, 4)
    assert table.sum() == count
    assert np.trace(table) == (labels == said).sum()
    np.testing.assert_array_equal(table.sum(1), np.bincount(labels, minlength=4))


def test_the_mean_is_of_softmax_scores_not_of_logits():
    first, second = np.array([[0.9, 0.1]], np.float32), np.array([[0.2, 0.8]], np.float32)
    assert mean_fusion(first, second).tolist() == [0]
