"""Serves a policy in batches: what lanes see in, actions out.

Weights arrive on a `Latest` port and are taken over between two batches; every answer says which version made it.
A network with memory has it kept here, by lane, so that it need not travel with each question.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

import trio

from flow import Array, Context, Latest, Promises, Range, Serve, compute, node
from nodes.atari_games import GAMES, action_count
from nodes.messages import Actions, Observations, Weights
from nodes.serve.in_parts import answered

if TYPE_CHECKING:
    import torch


@node(
    needs=("torch", "ale_py"),
    promises=Promises(
        given="nodes.given.atari:policy",
        drawn=("actions",),
        seeded=True,
        excused={"C13": "its dice and the memory of lanes are not saved: started again it draws anew"},
    ),
)
async def policy(
    requests: Serve[Observations, Actions],
    weights: Latest[Weights],
    context: Context,
    *,
    game: Annotated[str, GAMES],
    network: Literal["small", "impala"] = "small",
    device: str = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    batch_max: Annotated[int, Range(1, 65536)] = 256,
) -> None:
    """Draw actions from a policy for everyone who asks, all that wait at once.

    Args:
      game: fixes how many actions there are.
      network: which architecture; the weights that arrive must be of the same.
      device: "cpu", "cuda", "cuda:1" or "auto", a GPU if there is one.
      precision: of the convolutions; "auto" is bfloat16 where the device computes in it.
      batch_max: the most lanes in one batch.
    """
    try:
        newest = await weights.wait()
    except trio.EndOfChannel:  # the learner ended before it began; whoever asks is told by this node's end
        return
    served = await compute(Served, game, network, device, precision, context.seed + context.incarnation)
    version = -1
    async for batch in requests.batches(most=batch_max):
        if weights.version != version and weights.newest is not None:
            newest, version = weights.newest, weights.version
            await compute(served.load, newest)
        batch.answer(await compute(served.answer, batch.questions, batch.rows, version))
        if news := served.fits.news():
            context.log(news, "warning")
        context.metrics.gauge("batch_lanes", batch.rows)


class Served:
    """A network on its device, the memory of each lane, and the dice."""

    def __init__(self, game: str, network: str, device: str, precision: str, seed: int) -> None:
        import torch  # this worker has it imported already; others never do

        from nodes.nets.device import choose_device, computes_in_bf16
        from nodes.nets.interface import build
        from nodes.nets.rows_that_fit import RowsThatFit

        self.fits = RowsThatFit()
        self.device = choose_device(device)
        bf16 = computes_in_bf16(self.device) if precision == "auto" else precision == "bfloat16"
        network_module: Any = build(network, action_count(game), bf16=bf16)
        self.network = network_module.to(self.device).eval()
        self.core_size: int = self.network.core_size
        self.cores = torch.zeros(0, self.core_size, device=self.device)
        self.dice = torch.Generator(self.device).manual_seed(seed)

    def load(self, weights: Weights) -> None:
        from nodes.nets.weights import load_weights

        load_weights(self.network, weights.tensors)

    def answer(self, seen: Observations, rows: int, version: int) -> Actions:
        """What to do in each row; rows after `rows` are padding."""
        return answered(self.fits, lambda part, real: Actions(*self.act(part, real), version), seen, rows)

    def act(self, seen: Observations, rows: int) -> tuple[Array, Array, Array]:
        """Actions, logits and the memory before, for each row; rows after `rows` are padding."""
        import torch

        with torch.inference_mode():
            lanes = torch.as_tensor(seen.lane_ids, device=self.device)
            self._make_room(int(seen.lane_ids.max()) + 1)
            first = self._tensor(seen.first)
            before = self.cores[lanes] * ~first[:, None]
            answer = self.network(
                self._tensor(seen.stacks)[None],
                self._tensor(seen.last_rewards)[None],
                self._tensor(seen.last_actions)[None],
                first[None],
                before,
            )
            logits = answer.logits[0]
            # The largest of logits plus Gumbel noise is a draw from the softmax, without forming it.
            noise = torch.empty_like(logits).exponential_(generator=self.dice).log_()
            actions = (logits - noise).argmax(-1)
            said = actions.cpu().numpy(), logits.float().cpu().numpy(), before.cpu().numpy()
            # Last: where memory ran out before, the same rows come again.
            self.cores[lanes[:rows]] = answer.core[:rows]
            return said

    def _make_room(self, lanes: int) -> None:
        import torch

        if lanes > len(self.cores):
            more = torch.zeros(lanes - len(self.cores), self.core_size, device=self.device)
            self.cores = torch.cat([self.cores, more])

    def _tensor(self, array: Array) -> torch.Tensor:
        from nodes.nets.weights import tensor_of

        return tensor_of(array, self.device)
