"""Learns a module that is too large for one device, or slow on one core: its blocks lie on shard nodes in a row.

    batches ──► first ── activations ──► inner ── activations ──► last      the labels travel along
                  ▲ ╰┄┄ weights            ▲ ╰┄┄ weights            │ ╰┄┄ weights
                  ╰────── gradients ───────┴────── gradients ───────╯       edges with feedback = true

What passes between them, and when, is `pipeline.py`.
"""

from __future__ import annotations

from typing import Annotated, Literal

from flow import Context, In, Live, Out, Promises, Publish, Range, Saved, compute, node
from flow.setting import Beside
from nodes.learn.classifier import Labelled
from nodes.learn.pipeline import Activations, Gradients, Pipe, Trainee, in_parts
from nodes.messages import Weights
from nodes.shards import Cut

_CUT_OFF = "the parts of a step under way are not saved: the first shard sends the step again"


@node(needs=("torch",), promises=Promises(given="nodes.given.shards:first", excused={"C13": _CUT_OFF}))
async def first(
    batches: In[Labelled],
    gradients: In[Gradients],
    activations: Out[Activations],
    weights: Publish[Weights],
    context: Context,
    saved: Saved,
    *,
    module: Annotated[str, Beside(function=True)],
    arguments: list[str] | None = None,
    split: list[int] | None = None,
    shards: Annotated[int, Range(2, 1024)] = 2,
    balance: Literal["parameters", "flops"] = "parameters",
    shape: list[int] | None = None,
    micro_batches: Annotated[int, Range(1, 1024)] = 8,
    optimiser: Literal["adam", "sgd"] = "adam",
    learning_rate: Live[Annotated[float, Range(0, 1)]] = Live(1e-3),
    publish_every: Annotated[int, Range(1)] = 20,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Cut batches into parts, send them through the first blocks of a module, and learn from what comes back.

    Args:
      module: what makes the whole, "module:Class", or "file.py:Class" beside the graph: an nn.Sequential, or a module
        with a method `blocks()`. Its rows must not see each other: batch normalisation takes micro_batches = 1.
      arguments: each "name=value" with the value as TOML writes it: "hidden=[64]".
      split: the block at which each shard begins: [0, 3, 7] makes three. All nodes of one module say the same.
      shards: in place of a split, how many there are; they are then balanced.
      balance: by parameters, or by multiplications for a row of `shape`.
      shape: of one row of the module's input.
      micro_batches: parts of a batch.
      optimiser: Adam, or plain stochastic gradient descent.
      learning_rate: of the optimiser.
      publish_every: steps from one publication of this shard's weights to the next.
      seed: of the module's parameters and its dropout; the same at all shards.
      device: "cpu", "cuda", "cuda:1" or "auto", a GPU if there is one.
    """
    cut = Cut(module, arguments, split, shards, balance, shape, seed, 0)
    trainee = await compute(Trainee, cut, optimiser, device, "", micro_batches)
    pipe = Pipe(trainee, context, saved, weights, learning_rate, publish_every, gradients=gradients, onward=activations)
    attempt = 0
    async for batch in batches:
        parts = in_parts(batch, micro_batches)
        while parts and not await pipe.drive(parts, (context.incarnation, trainee.progress.updates, attempt)):
            attempt += 1
            if pipe.over:
                context.log("the shards behind this one ended before the batches did", "warning")
                return
    await pipe.finish()


@node(needs=("torch",), promises=Promises(given="nodes.given.shards:inner", excused={"C13": _CUT_OFF}))
async def inner(
    activations: In[Activations],
    gradients: In[Gradients],
    onward: Out[Activations],
    back: Out[Gradients],
    weights: Publish[Weights],
    context: Context,
    saved: Saved,
    *,
    shard: Annotated[int, Range(1)],
    module: Annotated[str, Beside(function=True)],
    arguments: list[str] | None = None,
    split: list[int] | None = None,
    shards: Annotated[int, Range(3, 1024)] = 3,
    balance: Literal["parameters", "flops"] = "parameters",
    shape: list[int] | None = None,
    optimiser: Literal["adam", "sgd"] = "adam",
    learning_rate: Live[Annotated[float, Range(0, 1)]] = Live(1e-3),
    publish_every: Annotated[int, Range(1)] = 20,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Send activations through some blocks in the middle of a module, and gradients back. Settings as at `first`.

    Args:
      shard: which of the shards this is; the first is 0.
      module: as at `first`.
      arguments: as at `first`.
      split: as at `first`.
      shards: as at `first`.
      balance: as at `first`.
      shape: as at `first`.
      optimiser: as at `first`.
      learning_rate: as at `first`.
      publish_every: as at `first`.
      seed: as at `first`.
      device: where this shard computes.
    """
    cut = Cut(module, arguments, split, shards, balance, shape, seed, shard)
    trainee = await compute(Trainee, cut, optimiser, device, "", 1)
    pipe = Pipe(trainee, context, saved, weights, learning_rate, publish_every, activations, gradients, onward, back)
    await pipe.follow()


@node(needs=("torch",), promises=Promises(given="nodes.given.shards:last", excused={"C13": _CUT_OFF}))
async def last(
    activations: In[Activations],
    gradients: Out[Gradients],
    weights: Publish[Weights],
    context: Context,
    saved: Saved,
    *,
    module: Annotated[str, Beside(function=True)],
    arguments: list[str] | None = None,
    split: list[int] | None = None,
    shards: Annotated[int, Range(2, 1024)] = 2,
    balance: Literal["parameters", "flops"] = "parameters",
    shape: list[int] | None = None,
    loss: Annotated[str, Beside(function=True)] = "torch.nn.functional:cross_entropy",
    optimiser: Literal["adam", "sgd"] = "adam",
    learning_rate: Live[Annotated[float, Range(0, 1)]] = Live(1e-3),
    publish_every: Annotated[int, Range(1)] = 20,
    seed: int = 0,
    device: str = "auto",
) -> None:
    """Send activations through the last blocks of a module, and the loss's gradients back. Records `loss`.

    Args:
      module: as at `first`.
      arguments: as at `first`.
      split: as at `first`.
      shards: as at `first`.
      balance: as at `first`.
      shape: as at `first`.
      loss: "module:function" of outputs and labels; a mean over rows.
      optimiser: as at `first`.
      learning_rate: as at `first`.
      publish_every: as at `first`.
      seed: as at `first`.
      device: where this shard computes.
    """
    cut = Cut(module, arguments, split, shards, balance, shape, seed, -1)
    trainee = await compute(Trainee, cut, optimiser, device, loss, 1)
    pipe = Pipe(trainee, context, saved, weights, learning_rate, publish_every, activations, back=gradients)
    await pipe.follow()
