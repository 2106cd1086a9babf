"""What two networks say of a video, made one answer (arXiv:1406.2199, section 2 and 6): a mean, or a linear SVM."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Scores = NDArray[np.float32]
Labels = NDArray[np.int64]


def mean_fusion(first: Scores, second: Scores) -> Labels:
    """The class with the largest mean of both softmax scores, (N,), of (N, C) each."""
    return np.asarray((first + second).argmax(1))


def features(first: Scores, second: Scores) -> NDArray[np.float64]:
    """What the SVM is given: both scores side by side, each of length 1 (L2). (N, C) each, (N, 2C)."""
    parts = [scores / np.maximum(np.linalg.norm(scores, axis=1, keepdims=True), 1e-12) for scores in (first, second)]
    return np.concatenate(parts, axis=1).astype(np.float64)


def svm_fusion(train: tuple[Scores, Scores, Labels], first: Scores, second: Scores, cost: float) -> Labels:
    """Classes by a linear SVM (Crammer and Singer's, as the paper's) that was trained on other videos' scores.

    Args:
      train: scores of both networks (N, C) and labels (N,).
      cost: C of the SVM; the paper does not say its own.
    """
    from sklearn.svm import LinearSVC

    known = np.unique(train[2])
    if len(known) == 1:
        return np.full(len(first), known[0])
    machine = LinearSVC(C=cost, multi_class="crammer_singer", random_state=0, tol=1e-3, max_iter=100_000)
    machine.fit(features(train[0], train[1]), train[2])
    return np.asarray(machine.predict(features(first, second)))


def confusion(labels: Labels, said: Labels, classes: int) -> NDArray[np.int64]:
    """(C, C): how many videos of each class, a row each, were said to be of each."""
    table = np.zeros((classes, classes), np.int64)
    np.add.at(table, (labels, said), 1)
    return table
