"""MuZero's learner: the model unrolled along stretches of stored games (arXiv:1911.08265).

samples ──► unroll K steps ──► update ──► weights, every so many updates
                                      ──► priorities: how wrong each value was
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from flow import Array, Context, In, Live, Out, Play, Promises, Publish, Range, Saved, compute, node
from flow.errors import MessageError
from nodes.games.interface import TASKS, task_named
from nodes.games.messages import Samples
from nodes.messages import Priorities, Weights

if TYPE_CHECKING:
    import torch


@dataclass
class Progress:
    """How far a learner is; kept in checkpoints."""

    updates: int = 0


@node(
    needs=("torch",),
    promises=Promises(
        given="nodes.given.learning:muzero_learner",
        seeded=True,
    ),
    play=Play("nodes.games.terminal:play", same=("game", "network", "width", "blocks", "bins")),
)
async def learner(
    samples: In[Samples],
    priorities: Out[Priorities],
    weights: Publish[Weights],
    context: Context,
    saved: Saved,
    *,
    game: Annotated[str, TASKS],
    network: Literal["mlp", "board", "atari"] = "mlp",
    width: Annotated[int, Range(2, 4096)] = 64,
    blocks: Annotated[int, Range(0, 64)] = 2,
    bins: Annotated[int, Range(0, 1000)] = 0,
    device: str = "auto",
    optimiser: Literal["sgd", "adam"] = "adam",
    learning_rate: Live[Annotated[float, Range(0, 1)]],
    decay_updates: Annotated[int, Range(0)] = 0,
    weight_decay: Annotated[float, Range(0, 1)] = 1e-4,
    value_cost: Annotated[float, Range(0)] = 1.0,
    publish_every: Annotated[int, Range(1)] = 100,
) -> None:
    """Learn representation, dynamics and prediction together, and publish them.

    Args:
      game: fixes what an observation is and how many actions there are.
      network: which architecture.
      width: units of a layer, or planes.
      blocks: residual blocks; "mlp" has none.
      bins: n of value and reward heads over -n … n, learned by cross-entropy; 0: one number, by squared error.
      device: where it learns.
      optimiser: SGD with momentum 0.9, as in the paper, or Adam.
      learning_rate: at the start.
      decay_updates: it falls to a tenth in so many updates, continuously; 0 keeps it.
      weight_decay: c of c·‖θ‖².
      value_cost: weight of the value's loss.
      publish_every: updates from one publication to the next.
    """
    task = task_named(game)
    student = await compute(
        Student,
        task.observation_shape,
        task.actions,
        network,
        width,
        blocks,
        bins,
        device,
        optimiser,
        weight_decay,
        value_cost,
        context.seed,
        task.action_planes(),
    )
    saved.keep("network", student.network)
    saved.keep("optimiser", student.optimiser)
    progress = saved.keep("progress", Progress())
    await weights.publish(await compute(student.weights), progress.updates)
    published = progress.updates
    metrics = context.metrics
    metrics.count("updates", 0)  # the first may come after minutes of play
    async for sample in samples:
        rate = learning_rate.value * (0.1 ** (progress.updates / decay_updates) if decay_updates else 1.0)
        statistics, errors = await compute(student.update, sample, rate)
        metrics.gauge("policy_age", progress.updates - float(sample.versions.mean()))
        progress.updates += 1
        metrics.count("updates")
        metrics.count("learned_positions", len(sample.handles))
        for name, value in statistics.items():
            metrics.record(name, value)
        if progress.updates % publish_every == 0:
            await weights.publish(await compute(student.weights), progress.updates)
            published = progress.updates
        await priorities.send(Priorities(sample.handles, errors))
    if published != progress.updates:
        await weights.publish(await compute(student.weights), progress.updates)


class Student:
    """The network, its optimiser, and one update of it."""

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        actions: int,
        network: str,
        width: int,
        blocks: int,
        bins: int,
        device: str,
        optimiser: str,
        weight_decay: float,
        value_cost: float,
        seed: int,
        action_planes: Array | None = None,
    ) -> None:
        import torch  # this worker has it imported already; others never do

        from nodes.nets.device import choose_device
        from nodes.nets.muzero import build

        self.device = choose_device(device)
        self._value_cost = value_cost
        self._shape, self._actions = observation_shape, actions
        torch.manual_seed(seed)
        made: Any = build(
            network,
            observation_shape,
            actions,
            width=width,
            blocks=blocks,
            bins=bins,
            action_planes=action_planes,
        )
        self.network = made.to(self.device)
        parameters = self.network.parameters()
        self.optimiser: torch.optim.Optimizer = (
            torch.optim.SGD(parameters, momentum=0.9, weight_decay=weight_decay)
            if optimiser == "sgd"
            else torch.optim.Adam(parameters, weight_decay=weight_decay, fused=True)
        )

    def weights(self) -> Weights:
        """A copy of the network's weights."""
        from nodes.nets.weights import weights_of

        return Weights(weights_of(self.network))

    def update(self, sample: Samples, learning_rate: float) -> tuple[dict[str, float], Any]:
        """One step; what it was like, and (B,) |v - z| before it.

        Raises:
          MessageError: the sample is of another game.
        """
        import torch

        from nodes.algo.muzero_loss import Targets, muzero_loss
        from nodes.nets.muzero import unroll
        from nodes.nets.weights import tensor_of

        found = (tuple(sample.observations.shape[1:]), sample.policies.shape[2])
        if found != (self._shape, self._actions):
            raise MessageError(
                f"samples of positions {found[0]} with {found[1]} actions, expected {self._shape} with "
                f"{self._actions}: they are of another game; give every node the same"
            )
        targets = Targets(
            *(
                tensor_of(getattr(sample, name), self.device)
                for name in ("policies", "values", "rewards", "real", "weights")
            )
        )
        observations, actions = (tensor_of(array, self.device) for array in (sample.observations, sample.actions))
        loss = muzero_loss(unroll(self.network, observations, actions), targets, value_cost=self._value_cost)
        self.optimiser.zero_grad(set_to_none=True)
        loss.total.backward()  # type: ignore[no-untyped-call]
        if not torch.isfinite(loss.total):
            raise FloatingPointError("the loss is no longer a number; lower learning_rate")
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.optimiser.step()
        statistics = {"policy_loss": loss.policy, "value_loss": loss.value, "reward_loss": loss.reward}
        return {name: float(value) for name, value in statistics.items()}, loss.priorities.cpu().numpy()
