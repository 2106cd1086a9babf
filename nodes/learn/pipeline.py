"""How a batch passes through the shards of a module: what they say to each other, and in which order they compute.

    shard 0   F0 F1 F2 ·· B0 F3 B1 ·· B2 ·· B3 step       F: a part forwards, B: its gradients back
    shard 1      F0 B0 F1 B1 ·· F2 B2 F3 B3 step

A batch goes through in parts. Each shard holds few of them at a time: once it has sent a shard more ahead than lie
behind it, it takes a gradient before it takes the next part (one forward, one backward: PipeDream-Flush,
arXiv:2006.09503). GPipe (arXiv:1811.06965) runs all parts forwards first: no faster, and it keeps the activations of
the whole batch. When all parts are back a shard takes its step; nothing of the next batch was begun under the old
weights, and gradients are added up in the order of the parts, so the steps are those of the unsplit module.

Where a shard is started again it asks, backwards, for the step under way, and the first one sends that again under a
new attempt. It goes on from its last checkpoint, the others from where they are.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import trio
from jaxtyping import Float32, Int64

from flow import Array, Context, In, Live, Message, Out, Publish, Saved, compute
from flow.errors import MessageError, NodeTypeError, SettingError
from flow.graph.registry import find_function
from nodes.learn.classifier import Labelled
from nodes.messages import Weights
from nodes.shards import Cut

if TYPE_CHECKING:
    import torch

# Parts that a shard sends ahead beyond those that the shards behind it need to be busy: while a gradient is on its
# way the next part is there already. (`tools.bench.shards`)
SLACK = 1


class Activations(Message):
    """What one shard computed of a part of a batch, for the next."""

    values: Float32[Array, "rows ..."]
    label: Int64[Array, "rows"]
    """What the last shard needs for the loss."""
    era: int
    """How often the first shard was started before."""
    step: int
    attempt: int
    """A step is sent again where a shard was started again."""
    part: int
    parts: int
    share: float
    """Of the batch's rows, those in this part."""
    block: int
    """The first block that has not run yet; held to the receiver's own."""


class Gradients(Message):
    """Of the loss, after the activations of a part; or, with part = -1, a wish for the whole step."""

    values: Float32[Array, "rows ..."]
    era: int
    step: int
    attempt: int
    part: int


Key = tuple[int, int, int]


@dataclass
class Progress:
    """How far a shard is; kept in checkpoints. era, step: of the last step that it took."""

    updates: int = 0
    era: int = -1
    step: int = -1


def in_parts(batch: Labelled, most: int) -> list[Labelled]:
    """A batch cut into parts of nearly equal length, none of them empty."""
    count = min(most, len(batch.label))
    if not count:
        return []
    pairs = zip(np.array_split(batch.image, count), np.array_split(batch.label, count), strict=True)
    return [Labelled(image, label) for image, label in pairs]


@dataclass
class Pipe:
    """The ports of a shard, and what passes through it: the schedule."""

    trainee: Trainee
    context: Context
    saved: Saved
    weights: Publish[Weights]
    learning_rate: Live[float]
    publish_every: int
    activations: In[Activations] | None = None
    gradients: In[Gradients] | None = None
    onward: Out[Activations] | None = None
    back: Out[Gradients] | None = None
    over: bool = False  # the shards behind this one have ended

    def __post_init__(self) -> None:
        trainee = self.trainee
        self.saved.keep("network", trainee.shard.network)
        self.saved.keep("optimiser", trainee.optimiser)
        trainee.progress = self.saved.keep("progress", Progress())
        if self.saved.rewound:
            # What was under way is of a step that is sent again; a shard that is not the first asks for it anew.
            for port in (self.activations, self.gradients):
                while port is not None and port.receive_nowait() is not None:
                    pass

    async def drive(self, parts: list[Labelled], key: Key) -> bool:
        """One step of the first shard. False if it was cut off: a shard was started again, or all behind have ended."""
        total = sum(len(part.label) for part in parts)
        await compute(self.trainee.shard.forget)
        sent = 0
        for done in range(len(parts)):
            while sent < min(len(parts), done + self.trainee.ahead):
                part = parts[sent]
                share = len(part.label) / total
                whole = Activations(part.image, part.label, *key, sent, len(parts), share, 0)
                await self._forward(whole)
                sent += 1
            if not await self._backward(key, done):
                return False
        await self._step(key)
        return True

    async def follow(self) -> None:
        """All steps of a shard that is not the first."""
        if self.context.incarnation and self.back is not None:
            await self._ask_again()
        head = await self._take()
        while head is not None:
            head = await self._follow_step(head) if head.part == 0 else await self._take()
        await self.finish()

    async def _follow_step(self, head: Activations) -> Activations | None:
        """One step that `head` begins. Returns the first message that is no more of it, None if none will come."""
        key = _key(head)
        await compute(self.trainee.shard.forget)
        taken = 0
        message: Activations | None = head
        for done in range(head.parts):
            while taken < min(head.parts, done + self.trainee.ahead):
                if taken:
                    message = await self._take()
                if message is None or _key(message) != key:
                    return message
                if (message.part, message.parts) != (taken, head.parts):
                    raise MessageError(
                        f"step {head.step}: expected part {taken} of {head.parts}, found part {message.part} of "
                        f"{message.parts}; give each shard one node as its only sender"
                    )
                await self._forward(message)
                taken += 1
            if self.gradients is not None and not await self._backward(key, done):
                return await self._take()
        await self._step(key)
        return await self._take()

    async def _take(self) -> Activations | None:
        """The next part. None when no more come."""
        assert self.activations is not None, "the first shard takes batches"
        try:
            return await self.activations.receive()
        except trio.EndOfChannel:
            return None

    async def _forward(self, message: Activations) -> None:
        """Run a part; send it on, or, at the last shard, back."""
        trainee = self.trainee
        if message.block != trainee.shard.first:
            raise MessageError(
                f"field block: expected {trainee.shard.first}, where this shard begins, found {message.block}; give "
                "all shards the same module and split, and each its own place in the row"
            )
        if self.onward is not None:
            values = await compute(trainee.forward, message)
            await self.onward.send(
                Activations(
                    values,
                    message.label,
                    *_key(message),
                    message.part,
                    message.parts,
                    message.share,
                    trainee.next_block,
                )
            )
            return
        gradients, loss = await compute(trainee.judge, message)
        self.context.metrics.record("loss", loss)
        assert self.back is not None, "the last shard has one before it"
        await self.back.send(Gradients(gradients, *_key(message), message.part))

    async def _backward(self, key: Key, part: int) -> bool:
        """Wait for the gradients of a part and run it backwards. False if the step cannot go on."""
        assert self.gradients is not None, "only the last shard has none"
        while True:
            try:
                message = await self.gradients.receive()
            except trio.EndOfChannel:
                self.over = True
                return False
            if message.part < 0:
                return await self._ask_again()
            if (message.era, message.step, message.attempt) == key:
                break
        if message.part != part:
            raise MessageError(
                f"step {message.step}: expected the gradients of part {part}, found those of part {message.part}; give "
                "each shard one node as its only sender of gradients"
            )
        values = await compute(self.trainee.backward, part, message.values)
        if self.back is not None:
            await self.back.send(Gradients(values, *key, part))
        return True

    async def _ask_again(self) -> bool:
        """Tell the shards before that the step under way must be sent again."""
        if self.back is not None:
            await self.back.send(Gradients(np.zeros((0, 0), np.float32), -1, -1, -1, -1))
        return False

    async def _step(self, key: Key) -> None:
        """Take the step that the gradients of all parts make, once."""
        progress = self.trainee.progress
        if key[:2] <= (progress.era, progress.step):  # a shard behind was started again after this one had taken it
            await compute(self.trainee.shard.forget)
            return
        await compute(self.trainee.step, self.learning_rate.value)
        progress.era, progress.step = key[:2]
        progress.updates += 1
        updates = progress.updates
        if self.onward is None:  # once for all shards
            self.context.metrics.count("updates")
        if updates % self.publish_every == 0:
            await self.weights.publish(await compute(self.trainee.weights), updates)

    async def finish(self) -> None:
        """Publish the last weights, if they have not been."""
        updates = self.trainee.progress.updates
        if updates % self.publish_every:
            await self.weights.publish(await compute(self.trainee.weights), updates)


def _key(message: Activations) -> Key:
    return message.era, message.step, message.attempt


class Trainee:
    """A shard, its optimiser, and the loss if it is the last.

    ahead: parts that it may hold. next_block: where the shard after it begins.
    """

    def __init__(self, cut: Cut, optimiser: str, device: str, loss: str, parts: int) -> None:
        import torch  # this worker has it imported already; others never do

        from nodes.nets.device import choose_device

        self.shard, begins = cut.made(parts)
        place = begins.index(self.shard.first)
        if (cut.shard < 0) != (place == len(begins) - 1):
            raise SettingError(
                f"shard={place}: of split = {begins} this is the last shard; the node for it is nodes.learn.shard:last"
            )
        self.device: torch.device = choose_device(device)
        self.shard.network.to(self.device)
        parameters = list(self.shard.network.parameters())
        if not parameters:
            raise SettingError(f"shard {place} of split = {begins} has no parameters to learn; cut elsewhere")
        self.optimiser: torch.optim.Optimizer = (
            torch.optim.Adam(parameters) if optimiser == "adam" else torch.optim.SGD(parameters)
        )
        self.progress = Progress()
        self.ahead = len(begins) - place + (SLACK if cut.shard >= 0 else 0)
        self.next_block = begins[place + 1] if cut.shard >= 0 else -1
        self.loss: Any = _loss(loss) if loss else None

    def forward(self, message: Activations) -> Array:
        """Its outputs of a part."""
        outputs = self.shard.forward(self._tensor(message.values), message.step, message.part)
        return _array(outputs)

    def backward(self, part: int, gradients: Array) -> Array:
        """The gradients of what it was given in a part, from those of its outputs; of the first shard, none."""
        flows_on = self.shard.backward(part, self._tensor(gradients))
        return np.zeros((0, 0), np.float32) if flows_on is None else _array(flows_on)

    def judge(self, message: Activations) -> tuple[Array, float]:
        """Of the last shard: the gradients of what it was given in a part, and the part's mean loss."""
        shard = self.shard
        outputs = shard.forward(self._tensor(message.values), message.step, message.part)
        loss = self.loss(outputs, self._tensor(message.label))
        # A mean over the batch is the sum of its parts' means, each weighted by its rows.
        shard.replace_outputs(message.part, loss * message.share)
        flows_on = shard.backward(message.part)
        assert flows_on is not None, "a module has two shards at least"
        return _array(flows_on), float(loss.detach())

    def step(self, learning_rate: float) -> None:
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.optimiser.step()
        self.shard.forget()

    def weights(self) -> Weights:
        from nodes.nets.weights import weights_of

        return Weights(weights_of(self.shard.network))

    def _tensor(self, array: Array) -> torch.Tensor:
        from nodes.nets.weights import tensor_of

        return tensor_of(array, self.device)


def _loss(name: str) -> Any:
    try:
        return find_function(name)
    except NodeTypeError as error:
        raise SettingError(f"loss = {error}") from error


def _array(tensor: torch.Tensor) -> Array:
    array: Array = tensor.detach().cpu().numpy()
    return array
