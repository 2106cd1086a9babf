"""Learns the value of actions from replayed transitions: double DQN with returns over n steps.

    samples ──► n-step returns, target network ──► update ──► weights, version by version
                                                          ──► priorities: how wrong each value was

Source: Mnih et al., Nature 518, 2015; double Q-learning, arXiv:1509.06461; a target network that follows slowly as in
DDPG, arXiv:1509.02971.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, NamedTuple

import numpy as np
from jaxtyping import Bool, Float32, Int64

from flow import Array, Context, In, Live, Message, Out, Promises, Publish, Range, Saved, compute, node
from flow.errors import SettingError
from nodes.algo.q_learning import n_step_returns
from nodes.messages import Priorities, Weights

if TYPE_CHECKING:
    from torch import nn


PROMISES = Promises(
    given="nodes.given.learning:q_learner",
    seeded=True,
)


class Experience(Message):
    """Windows of transitions, one a row; what follows an action within its window is what is learned of it."""

    observations: Float32[Array, "rows steps ..."]
    actions: Int64[Array, "rows steps"]
    rewards: Float32[Array, "rows steps"]
    next_observations: Float32[Array, "rows steps ..."]
    """What followed each action."""
    terminated: Bool[Array, "rows steps"]
    truncated: Bool[Array, "rows steps"]
    first: Bool[Array, "rows steps"]
    handles: Int64[Array, "rows"]
    """Of each window, for its priority."""
    weights: Float32[Array, "rows"]
    """How much each window counts."""


@dataclass
class Progress:
    """How far a learner is; kept in checkpoints."""

    updates: int = 0


@dataclass(frozen=True)
class Recipe:
    """What an update does; see `learner` for each."""

    n_steps: int
    discount: float
    target_mix: float
    return_max: float
    gradient_norm_max: float


@node(needs=("torch",), promises=PROMISES)
async def learner(
    samples: In[Experience],
    weights: Publish[Weights],
    priorities: Out[Priorities],
    context: Context,
    saved: Saved,
    *,
    inputs: Annotated[int, Range(1)],
    actions: Annotated[int, Range(1)],
    hidden: list[int],
    learning_rate: Live[Annotated[float, Range(0, 1)]] = Live(1e-3),
    anneal_updates: Annotated[int, Range(0)] = 0,
    n_steps: Annotated[int, Range(1)] = 1,
    discount: Annotated[float, Range(0, 1)] = 0.99,
    target_mix: Annotated[float, Range(0, 1)] = 0.005,
    return_max: Annotated[float, Range(0)] = 0.0,
    gradient_norm_max: Annotated[float, Range(0)] = 10.0,
    device: str = "auto",
) -> None:
    """Take a step of Adam on each sample, and publish the weights; their version is the count of updates.

    Args:
      inputs: numbers of one observation, all its dimensions together.
      actions: how many there are.
      hidden: widths of the hidden layers.
      learning_rate: of Adam, at the start.
      anneal_updates: updates over which it falls to 0 in a straight line; 0 keeps it.
      n_steps: rewards that are summed before the target network is asked; windows must be as long or longer.
      discount: γ.
      target_mix: τ, how much of the network the target network takes over after each update.
      return_max: what is learned is kept within ± this: the largest reward / (1 - γ), for instance; 0 sets no bound.
      gradient_norm_max: the gradient is scaled down to this norm.
      device: "cpu", "cuda", "cuda:1" or "auto", a GPU if there is one.
    """
    recipe = Recipe(n_steps, discount, target_mix, return_max or math.inf, gradient_norm_max)
    student = await compute(Student, inputs, actions, hidden, device, recipe, context.seed)
    saved.keep("network", student.network)
    saved.keep("target", student.target)
    saved.keep("optimiser", student.optimiser)
    progress = saved.keep("progress", Progress())
    await weights.publish(student.weights(), progress.updates)
    async for sample in samples:
        if not sample.rewards.size:
            continue
        left = max(1 - progress.updates / anneal_updates, 0) if anneal_updates else 1.0
        loss, value, errors = await compute(student.update, sample, learning_rate.value * left)
        progress.updates += 1
        context.metrics.count("updates")
        context.metrics.record("loss", loss)
        context.metrics.record("value", value)
        await weights.publish(student.weights(), progress.updates)
        await priorities.send(Priorities(sample.handles, errors))


class Lessons(NamedTuple):
    """What is learned from a sample: L actions, and what each led to."""

    observations: Array
    """(L, ...) where the action was taken."""
    actions: Array
    """(L,)."""
    rewards: Array
    """(L,) discounted, over up to n steps."""
    discounts: Array
    """(L,) of the value of `followed`; 0 where nothing follows."""
    followed: Array
    """(L, ...) what was observed after those steps."""


def lessons(sample: Experience, n_steps: int, discount: float) -> Lessons:
    """All that windows (B, T) say of actions with n steps behind them: L = B (T - n + 1).

    Raises:
      SettingError: windows are shorter than n steps.
    """
    rows, steps = sample.rewards.shape
    starts = steps - n_steps + 1
    if starts < 1:
        raise SettingError(f"windows of {steps} steps hold no n_steps={n_steps}; set steps of the replay to it or more")

    def windows(values: Array) -> Array:
        """(L, n) of (B, T)."""
        return np.lib.stride_tricks.sliding_window_view(values, n_steps, 1).reshape(-1, n_steps)

    returns = n_step_returns(
        windows(sample.rewards),
        windows(sample.terminated),
        windows(sample.truncated),
        windows(sample.first),
        discount=discount,
    )
    row = np.repeat(np.arange(rows), starts)
    start = np.tile(np.arange(starts), rows)
    return Lessons(
        sample.observations[row, start],
        sample.actions[row, start],
        returns.rewards,
        returns.discounts,
        sample.next_observations[row, start + returns.last],
    )


class Student:
    """The network, the target network, the optimiser, and one update of them."""

    def __init__(
        self, inputs: int, actions: int, hidden: Sequence[int], device: str, recipe: Recipe, seed: int
    ) -> None:
        import torch  # this worker has it imported already; others never do

        from nodes.nets.device import choose_device
        from nodes.nets.perceptron import Perceptron

        self.device = choose_device(device)
        self.recipe = recipe
        torch.manual_seed(seed)
        self.network: nn.Module = Perceptron(inputs, hidden, actions).to(self.device)
        self.target: nn.Module = copy.deepcopy(self.network).requires_grad_(False)
        self.optimiser = torch.optim.Adam(self.network.parameters(), fused=True)

    def weights(self) -> Weights:
        from nodes.nets.weights import weights_of

        return Weights(weights_of(self.network))

    def update(self, sample: Experience, learning_rate: float) -> tuple[float, float, Array]:
        """One step on a sample; its loss, the mean value of what was done, and (B,) the mean |error| of each window."""
        import torch
        from torch.nn import functional as F

        from nodes.nets.weights import tensor_of

        lesson = lessons(sample, self.recipe.n_steps, self.recipe.discount)
        taken = tensor_of(lesson.actions, self.device)[:, None]
        with torch.no_grad():
            after = tensor_of(lesson.followed, self.device)
            # Double: the network chooses the action, the target network says what it is worth.
            best = self.network(after).argmax(-1, keepdim=True)
            worth = self.target(after).gather(-1, best)[:, 0]
            goal = tensor_of(lesson.rewards, self.device) + tensor_of(lesson.discounts, self.device) * worth
            # Overestimates feed on themselves; those that no return could be are known to be wrong.
            goal = goal.clamp(-self.recipe.return_max, self.recipe.return_max)
        values = self.network(tensor_of(lesson.observations, self.device)).gather(-1, taken)[:, 0]
        # Each window counts as replay says, so that what is drawn more often does not count for more.
        counted = tensor_of(np.repeat(sample.weights, len(lesson.actions) // len(sample.weights)), self.device)
        loss = (counted * F.smooth_l1_loss(values, goal, reduction="none")).mean()
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.gradient_norm_max)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.optimiser.step()
        with torch.no_grad():
            torch._foreach_lerp_(
                list(self.target.parameters()), list(self.network.parameters()), self.recipe.target_mix
            )
        errors = (values.detach() - goal).abs().reshape(len(sample.weights), -1).mean(1)
        return float(loss.detach()), float(values.detach().mean()), errors.cpu().numpy()
