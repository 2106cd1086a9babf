"""Learns what is done in videos from stored volumes, and scores whole videos with what was learned.

    batches ──► learner ┄┄ weights, the last ones ┄┄► scorer ◄── views of each video
                                                        └──► scores: the mean softmax of a video's views

Paper: Simonyan and Zisserman, arXiv:1406.2199, section 5. A message's bytes become floats on the device.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import trio

from flow import Array, Context, In, Latest, Live, Out, Promises, Publish, Range, Saved, compute, node
from flow.errors import MessageError
from flow.setting import Beside
from nodes.messages import Weights
from nodes.recognition import Scores, Volumes

if TYPE_CHECKING:
    from torch import Tensor

    from nodes.nets.two_stream import TwoStreamNet

Network = Literal["small", "cnn_m"]


@dataclass
class Progress:
    """How far the learner is; kept in checkpoints."""

    updates: int = 0


@node(needs=("torch",), promises=Promises(given="nodes.given.video:recogniser", seeded=True))
async def learner(
    batches: In[Volumes],
    weights: Publish[Weights],
    context: Context,
    saved: Saved,
    *,
    network: Network = "cnn_m",
    channels: Annotated[int, Range(1)],
    size: Annotated[int, Range(8, 1024)] = 224,
    classes: list[int],
    dropout: Annotated[float, Range(0, 0.99)] = 0.9,
    second_norm: bool = False,
    pretrained: Annotated[str, Beside()] = "",
    train: Literal["all", "last"] = "all",
    learning_rate: Live[Annotated[float, Range(0, 10)]] = Live(1e-2),
    falls_at: list[int],
    momentum: Annotated[float, Range(0, 1)] = 0.9,
    weight_decay: Annotated[float, Range(0, 1)] = 5e-4,
    publish_every: Annotated[int, Range(0)] = 0,
    device: str = "auto",
) -> None:
    """Take a step of SGD on each batch's cross-entropy, each task's own head on its own videos, the losses summed.

    Args:
      network: "cnn_m", the paper's, or "small".
      channels: of a volume: 3 a frame, 2 a flow field.
      size: of a volume, its height and width.
      classes: how many each task has.
      dropout: probability that a feature is dropped.
      second_norm: of cnn_m, as the spatial network has it.
      pretrained: a safetensors file whose trunk is started from; from scratch if not given.
      train: "all" layers, or the "last" alone: then nothing is dropped before it is learned otherwise.
      learning_rate: of the first updates.
      falls_at: after these numbers of updates it falls to a tenth.
      momentum: of SGD.
      weight_decay: of SGD.
      publish_every: updates from one publication to the next; 0 for the last weights only.
      device: "cpu", "cuda", "cuda:1" or "auto", a GPU if there is one.
    """
    student = await compute(
        Student, (network, channels, size, classes, dropout, second_norm), pretrained, train, momentum, weight_decay,
        device, context.seed,
    )  # fmt: skip
    saved.keep("network", student.network)
    saved.keep("optimiser", student.optimiser)
    saved.keep("dice", student)
    progress = saved.keep("progress", Progress())
    async for batch in batches:
        if not len(batch.label):
            continue
        rate = learning_rate.value * 0.1 ** sum(progress.updates >= fall for fall in falls_at)
        loss, accuracy = await compute(student.update, batch, rate)
        progress.updates += 1
        context.metrics.count("updates")
        context.metrics.record("loss", loss)
        context.metrics.record("train_accuracy", accuracy)
        if publish_every and progress.updates % publish_every == 0:
            await weights.publish(student.weights(), progress.updates)
    await weights.publish(student.weights(), progress.updates)


class Student:
    """The network, its optimiser, the dice of its dropout, and one update of it."""

    def __init__(
        self, build: tuple[Any, ...], pretrained: str, train: str, momentum: float, weight_decay: float, device: str,
        seed: int,
    ) -> None:  # fmt: skip
        import torch

        from nodes.nets.device import choose_device
        from nodes.nets.two_stream import TwoStreamNet, load_trunk

        self.device = choose_device(device)
        self.classes: Sequence[int] = build[3]
        torch.manual_seed(seed)
        self.network: TwoStreamNet = TwoStreamNet(*build)
        if pretrained:
            load_trunk(self.network, Path(pretrained))
        self.network.to(self.device)
        learned = self.network if train == "all" else self.network.heads
        self.optimiser = torch.optim.SGD(learned.parameters(), 0.1, momentum=momentum, weight_decay=weight_decay)
        self._frozen = train == "last"
        self._dice = torch.Generator().manual_seed(seed)

    def state_dict(self) -> dict[str, Any]:
        return {"dice": self._dice.get_state()}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self._dice.set_state(state["dice"])

    def weights(self) -> Weights:
        from nodes.nets.weights import weights_of

        return Weights(weights_of(self.network))

    def update(self, batch: Volumes, learning_rate: float) -> tuple[float, float]:
        """One step on a batch; the sum of the tasks' mean losses, and the accuracy before the step."""
        import torch
        from torch.nn import functional as F

        from nodes.nets.weights import tensor_of

        require_fit(batch, self.classes)
        inputs, labels = values(batch, self.device), tensor_of(batch.label, self.device)
        # Dropout draws from the process's own dice; ours lead them, so that a restored learner drops the same.
        torch.manual_seed(int(torch.randint(1 << 62, (), generator=self._dice)))
        self.network.train()
        with torch.set_grad_enabled(not self._frozen):
            features = self.network.trunk(inputs)
        loss, right = features.new_zeros(()), 0
        for task, head in enumerate(self.network.heads):
            rows = tensor_of(np.flatnonzero(batch.task == task), self.device)
            if len(rows):
                logits = head(features[rows])
                loss = loss + F.cross_entropy(logits, labels[rows])
                right += int((logits.argmax(-1) == labels[rows]).sum())
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.optimiser.step()
        return float(loss.detach()), right / len(batch.label)


class Sums:
    """By video, the sum of its views' scores and how many there were; state of the scorer."""

    def __init__(self) -> None:
        self.sums: dict[tuple[int, int], Array] = {}
        self.seen: dict[tuple[int, int], int] = {}

    def add(self, key: tuple[int, int], scores: Array, views: int) -> Array | None:
        """The video's mean once all its views are there."""
        self.sums[key] = self.sums[key] + scores if key in self.sums else scores.astype(np.float64)
        self.seen[key] = self.seen.get(key, 0) + 1
        if self.seen[key] < views:
            return None
        return np.asarray(self.sums.pop(key) / self.seen.pop(key), np.float32)

    def state_dict(self) -> dict[str, Any]:
        return {"sums": [[*key, self.seen[key], total.copy()] for key, total in self.sums.items()]}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        for task, video, seen, total in state["sums"]:
            self.sums[task, video], self.seen[task, video] = total, seen


@node(needs=("torch",), promises=Promises(given="nodes.given.video:scorer"))
async def scorer(
    views: In[Volumes],
    weights: Latest[Weights],
    scores: Out[Scores],
    context: Context,
    saved: Saved,
    *,
    network: Network = "cnn_m",
    channels: Annotated[int, Range(1)],
    size: Annotated[int, Range(8, 1024)] = 224,
    classes: list[int],
    second_norm: bool = False,
    device: str = "auto",
) -> None:
    """Wait for the learner's last weights, then send each video's scores, in the order in which they are complete.

    Args:
      network: as at the learner.
      channels: as at the learner.
      size: as at the learner.
      classes: as at the learner.
      second_norm: as at the learner.
      device: where it is computed.
    """
    sums = saved.keep("sums", Sums())
    version = -1
    while True:
        try:
            await weights.wait(newer_than=version)
        except trio.EndOfChannel:
            break
        version = weights.version
    if weights.newest is None:
        context.log("the learner ended without weights, so nothing is scored", "warning")
        return
    judge = await compute(Judge, (network, channels, size, classes, 0.0, second_norm), device, weights.newest)
    async for batch in views:
        found = await compute(judge.softmax, batch)
        for row, each in enumerate(found):
            task, video = int(batch.task[row]), int(batch.video[row])
            if (mean := sums.add((task, video), each, int(batch.views[row]))) is not None:
                await scores.send(Scores(video, int(batch.label[row]), task, bool(batch.test[row]), mean))
                context.metrics.count("videos_scored")


class Judge:
    """A network that answers."""

    def __init__(self, build: tuple[Any, ...], device: str, weights: Weights) -> None:
        from nodes.nets.device import choose_device
        from nodes.nets.two_stream import TwoStreamNet
        from nodes.nets.weights import load_weights

        self.device = choose_device(device)
        self.classes: Sequence[int] = build[3]
        self.network: TwoStreamNet = TwoStreamNet(*build).to(self.device).eval()
        load_weights(self.network, weights.tensors)

    def softmax(self, batch: Volumes) -> list[Array]:
        """The probabilities of its task's classes, for each row."""
        import torch

        require_fit(batch, self.classes)
        with torch.inference_mode():
            answers = [logits.softmax(-1).cpu().numpy() for logits in self.network(values(batch, self.device))]
        return [answers[task][row] for row, task in enumerate(batch.task)]


def values(batch: Volumes, device: Any) -> Tensor:
    """The volumes (rows, channels, height, width) in floats, made where they are used."""
    from nodes.nets.weights import tensor_of

    scale, shift = (tensor_of(each, device)[..., None, None] for each in (batch.scale, batch.shift))
    return tensor_of(batch.bytes, device) * scale + shift


def require_fit(batch: Volumes, classes: Sequence[int]) -> None:
    """Hold what comes to the heads there are: on a GPU a label that is no class ends the process.

    Raises:
      MessageError: a task without a head, or a label beyond its classes.
    """
    if len(batch.task) and not 0 <= batch.task.min() <= batch.task.max() < len(classes):
        raise MessageError(f"field task: expected 0 to {len(classes) - 1}, found {batch.task.max()}; set classes")
    most = np.asarray(classes)[batch.task]
    wrong = (batch.label < 0) | (batch.label >= most)
    if wrong.any():
        raise MessageError(
            f"field label: expected 0 to {most[wrong][0] - 1} in task {batch.task[wrong][0]}, "
            f"found {batch.label[wrong][0]}; set classes"
        )
