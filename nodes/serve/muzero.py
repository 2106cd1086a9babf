"""Serves MuZero's model in batches: representation, dynamics and prediction, hidden states kept here.

    planners ── observations, slots ────────────► h, f ──► priors, values
             ── slots, actions, new slots ──────► g, f ──► rewards, priors, values
                                     table of hidden states ◄┘

A search asks for one hidden state after another, and a hidden state is large: so it stays on the device, in a slot that
the planner names, and is overwritten when the planner names it again. Nothing needs to be freed.
"""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
import trio

from flow import Array, Context, Latest, Promises, Range, Serve, compute, node
from flow.batch import Batch
from flow.errors import MessageError
from nodes.games.interface import TASKS, task_named
from nodes.games.messages import Evaluations, Roots, Steps
from nodes.messages import Weights
from nodes.serve.in_parts import answered

if TYPE_CHECKING:
    import torch


@node(needs=("torch",), promises=Promises(given="nodes.given.learning:model"))
async def model(
    roots: Serve[Roots, Evaluations],
    steps: Serve[Steps, Evaluations],
    weights: Latest[Weights],
    context: Context,
    *,
    game: Annotated[str, TASKS],
    network: Literal["mlp", "board", "atari"] = "mlp",
    width: Annotated[int, Range(2, 4096)] = 64,
    blocks: Annotated[int, Range(0, 64)] = 2,
    bins: Annotated[int, Range(0, 1000)] = 0,
    device: str = "auto",
    batch_max: Annotated[int, Range(1, 65536)] = 1024,
    slots_max: Annotated[int, Range(1)] = 1_000_000,
) -> None:
    """Answer what planners ask of the model, all that wait at once. One replica: it keeps their hidden states.

    Args:
      game: fixes what an observation is and how many actions there are.
      network: which architecture; the weights that arrive must be of the same.
      width: units of a layer, or planes.
      blocks: residual blocks; "mlp" has none.
      bins: n of heads over -n … n; 0: one number.
      device: "cpu", "cuda", "cuda:1" or "auto", a GPU if there is one.
      batch_max: the most rows in one batch.
      slots_max: hidden states that one planner may keep.
    """
    try:
        newest = await weights.wait()
    except trio.EndOfChannel:  # the learner ended before it began; whoever asks is told by this node's end
        return
    task = task_named(game)
    # Unlike that of any other start or replica of this node, so that a planner sees when its hidden states are gone.
    epoch = zlib.crc32(f"{context.name} {context.replica} {context.incarnation}".encode())
    served = await compute(
        Served, task.observation_shape, task.actions, network, width, blocks, bins, device, slots_max, epoch,
        task.action_planes(),
    )  # fmt: skip
    await compute(served.load, newest, weights.version)

    async def answer(port: Serve[Any, Evaluations], what: Any) -> None:
        async for batch in port.batches(most=batch_max):
            if weights.version != served.version and weights.newest is not None:
                await compute(served.load, weights.newest, weights.version)
            await _answer(batch, served, what, context)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(answer, roots, served.roots)
        nursery.start_soon(answer, steps, served.steps)


async def _answer(batch: Batch[Any, Evaluations], served: Served, what: Any, context: Context) -> None:
    batch.answer(await compute(answered, served.fits, what, batch.questions, batch.rows))
    context.metrics.gauge("batch_rows", batch.rows)
    if news := served.fits.news():
        context.log(news, "warning")


class Served:
    """A network on its device and, by planner, a table of hidden states.

    version: of the weights, -1 before any.
    """

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        actions: int,
        network: str,
        width: int = 64,
        blocks: int = 2,
        bins: int = 0,
        device: str = "cpu",
        slots_max: int = 1_000_000,
        epoch: int = 0,
        action_planes: Array | None = None,
    ) -> None:
        from nodes.nets.device import choose_device  # this worker has torch imported already; others never do
        from nodes.nets.muzero import build
        from nodes.nets.rows_that_fit import RowsThatFit

        self.fits = RowsThatFit()
        self.device = choose_device(device)
        made: Any = build(
            network,
            observation_shape,
            actions,
            width=width,
            blocks=blocks,
            bins=bins,
            action_planes=action_planes,
        )
        self.network = made.to(self.device).eval()
        self.version = -1
        self._slots_max, self._epoch = slots_max, epoch
        self._tables: dict[int, torch.Tensor] = {}

    def load(self, weights: Weights, version: int) -> None:
        """Take over newer weights."""
        from nodes.nets.weights import load_weights

        load_weights(self.network, weights.tensors)
        self.version = version

    def roots(self, asked: Roots, rows: int) -> Evaluations:
        """Represent observations; rows after `rows` are padding."""
        import torch

        with torch.inference_mode():
            hidden = self.network.represent(torch.as_tensor(np.asarray(asked.observations), device=self.device))
            self._keep(asked.planners[:rows], asked.slots[:rows], hidden[:rows])
            return self._evaluated(hidden, np.zeros(len(hidden), np.float32))

    def steps(self, asked: Steps, rows: int) -> Evaluations:
        """Imagine moves; rows after `rows` are padding."""
        import torch

        from nodes.algo.value_transform import read

        with torch.inference_mode():
            before = self._kept(asked.planners[:rows], asked.parents[:rows])
            if len(asked.actions) > rows:
                padding = before.new_zeros(len(asked.actions) - rows, *before.shape[1:])
                before = torch.cat([before, padding])
            hidden, reward = self.network.dynamics(before, torch.as_tensor(asked.actions, device=self.device))
            self._keep(asked.planners[:rows], asked.slots[:rows], hidden[:rows])
            return self._evaluated(hidden, read(reward).float().cpu().numpy())

    def _evaluated(self, hidden: torch.Tensor, rewards: Array) -> Evaluations:
        from nodes.algo.value_transform import read

        logits, value = self.network.predict(hidden)
        values = read(value).float().cpu().numpy()
        return Evaluations(rewards, logits.float().cpu().numpy(), values, self._epoch, self.version)

    def _keep(self, planners: Array, slots: Array, hidden: torch.Tensor) -> None:
        import torch

        for planner, rows in _by_planner(planners):
            own = slots[rows]
            if own.min() < 0 or own.max() >= self._slots_max:
                raise MessageError(
                    f"a planner names slot {int(own.max())} for a hidden state, one may keep {self._slots_max}; "
                    "raise slots_max, or plan for fewer positions or with fewer simulations"
                )
            table = self._tables.get(planner)
            most = int(own.max()) + 1
            if table is None or len(table) < most:
                # Twice what is needed: a search names its slots in rising order.
                grown = hidden.new_zeros(min(2 * most, self._slots_max), *hidden.shape[1:])
                if table is not None:
                    grown[: len(table)] = table
                self._tables[planner] = table = grown
            table[torch.as_tensor(own, device=self.device)] = hidden[rows]

    def _kept(self, planners: Array, slots: Array) -> torch.Tensor:
        """Hidden states by slot; zeros where this start of the model has none, which the epoch tells the planner."""
        import torch

        kept = torch.zeros(len(slots), *self.network.hidden_shape, device=self.device)
        for planner, rows in _by_planner(planners):
            table = self._tables.get(planner)
            if table is not None:
                own = slots[rows]
                there = torch.as_tensor((own >= 0) & (own < len(table)), device=self.device)
                found = table[torch.as_tensor(np.clip(own, 0, len(table) - 1), device=self.device)]
                kept[rows] = found * there.view(-1, *[1] * len(self.network.hidden_shape))
        return kept


def _by_planner(planners: Array) -> list[tuple[int, Any]]:
    """Each planner, and which rows are its."""
    if not len(planners):  # a part of a batch may be padding alone
        return []
    if (planners == planners[0]).all():  # nearly always
        return [(int(planners[0]), slice(None))]
    return [(int(planner), np.flatnonzero(planners == planner)) for planner in np.unique(planners)]
