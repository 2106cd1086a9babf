"""A module that is a row of blocks, cut into shards; and one shard of it, which runs micro-batches both ways.

    values ──► blocks 0 … 2 ──► values ──► blocks 3 … 6 ──► outputs
           ◄── shard 0      ◄── gradients ◄── shard 1       ◄── of the loss

What a shard computes is what the whole module would: the same blocks on the same rows, gradients added up over the
parts of a batch. Batch normalisation is refused where a batch has several parts, since it would see each by itself.
Dropout draws its masks from a seed, the step, the part and the block, so that they do not depend on the cut.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from threading import Lock
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.dropout import _DropoutNd

from flow.errors import SettingError

# The process has one generator, which shards in threads of one worker would disturb each other's use of.
_dice = Lock()


@contextmanager
def seeded(text: str, device: torch.device | None = None) -> Iterator[None]:
    """Random numbers of a seed made of `text`; those that the process draws otherwise go on as if nothing was drawn."""
    devices = [device] if device is not None and device.type == "cuda" else []
    with _dice, torch.random.fork_rng(devices):
        torch.manual_seed(zlib.crc32(text.encode()))
        yield


def blocks_of(module: nn.Module) -> list[nn.Module]:
    """The blocks that a module runs one after the other: an nn.Sequential's members, or what its `blocks()` returns.

    Raises:
      SettingError: it is no such row, or two of its blocks share parameters.
    """
    name = type(module).__name__
    made = module.blocks() if callable(getattr(module, "blocks", None)) else module  # type: ignore[operator]
    if not isinstance(made, (nn.Sequential, nn.ModuleList, list, tuple)) or not len(made):
        raise SettingError(
            f"module {name} is no row of blocks: make it an nn.Sequential, or give it a method blocks() that returns "
            "the modules it runs one after the other"
        )
    blocks = list(made)
    owners: dict[int, int] = {}
    for index, block in enumerate(blocks):
        for tensor in block.parameters():
            if owners.setdefault(id(tensor), index) != index:
                raise SettingError(
                    f"module {name}: blocks {owners[id(tensor)]} and {index} share parameters, which two shards "
                    "cannot; give each its own, or make one block of both"
                )
    return blocks


def costs(blocks: Sequence[nn.Module], by: str, shape: Sequence[int] = ()) -> list[int]:
    """What each block costs: its parameters, or its multiplications for one row of this shape.

    Args:
      by: "parameters" or "flops".
    """
    if by == "parameters":
        return [sum(tensor.numel() for tensor in block.parameters()) for block in blocks]
    from torch.utils.flop_counter import FlopCounterMode

    found = []
    values = torch.zeros(1, *shape)
    with torch.no_grad():
        for index, block in enumerate(blocks):
            try:
                with FlopCounterMode(display=False) as counter:
                    values = block.eval()(values)
            except RuntimeError as error:
                raise SettingError(
                    f"shape = {list(shape)}: block {index}, a {type(block).__name__}, does not take it: {error}; "
                    "give the shape of one row of the module's input"
                ) from error
            found.append(counter.get_total_flops())
    return found


def balanced(costs: Sequence[int], shards: int) -> list[int]:
    """Where each shard begins, so that the dearest costs as little as can be; each has at least one block.

    Raises:
      SettingError: there are fewer blocks than shards.
    """
    blocks = len(costs)
    if not 1 <= shards <= blocks:
        raise SettingError(f"shards={shards}: the module has {blocks} blocks, and each shard needs one")
    until = [0, *(sum(costs[: index + 1]) for index in range(blocks))]
    # best[n]: the dearest shard, and where the last begins, if the first n blocks are cut into as many as so far
    best: list[tuple[int, list[int]]] = [(until[n], [0]) for n in range(blocks + 1)]
    for made in range(2, shards + 1):
        best = [
            min(
                ((max(best[begin][0], until[n] - until[begin]), [*best[begin][1], begin]) for begin in range(1, n)),
                default=(1 << 62, []),
            )
            if n >= made
            else (1 << 62, [])
            for n in range(blocks + 1)
        ]
    return best[blocks][1]


def require_split(split: Sequence[int], blocks: int) -> None:
    """Hold a split, where each shard begins, to the number of blocks.

    Raises:
      SettingError: it does not begin at 0, does not grow, or goes beyond the last block.
    """
    grows = all(before < after for before, after in pairwise(split))
    if not split or split[0] != 0 or not grows or split[-1] >= blocks:
        raise SettingError(
            f"split = {list(split)} of {blocks} blocks: write where each shard begins, from 0 on and growing, as in "
            f"split = [0, {max(1, blocks // 2)}]"
        )


def require_parts(blocks: Sequence[nn.Module], parts: int, first: int = 0) -> None:
    """Refuse blocks whose outputs depend on how a batch is cut into parts.

    Raises:
      SettingError: names the block.
    """
    if parts == 1:
        return
    for index, block in enumerate(blocks):
        if any(isinstance(module, _BatchNorm) for module in block.modules()):
            raise SettingError(
                f"block {first + index}, a {type(block).__name__}, normalises over the batch, of which it would see "
                f"{parts} parts one by one; use GroupNorm or LayerNorm, or micro_batches = 1"
            )


class Shard:
    """Some blocks of a module, run on the parts of a batch; backwards in the order in which they went forwards.

    Args:
      blocks: its own, in order.
      first: which block of the whole the first of them is.
      seed: of dropout's masks.
    """

    def __init__(self, blocks: Sequence[nn.Module], first: int, seed: int = 0) -> None:
        self.first = first
        self.seed = seed
        self.network = nn.Sequential()
        for index, block in enumerate(blocks):
            self.network.add_module(str(first + index), block)  # the name it has in an nn.Sequential of all
        self._draws = [_draws(block) for block in blocks]
        self._in_place = any(getattr(module, "inplace", False) for module in self.network.modules())
        self._kept: dict[int, tuple[Tensor, Tensor]] = {}

    @property
    def under_way(self) -> int:
        """Parts that went forwards and not yet backwards; their activations are kept."""
        return len(self._kept)

    def forward(self, values: Tensor, step: int, part: int) -> Tensor:
        """A part's outputs, kept for `backward`. Gradients flow back to `values` unless this is the first shard."""
        values = values.detach()
        if self.first:
            values.requires_grad_()
        outputs = self._run(values.clone() if self._in_place else values, step, part)
        self._kept[part] = values, outputs
        return outputs

    def backward(self, part: int, gradients: Tensor | None = None) -> Tensor | None:
        """Add the gradients of a part to the parameters'; what flows on to the shard before, None from the first.

        Args:
          gradients: of the part's outputs; none if those are the loss, a scalar.
        """
        values, outputs = self._kept.pop(part)
        torch.autograd.backward(outputs, gradients)
        return values.grad

    def replace_outputs(self, part: int, outputs: Tensor) -> None:
        """Let `backward` begin at what was made of the part's outputs, a loss for instance."""
        self._kept[part] = self._kept[part][0], outputs

    def forget(self) -> None:
        """Let go of all parts under way, and of the gradients so far."""
        self._kept.clear()
        self.network.zero_grad(set_to_none=True)

    def answer(self, values: Tensor) -> Tensor:
        """Outputs in evaluation mode, without gradients."""
        with torch.inference_mode():
            outputs: Tensor = self.network.eval()(values.clone() if self._in_place else values)
        return outputs

    def _run(self, values: Tensor, step: int, part: int) -> Tensor:
        for index, (block, draws) in enumerate(zip(self.network.train(), self._draws, strict=True)):
            if not draws:
                values = block(values)
                continue
            with seeded(f"{self.seed}/{step}/{part}/{self.first + index}", values.device):
                values = block(values)
        return values


def _draws(block: nn.Module) -> bool:
    """Whether a block draws at random: it has dropout, as a module or as a setting of attention."""
    rates: list[Any] = [
        module.p if isinstance(module, _DropoutNd) else getattr(module, "dropout", 0) for module in block.modules()
    ]
    return any(isinstance(rate, float) and rate > 0 for rate in rates)
