"""Gives replayed unrolls the memory that the network has of them now.

A replayer looks exactly like an actor (arXiv:1909.11583, Algorithm 1), but steps through stored episodes: it runs the
newest network over what replay sends and hands each unroll on with the memory before it. For a network without memory
there is nothing to do, and unrolls pass as they are.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, Literal

import trio

from flow import Array, Context, In, Latest, Out, Promises, compute, node
from flow.errors import SettingError
from nodes.atari_games import GAMES, action_count
from nodes.messages import Trajectories, Weights

CONTEXT = 3  # frames before an observation's own


@node(needs=("torch", "ale_py"), promises=Promises(given="nodes.given.atari:replayer"))
async def replayer(
    stored: In[Trajectories],
    weights: Latest[Weights],
    replayed: Out[Trajectories],
    context: Context,
    *,
    game: Annotated[str, GAMES],
    network: Literal["small", "impala"] = "small",
    device: str = "auto",
) -> None:
    """Recompute the network's memory along stored episodes, under the newest weights.

    Args:
      game: fixes how many actions there are.
      network: which architecture; one without memory is never run here.
      device: where it runs.
    """
    memory = await compute(Memory, game, network, device)
    version = -1
    async for unrolls in stored:
        if not memory.core_size:
            await replayed.send(unrolls)
            continue
        memory.require_continuation(unrolls)
        try:
            newest = weights.newest or await weights.wait()
        except trio.EndOfChannel:  # the learner ended before it began
            return
        if weights.version != version:
            version = weights.version
            await compute(memory.load, newest)
        cores = await compute(memory.advance, unrolls)
        await replayed.send(dataclasses.replace(unrolls, cores=cores))
        context.metrics.gauge("replayer_version", version)


class Memory:
    """The network and what it remembers of each row."""

    def __init__(self, game: str, network: str, device: str) -> None:
        import torch  # this worker has it imported already

        from nodes.nets.device import choose_device, computes_in_bf16
        from nodes.nets.interface import build

        self.device = choose_device(device)
        module: Any = build(network, action_count(game), bf16=computes_in_bf16(self.device))
        self.network = module.to(self.device).eval()
        self.core_size: int = self.network.core_size
        self.cores = torch.zeros(0, self.core_size, device=self.device)
        self._last_frames: Array | None = None

    def require_continuation(self, unrolls: Trajectories) -> None:
        """Refuse unrolls that do not go on where the ones before them ended, since the memory is of those.

        Raises:
          SettingError: replay sends windows.
        """
        goes_on = unrolls.first[:, 0]
        if self._last_frames is not None and self._last_frames.shape == unrolls.frames[:, -1].shape:
            goes_on = goes_on | (unrolls.frames[:, CONTEXT] == self._last_frames).all((1, 2))
        if not goes_on.all():
            raise SettingError(
                "a network with memory must read episodes from their first step, and these unrolls begin anywhere; "
                'set draw = "episodes" at the replay node'
            )
        self._last_frames = unrolls.frames[:, -1]

    def load(self, weights: Weights) -> None:
        from nodes.nets.weights import load_weights

        load_weights(self.network, weights.tensors)

    def advance(self, unrolls: Trajectories) -> Array:
        """The memory before each unroll, (B, C); afterwards it is what the unrolls leave behind."""
        import torch

        from nodes.learn.inputs import network_inputs

        rows, steps = unrolls.actions.shape
        if len(self.cores) != rows:
            self.cores = torch.zeros(rows, self.core_size, device=self.device)
        before = self.cores.cpu().numpy().copy()
        with torch.inference_mode():
            inputs = network_inputs(unrolls, self.device)
            until_last = [tensor[:steps] for tensor in inputs]
            self.cores = self.network(*until_last, self.cores.to(self.device)).core.clone()
        return before
