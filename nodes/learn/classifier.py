"""Learns to tell classes apart, and says how well the newest weights do on what was held out.

batches ──► learner ┄┄ weights ┄┄► evaluator ◄── held-out batches
                                      └──► test_accuracy
Where the network is served elsewhere, `examiner` asks for its answers instead of computing them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
import trio
from jaxtyping import Float32, Int64

from flow import Array, Call, Context, In, Latest, Live, Message, Promises, Publish, Range, Saved, compute, node
from flow.errors import MessageError
from flow.kept import Kept
from nodes.learn.parallel import Group, Shared, closing, join
from nodes.messages import Weights

if TYPE_CHECKING:
    from torch import nn

# How long an examiner waits for weights to reach who serves them.
_LOOK_AGAIN_S = 0.01


class Labelled(Message):
    """Pictures, and the class of each."""

    image: Float32[Array, "rows ..."]
    label: Int64[Array, "rows"]
    """From 0."""


class Pictures(Message, repeatable=True):
    """Pictures to be classified."""

    image: Float32[Array, "rows ..."]


class Logits(Message):
    """Of each class; the largest is the answer."""

    logits: Float32[Array, "rows classes"]
    version: int
    """Of the weights."""


@dataclass
class Progress:
    """How far the learner is; kept in checkpoints."""

    updates: int = 0


@dataclass
class Examined:
    """Up to which weights an examiner is, and how far with the next; kept in checkpoints."""

    version: int = -1
    batches: int = 0
    right: int = 0


@node(needs=("torch",), promises=Promises(given="nodes.given.learning:classifier", seeded=True))
async def learner(
    batches: In[Labelled],
    weights: Publish[Weights],
    context: Context,
    saved: Saved,
    *,
    inputs: Annotated[int, Range(1)],
    classes: Annotated[int, Range(2)],
    hidden: list[int],
    learning_rate: Live[Annotated[float, Range(0, 1)]] = Live(1e-3),
    publish_every: Annotated[int, Range(1)] = 20,
    device: str = "auto",
) -> None:
    """Take a step of Adam on the cross-entropy of each batch; publish the weights now and then, and the last ones.

    Several replicas take each step together, on a batch each.

    Args:
      inputs: numbers of one picture, all its dimensions together.
      classes: how many there are.
      hidden: widths of the hidden layers.
      learning_rate: of Adam.
      publish_every: updates from one publication to the next.
      device: "cpu", "cuda", "cuda:1" or "auto", a GPU if there is one.
    """
    student = await compute(Student, inputs, hidden, classes, device, context.seed)
    saved.keep("network", student.network)
    saved.keep("optimiser", student.optimiser)
    progress = saved.keep("progress", Progress())
    group = student.group = await join(context, saved, student.device)
    with closing(group):
        async for batch in Shared(batches, group):
            if batch is not None and not len(batch.label):
                continue
            learned = await compute(student.update, batch, learning_rate.value)
            if learned is None:
                continue
            progress.updates += 1
            if context.replica:  # one of them speaks for all
                continue
            context.metrics.count("updates")
            context.metrics.record("loss", learned[0])
            context.metrics.record("train_accuracy", learned[1])
            if progress.updates % publish_every == 0:
                await weights.publish(student.weights(), progress.updates)
        if progress.updates % publish_every and not context.replica:
            await weights.publish(student.weights(), progress.updates)


@node(needs=("torch",), promises=Promises(given="nodes.given.learning:evaluator"))
async def evaluator(
    tests: In[Labelled],
    weights: Latest[Weights],
    context: Context,
    saved: Saved,
    *,
    inputs: Annotated[int, Range(1)],
    classes: Annotated[int, Range(2)],
    hidden: list[int],
    device: str = "auto",
) -> None:
    """Take in all that was held out; then say how much of it the newest weights get right, until none are newer.

    Args:
      inputs: as at the learner.
      classes: as at the learner.
      hidden: as at the learner.
      device: where it is computed.
    """
    parts = saved.keep("tests", Kept(Labelled))
    done = saved.keep("progress", Examined())
    async for batch in tests:
        parts.append(batch)
    if not sum(len(part.label) for part in parts):
        context.log("nothing was held out, so nothing is measured", "warning")
        return
    images = np.concatenate([part.image for part in parts])
    labels = np.concatenate([part.label for part in parts])
    judge = await compute(Judge, images, labels, inputs, hidden, classes, device)
    while True:
        try:
            newest = await weights.wait(newer_than=done.version)
        except trio.EndOfChannel:
            return
        done.version = weights.version
        accuracy = await compute(judge.accuracy, newest)
        context.metrics.gauge("test_accuracy", accuracy)
        context.metrics.record("evaluations", accuracy)


@node(promises=Promises(given="nodes.given.learning:examiner"))
async def examiner(
    tests: In[Labelled],
    weights: Latest[Weights],
    classify: Call[Pictures, Logits],
    context: Context,
    saved: Saved,
) -> None:
    """Take in all that was held out; ask a served classifier about it whenever weights are new, until none are newer.

    The weights themselves are not looked at: of a module in several parts, those of one say that there are new ones.
    """
    held = saved.keep("tests", Kept(Labelled))
    done = saved.keep("progress", Examined())
    async for batch in tests:
        held.append(batch)
    rows = sum(len(batch.label) for batch in held)
    if not rows:
        context.log("nothing was held out, so nothing is measured", "warning")
        return
    while True:
        try:
            await weights.wait(newer_than=done.version)
        except trio.EndOfChannel:
            return
        version = weights.version
        while done.batches < len(held):
            batch = held[done.batches]
            answer = await classify(Pictures(batch.image))
            if answer.version < version:  # they are on their way to who serves
                await trio.sleep(_LOOK_AGAIN_S)
                continue
            done.right += int((answer.logits.argmax(-1) == batch.label).sum())
            done.batches += 1
        context.metrics.gauge("test_accuracy", done.right / rows)
        context.metrics.record("evaluations", done.right / rows)
        done.version, done.batches, done.right = version, 0, 0


class Student:
    """The network, its optimiser, and one update of it."""

    def __init__(self, inputs: int, hidden: Sequence[int], classes: int, device: str, seed: int) -> None:
        import torch  # this worker has it imported already; others never do

        from nodes.nets.device import choose_device
        from nodes.nets.perceptron import Perceptron

        self.device = choose_device(device)
        self.inputs, self.classes = inputs, classes
        torch.manual_seed(seed)
        self.network: nn.Module = Perceptron(inputs, hidden, classes).to(self.device)
        self.optimiser = torch.optim.Adam(self.network.parameters())
        self.group: Group | None = None

    def weights(self) -> Weights:
        from nodes.nets.weights import weights_of

        return Weights(weights_of(self.network))

    def update(self, batch: Labelled | None, learning_rate: float) -> tuple[float, float] | None:
        """One step on a batch; its mean loss and accuracy before the step.

        Args:
          batch: None where other replicas alone have one.

        Returns:
          Means over the batches of all replicas; None if none of them has one.
        """
        self.optimiser.zero_grad(set_to_none=True)
        rows, means = 0, [0.0, 0.0, learning_rate]
        if batch is not None:
            rows, means[:2] = len(batch.label), self._gradients(batch)
        if self.group is not None:
            rows, means = self.group.average(self.network.parameters(), rows, means)
        if not rows:
            return None
        for group in self.optimiser.param_groups:
            group["lr"] = means[2]
        self.optimiser.step()
        return means[0], means[1]

    def _gradients(self, batch: Labelled) -> list[float]:
        """Of a batch, left at the parameters; its mean loss and accuracy."""
        from torch.nn import functional as F

        from nodes.nets.weights import tensor_of

        require_fit(batch.image, batch.label, self.inputs, self.classes)
        labels = tensor_of(batch.label, self.device)
        logits = self.network(tensor_of(batch.image, self.device))
        loss = F.cross_entropy(logits, labels)
        loss.backward()  # type: ignore[no-untyped-call]
        return [float(loss.detach()), float((logits.argmax(-1) == labels).float().mean())]


class Judge:
    """A network, and what it is held to."""

    def __init__(
        self, images: Array, labels: Array, inputs: int, hidden: Sequence[int], classes: int, device: str
    ) -> None:
        from nodes.nets.device import choose_device
        from nodes.nets.perceptron import Perceptron
        from nodes.nets.weights import tensor_of

        require_fit(images, labels, inputs, classes)
        chosen = choose_device(device)
        self.images, self.labels = tensor_of(images, chosen), tensor_of(labels, chosen)
        self.network: nn.Module = Perceptron(inputs, hidden, classes).to(chosen).eval()

    def accuracy(self, weights: Weights) -> float:
        """The share of pictures whose class gets the largest logit."""
        import torch

        from nodes.nets.weights import load_weights

        load_weights(self.network, weights.tensors)
        with torch.inference_mode():
            return float((self.network(self.images).argmax(-1) == self.labels).float().mean())


def require_fit(images: Array, labels: Array, inputs: int, classes: int) -> None:
    """Hold what comes to what the network is made for: on a GPU a label that is no class ends the process.

    Raises:
      MessageError: pictures of another size, or such a label.
    """
    if images[0].size != inputs:
        raise MessageError(f"field image: expected {inputs} numbers a picture, found {images[0].size}; set inputs")
    wrong = labels[(labels < 0) | (labels >= classes)]
    if len(wrong):
        raise MessageError(f"field label: expected 0 to {classes - 1}, found {wrong[0]}; set classes")
