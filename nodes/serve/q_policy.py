"""Serves a policy that takes the action of the highest value, and now and then any action, for all who ask at once.

Weights arrive on a `Latest` port and are taken over between two batches; every answer says which version made it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import numpy as np
import trio
from jaxtyping import Int64

from flow import Array, Context, Latest, Live, Message, Promises, Range, Saved, Serve, compute, node
from nodes.experience import Observations
from nodes.messages import Weights

if TYPE_CHECKING:
    from torch import nn


PROMISES = Promises(
    given="nodes.given.learning:q_policy",
    drawn=("actions",),
    seeded=True,
    excused={"C13": "which weights answer depends on when they come, and what was published is not saved here"},
)


class Choices(Message):
    """What to do in each lane."""

    actions: Int64[Array, "rows"]
    version: int
    """Of the weights: how many updates made them."""


@node(needs=("torch",), promises=PROMISES)
async def policy(
    requests: Serve[Observations, Choices],
    weights: Latest[Weights],
    context: Context,
    saved: Saved,
    *,
    inputs: Annotated[int, Range(1)],
    actions: Annotated[int, Range(1)],
    hidden: list[int],
    explore_first: Live[Annotated[float, Range(0, 1)]] = Live(1.0),
    explore_last: Live[Annotated[float, Range(0, 1)]] = Live(0.05),
    explore_updates: Annotated[int, Range(1)] = 10_000,
    device: str = "cpu",
    batch_max: Annotated[int, Range(1, 65536)] = 256,
) -> None:
    """Choose ε-greedy actions for everyone who asks, all that wait at once.

    Args:
      inputs: numbers of one observation, as at the learner.
      actions: how many there are, as at the learner.
      hidden: widths of the hidden layers, as at the learner.
      explore_first: ε, the share of actions drawn at random, before the first update.
      explore_last: ε after `explore_updates` updates; it falls in a straight line.
      explore_updates: over how many updates of the weights ε falls.
      device: where the network runs; a small one is quickest on the CPU.
      batch_max: the most lanes in one batch.
    """
    dice = saved.keep("dice", np.random.default_rng(context.seed))
    try:
        newest = await weights.wait()
    except trio.EndOfChannel:  # the learner ended before it began; whoever asks is told by this node's end
        return
    served = await compute(Served, inputs, actions, hidden, device, dice)
    version = -1
    async for batch in requests.batches(most=batch_max):
        if weights.version != version and weights.newest is not None:
            newest, version = weights.newest, weights.version
            await compute(served.load, newest)
        explore = exploration(version, explore_first.value, explore_last.value, explore_updates)
        chosen = await compute(served.act, batch.questions.observations, batch.rows, explore)
        batch.answer(Choices(chosen, version))
        context.metrics.gauge("exploration", explore)
        context.metrics.gauge("batch_lanes", batch.rows)


def exploration(updates: int, first: float, last: float, over: int) -> float:
    """ε after so many updates."""
    return first + (last - first) * min(max(updates, 0) / over, 1.0)


class Served:
    """A network on its device, and the dice."""

    def __init__(
        self, inputs: int, actions: int, hidden: Sequence[int], device: str, dice: np.random.Generator
    ) -> None:
        from nodes.nets.device import choose_device
        from nodes.nets.perceptron import Perceptron

        self.device = choose_device(device)
        self.actions = actions
        self.network: nn.Module = Perceptron(inputs, hidden, actions).to(self.device).eval()
        self.dice = dice

    def load(self, weights: Weights) -> None:
        from nodes.nets.weights import load_weights

        load_weights(self.network, weights.tensors)

    def act(self, observations: Array, rows: int, explore: float) -> Array:
        """An action for each row, (len(observations),); rows after `rows` are padding and cost no dice."""
        import torch

        from nodes.nets.weights import tensor_of

        with torch.inference_mode():
            seen = tensor_of(observations.astype(np.float32, copy=False), self.device)
            chosen: Array = self.network(seen).argmax(-1).cpu().numpy()
        any_action = self.dice.integers(self.actions, size=rows)
        chosen[:rows] = np.where(self.dice.random(rows) < explore, any_action, chosen[:rows])
        return chosen
