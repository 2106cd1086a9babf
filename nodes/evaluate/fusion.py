"""What two networks make of the same videos, fused: accuracies, results by class, a picture of what is taken for what.

    scores of one ───╮
                     ├──► fusion ──► accuracies; results.json, scores.npz, confusion.png in the node's place
    scores of other ─╯

The SVM learns from the scores of training videos, so the views of those have to be scored too (part = "all").
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import trio

from flow import Array, Context, In, Promises, Range, Saved, compute, node
from flow.kept import Kept
from nodes.algo.late_fusion import confusion, mean_fusion, svm_fusion
from nodes.recognition import Scores


@node(needs=("sklearn", "matplotlib"), promises=Promises(given="nodes.given.video:fused"))
async def fusion(
    first: In[Scores],
    second: In[Scores],
    context: Context,
    saved: Saved,
    *,
    cost: Annotated[float, Range(1e-6, 1e6)] = 1.0,
) -> None:
    """Gather all scores, then say how many held-out videos each network, their mean and an SVM get right.

    Gauges: first_accuracy, second_accuracy, mean_accuracy, svm_accuracy.

    Args:
      cost: C of the SVM.
    """
    firsts, seconds = saved.keep("first", Kept(Scores)), saved.keep("second", Kept(Scores))

    async def gather(port: In[Scores], kept: Kept[Scores]) -> None:
        async for each in port:
            kept.append(each)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(gather, first, firsts)
        nursery.start_soon(gather, second, seconds)
    pairs = matched(list(firsts), list(seconds))
    alone = len(firsts) + len(seconds) - 2 * len(pairs)
    if alone:
        context.log(f"{alone} videos were scored by one network alone, and are left out", "warning")
    if not any(one.test for one, _ in pairs):
        context.log("no held-out video was scored, so nothing is measured", "warning")
        return
    found = await compute(fused, pairs, cost)
    await compute(write, context.directory, found)
    for name, said in found["said"].items():
        accuracy = float(np.mean(said == found["labels"]))
        context.metrics.gauge(f"{name}_accuracy", accuracy)
    context.log(f"of {len(found['labels'])} held-out videos right: " + _summary(found))


def matched(firsts: list[Scores], seconds: list[Scores]) -> list[tuple[Scores, Scores]]:
    """Both scores of each video that has both, by video."""
    of = {(each.task, each.video): each for each in seconds}
    pairs = [(each, of[each.task, each.video]) for each in firsts if (each.task, each.video) in of]
    return sorted(pairs, key=lambda pair: (pair[0].task, pair[0].video))


def fused(pairs: list[tuple[Scores, Scores]], cost: float) -> dict[str, Any]:
    """Labels of the held-out videos, and what each way of answering says they are.

    Without training videos among them there is no SVM.
    """
    train, test = ([pair for pair in pairs if pair[0].test is held] for held in (False, True))
    one, other, labels = _arrays(test)
    said = {"first": one.argmax(1), "second": other.argmax(1), "mean": mean_fusion(one, other)}
    if train:
        said["svm"] = svm_fusion(_arrays(train), one, other, cost)
    return {"labels": labels, "said": said, "first": one, "second": other, "classes": one.shape[1]}


def _arrays(pairs: list[tuple[Scores, Scores]]) -> tuple[Array, Array, Array]:
    one, other = (np.stack([pair[side].scores for pair in pairs]) for side in (0, 1))
    return one, other, np.array([pair[0].label for pair in pairs])


def _summary(found: dict[str, Any]) -> str:
    return ", ".join(f"{name} {np.mean(said == found['labels']):.1%}" for name, said in found["said"].items())


def write(place: Path, found: dict[str, Any]) -> None:
    """results.json, the accuracy of each way over all and by class; scores.npz; confusion.png, of the best way."""
    place.mkdir(parents=True, exist_ok=True)
    labels, best = found["labels"], "svm" if "svm" in found["said"] else "mean"
    results = {
        name: {
            "accuracy": float(np.mean(said == labels)),
            "by_class": {str(each): float(np.mean(said[labels == each] == each)) for each in np.unique(labels)},
        }
        for name, said in found["said"].items()
    }
    (place / "results.json").write_text(json.dumps(results, indent=1))
    np.savez(place / "scores.npz", labels=labels, first=found["first"], second=found["second"])
    draw(place / "confusion.png", confusion(labels, found["said"][best], found["classes"]), best)


def draw(path: Path, table: Array, title: str) -> None:
    """The confusion matrix as a picture, each row in shares of its class."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(7, 6), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    figure.colorbar(axes.imshow(shares, cmap="viridis", vmin=0, vmax=1), label="share of the class's videos")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="said to be of class", ylabel="of class", title=f"held-out videos, {title}")
    figure.savefig(path, dpi=100)
