"""LASER's learner: V-trace with a trust region on a mix of online and replayed unrolls (arXiv:1909.11583).

online ───────╮
              ├─► batch ──► update ──► weights, version by version
replayed ─────╯
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from flow import Context, In, Live, Promises, Publish, Range, Saved, compute, node
from flow.errors import SettingError
from nodes.atari_games import FRAME_SKIP, GAMES, action_count
from nodes.learn.mixing import Pile, joined
from nodes.learn.parallel import Group, closing, join
from nodes.messages import Trajectories, Weights

if TYPE_CHECKING:
    import torch


@dataclass
class Progress:
    """How far a learner is; kept in checkpoints."""

    updates: int = 0
    online_steps: int = 0
    learned_steps: int = 0


@dataclass(frozen=True)
class Recipe:
    """What an update does; see `learner` for each."""

    discount: float
    trust: float
    value_cost: float
    reward_max: float
    gradient_norm_max: float


@node(
    needs=("torch", "ale_py"),
    promises=Promises(
        given="nodes.given.atari:learner",
        seeded=True,
        excused={"C13": "unrolls that wait for the rest of their batch are not saved; replay has them"},
    ),
)
async def learner(
    online: In[Trajectories],
    replayed: In[Trajectories],
    weights: Publish[Weights],
    context: Context,
    saved: Saved,
    *,
    game: Annotated[str, GAMES],
    network: Literal["small", "impala"] = "small",
    device: str = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    batch: Annotated[int, Range(1, 65536)] = 32,
    replay_share: Annotated[float, Range(0, 0.99)] = 0.5,
    optimiser: Literal["rmsprop", "adam"] = "rmsprop",
    learning_rate: Live[Annotated[float, Range(0, 1)]],
    anneal_frames: Annotated[int, Range(0)] = 0,
    epsilon: Annotated[float, Range(0, 1)] = 0.01,
    entropy_cost: Live[Annotated[float, Range(0, 1)]],
    value_cost: Annotated[float, Range(0)] = 0.5,
    discount: Annotated[float, Range(0, 1)] = 0.99,
    trust: Annotated[float, Range(0)] = 0.3,
    reward_max: Annotated[float, Range(0)] = 1.0,
    gradient_norm_max: Annotated[float, Range(0)] = 40.0,
) -> None:
    """Learn a policy and its value from online and replayed unrolls, and publish the weights after each update.

    Several replicas take each update together, on `batch` unrolls each.

    Args:
      game: fixes how many actions there are.
      network: which architecture.
      device: where it learns.
      precision: of the convolutions; "auto" is bfloat16 where the device computes in it.
      batch: unrolls in an update.
      replay_share: of them, how many are replayed; until the first sample comes, none are.
      optimiser: RMSProp (decay 0.99, as in the paper) or Adam.
      learning_rate: at the start.
      anneal_frames: emulator frames over which it falls to 0 in a straight line; 0 keeps it.
      epsilon: of the optimiser, added outside the root.
      entropy_cost: c_H, on the online part alone.
      value_cost: c_v.
      discount: γ.
      trust: b of the trust region; a replayed state counts while the policy's KL to what it can learn there is less.
      reward_max: rewards are clipped to ± this.
      gradient_norm_max: the gradient is scaled down to this norm.
    """
    share = round(batch * replay_share)
    if share == batch:
        raise SettingError(f"replay_share={replay_share} of batch={batch} leaves no online unroll; lower it")
    recipe = Recipe(discount, trust or math.inf, value_cost, reward_max, gradient_norm_max)
    student = await compute(Student, game, network, device, precision, optimiser, epsilon, recipe, context.seed)
    saved.keep("network", student.network)
    saved.keep("optimiser", student.optimiser)
    progress = saved.keep("progress", Progress())
    group = student.group = await join(context, saved, student.device)

    async def learn(mixed: Trajectories | None, count: int, rate: float) -> None:
        learned = await compute(student.update, mixed, count, rate, entropy_cost.value)
        if learned is not None:
            _note(progress, context, mixed, count, learned[0])
            if context.replica == 0:  # one speaks for all
                await weights.publish(learned[1], progress.updates)

    with closing(group):
        if context.replica == 0:
            await weights.publish(student.weights(), progress.updates)
        fresh, old = Pile(), Pile()
        began = False
        async for unrolls in online:
            fresh.add(unrolls)
            while fresh.unrolls >= batch - share:
                began = began or _has_begun(replayed, old)
                if began and share and not await _fill(old, replayed, share):
                    share = 0  # replay ended, as a run drains: what is left online is learned alone
                    continue
                pieces = fresh.take(batch - share)
                count = sum(len(piece.actions) for piece in pieces)
                mixed = joined([*pieces, *(old.take(share) if began and share else [])])
                gone = FRAME_SKIP * progress.online_steps * context.replicas
                left = max(1 - gone / anneal_frames, 0) if anneal_frames else 1.0
                await learn(mixed, count, learning_rate.value * left)
        while group is not None and not group.over:  # other replicas may have unrolls left
            await learn(None, 0, 0.0)


def _has_begun(replayed: In[Trajectories], old: Pile) -> bool:
    """Whether replay has enough to send; till then nobody waits for it, since it waits for more to be inserted."""
    sample = replayed.receive_nowait()
    if sample is not None:
        old.add(sample)
    return sample is not None


async def _fill(old: Pile, replayed: In[Trajectories], share: int) -> bool:
    """Wait for enough replayed unrolls; False when no more will come."""
    while old.unrolls < share:
        async for sample in replayed:
            old.add(sample)
            break
        else:
            return False
    return True


def _note(
    progress: Progress, context: Context, mixed: Trajectories | None, online: int, statistics: dict[str, float]
) -> None:
    """Write down what an update did, and what this replica gave to it."""
    metrics = context.metrics
    progress.updates += 1
    if context.replica == 0:
        metrics.count("updates")
    if mixed is None:
        return
    lag = progress.updates - 1 - mixed.versions[:online].mean()
    progress.online_steps += online * mixed.actions.shape[1]
    progress.learned_steps += mixed.actions.size
    metrics.count("learned_steps", mixed.actions.size)
    metrics.gauge("policy_lag", float(lag))
    if online < len(mixed.versions):
        metrics.gauge("replay_age", float(progress.updates - mixed.versions[online:].mean()))
    for name, value in statistics.items():
        metrics.record(name, value)


class Student:
    """The network, its optimiser, and one update of it."""

    def __init__(
        self,
        game: str,
        network: str,
        device: str,
        precision: str,
        optimiser: str,
        epsilon: float,
        recipe: Recipe,
        seed: int,
    ) -> None:
        import torch  # this worker has it imported already; others never do

        from nodes.nets.device import choose_device, computes_in_bf16
        from nodes.nets.interface import build

        self.device = choose_device(device)
        self.recipe = recipe
        bf16 = computes_in_bf16(self.device) if precision == "auto" else precision == "bfloat16"
        torch.manual_seed(seed)
        module: Any = build(network, action_count(game), bf16=bf16)
        self.network = module.to(self.device)
        parameters = self.network.parameters()
        self.optimiser: torch.optim.Optimizer = (
            torch.optim.RMSprop(parameters, alpha=0.99, eps=epsilon)
            if optimiser == "rmsprop"
            else torch.optim.Adam(parameters, eps=epsilon, fused=True)
        )
        self._stacks: torch.Tensor | None = None
        self.group: Group | None = None

    def weights(self) -> Weights:
        from nodes.nets.weights import weights_of

        return Weights(weights_of(self.network))

    def update(
        self, unrolls: Trajectories | None, online: int, learning_rate: float, entropy_cost: float
    ) -> tuple[dict[str, float], Weights] | None:
        """One step on unrolls of which the first `online` are fresh; what it was like, and the weights after it.

        Args:
          unrolls: None where other replicas alone have some.

        Returns:
          Statistics of this replica's unrolls; None if no replica has any.
        """
        import torch

        self.optimiser.zero_grad(set_to_none=True)
        statistics = {} if unrolls is None else self._gradients(unrolls, online, entropy_cost)
        if self.group is not None:
            rows = 0 if unrolls is None else len(unrolls.actions)
            rows, (learning_rate,) = self.group.average(self.network.parameters(), rows, [learning_rate])
            if not rows:
                return None
        torch.nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.gradient_norm_max)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate
        self.optimiser.step()
        return statistics, self.weights()

    def _gradients(self, unrolls: Trajectories, online: int, entropy_cost: float) -> dict[str, float]:
        """Of the loss, left at the parameters; its statistics."""
        import torch

        from nodes.algo.laser import laser_loss
        from nodes.learn.inputs import loss_inputs, network_inputs
        from nodes.nets.weights import tensor_of

        lanes, steps = unrolls.actions.shape
        shape = (steps + 1, lanes, 4, *unrolls.frames.shape[2:])
        if self._stacks is None or tuple(self._stacks.shape) != shape:
            self._stacks = torch.empty(shape, dtype=torch.uint8, device=self.device)
        inputs = network_inputs(unrolls, self.device, self._stacks)
        fresh = torch.arange(lanes, device=self.device) < online
        cores = tensor_of(unrolls.cores, self.device)
        answer = self.network(*inputs, cores)
        loss = laser_loss(
            answer.logits,
            answer.value,
            loss_inputs(unrolls, fresh, self.device, self.recipe.reward_max),
            discount=self.recipe.discount,
            trust=self.recipe.trust,
            value_cost=self.recipe.value_cost,
            entropy_cost=entropy_cost,
        )
        loss.total.backward()  # type: ignore[no-untyped-call]
        # Read here and not by the caller: on a GPU each waits for the update, and the loop must not.
        return {name: float(value) for name, value in loss.statistics._asdict().items()}
