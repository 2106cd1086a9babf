"""Serves a module that lies on several nodes in a row, in batches: each node runs its blocks and asks the next.

    callers ── questions ──► first ── hidden ──► inner ── hidden ──► last
            ◄── answers ──        ◄── outputs ──       ◄── outputs ──

While one batch is with the shards behind, the first takes the next: as many are under way as there are shards, so none
of them idles. Weights come from whoever trains the same split, to each shard its own; an answer says the oldest version
among its shards. A shard that is started again is asked again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import numpy as np
import trio
from jaxtyping import Float32, Int64

from flow import Array, Call, Context, Latest, Message, Promises, Range, Serve, compute, node
from flow.errors import MessageError, SettingError
from flow.setting import Beside
from nodes.messages import Weights
from nodes.serve.module import answer_type, bind_answers, named_answer
from nodes.shards import Cut

if TYPE_CHECKING:
    import torch

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)


class Hidden(Message, repeatable=True):
    """What one shard computed of a batch, for the next."""

    values: Float32[Array, "rows ..."]
    blocks: Int64[Array, "rows"]
    """The first block that has not run yet, of each row; held to the receiver's own."""


class Outputs(Message):
    """What the last shard makes of it."""

    values: Float32[Array, "rows ..."]
    version: int
    """Of the weights, the oldest among the shards that ran."""


@node(needs=("torch",), binds=bind_answers, promises=Promises(given="nodes.given.shards:served_first", holds=4))
async def first(
    requests: Serve[Q, A],
    rest: Call[Hidden, Outputs],
    weights: Latest[Weights],
    context: Context,
    *,
    module: Annotated[str, Beside(function=True)],
    arguments: list[str] | None = None,
    split: list[int] | None = None,
    shards: Annotated[int, Range(2, 1024)] = 2,
    balance: Literal["parameters", "flops"] = "parameters",
    shape: list[int] | None = None,
    inputs: list[str] | None = None,
    answers: list[str] | None = None,
    device: str = "auto",
    batch_max: Annotated[int, Range(1, 65536)] = 256,
    buckets: list[int] | None = None,
) -> None:
    """Answer questions with a module of which this node runs the first blocks. Gauges `batch_rows`.

    Args:
      module: as at nodes.learn.shard:first.
      arguments: as there.
      split: as there.
      shards: as there.
      balance: as there.
      shape: as there.
      inputs: name of the one field that the module gets; the first if not given.
      answers: what it returns, as at nodes.serve.module:module.
      device: where this shard computes.
      batch_max: the most rows in one batch.
      buckets: sizes that batches are padded to; powers of two if not given.
    """
    if len(inputs or ()) > 1:
        raise SettingError(f"inputs = {inputs}: a split module gets one field; join them in a node before this one")
    cut = Cut(module, arguments, split, shards, balance, shape, 0, 0)
    served = await compute(ServedShard, cut, device)
    if not await served.ready(weights):
        return
    under_way = trio.Semaphore(served.shards)
    async with trio.open_nursery() as nursery:
        async for batch in requests.batches(most=batch_max, buckets=buckets):
            name = inputs[0] if inputs else type(batch.questions).fields[0].name
            declared: Any = requests.answer_type
            if declared is Message:
                declared = answer_type(list(answers or ()), type(batch.questions).fields[0].dims[0])
            context.metrics.gauge("batch_rows", batch.rows)
            hidden = await served.run(getattr(batch.questions, name), None, weights)
            await under_way.acquire()
            nursery.start_soon(_finish, served, rest, batch, hidden, declared, under_way)


async def _finish(
    served: ServedShard,
    rest: Call[Hidden, Outputs],
    batch: Any,
    hidden: Array,
    declared: Any,
    under_way: trio.Semaphore,
) -> None:
    """Answer a batch with what the shards behind make of it."""
    from nodes.nets.weights import tensor_of

    version = served.version
    outputs = await rest(served.onward(hidden))
    tensor = await compute(tensor_of, outputs.values, served.cpu)
    batch.answer(declared(**named_answer(tensor, declared, min(version, outputs.version))))
    under_way.release()


@node(needs=("torch",), promises=Promises(given="nodes.given.shards:served_inner", holds=4))
async def inner(
    requests: Serve[Hidden, Outputs],
    rest: Call[Hidden, Outputs],
    weights: Latest[Weights],
    *,
    shard: Annotated[int, Range(1)],
    module: Annotated[str, Beside(function=True)],
    arguments: list[str] | None = None,
    split: list[int] | None = None,
    shards: Annotated[int, Range(3, 1024)] = 3,
    balance: Literal["parameters", "flops"] = "parameters",
    shape: list[int] | None = None,
    device: str = "auto",
    batch_max: Annotated[int, Range(1, 65536)] = 256,
) -> None:
    """Run some blocks in the middle of a module, and ask the next shard.

    Args:
      shard: which of the shards this is; the first is 0.
      module: as at nodes.learn.shard:first.
      arguments: as there.
      split: as there.
      shards: as there.
      balance: as there.
      shape: as there.
      device: where this shard computes.
      batch_max: the most rows in one batch; those of the first shard are not cut.
    """
    cut = Cut(module, arguments, split, shards, balance, shape, 0, shard)
    served = await compute(ServedShard, cut, device)
    if not await served.ready(weights):
        return
    under_way = trio.Semaphore(served.shards)

    async def ask(batch: Any, hidden: Array, version: int) -> None:
        outputs = await rest(served.onward(hidden))
        batch.answer(Outputs(outputs.values, min(version, outputs.version)))
        under_way.release()

    async with trio.open_nursery() as nursery:
        # Not padded: the first shard has done so, and its batches come one by one.
        async for batch in requests.batches(most=batch_max, buckets=()):
            hidden = await served.run(batch.questions.values, batch.questions.blocks, weights)
            await under_way.acquire()
            nursery.start_soon(ask, batch, hidden, served.version)


@node(needs=("torch",), promises=Promises(given="nodes.given.shards:served_last"))
async def last(
    requests: Serve[Hidden, Outputs],
    weights: Latest[Weights],
    *,
    module: Annotated[str, Beside(function=True)],
    arguments: list[str] | None = None,
    split: list[int] | None = None,
    shards: Annotated[int, Range(2, 1024)] = 2,
    balance: Literal["parameters", "flops"] = "parameters",
    shape: list[int] | None = None,
    device: str = "auto",
    batch_max: Annotated[int, Range(1, 65536)] = 256,
) -> None:
    """Run the last blocks of a module.

    Args:
      module: as at nodes.learn.shard:first.
      arguments: as there.
      split: as there.
      shards: as there.
      balance: as there.
      shape: as there.
      device: where this shard computes.
      batch_max: the most rows in one batch; those of the first shard are not cut.
    """
    cut = Cut(module, arguments, split, shards, balance, shape, 0, -1)
    served = await compute(ServedShard, cut, device)
    if not await served.ready(weights):
        return
    async for batch in requests.batches(most=batch_max, buckets=()):
        values = await served.run(batch.questions.values, batch.questions.blocks, weights)
        batch.answer(Outputs(values, served.version))


class ServedShard:
    """A shard on its device. shards: of the whole. next_block: where the one after it begins."""

    def __init__(self, cut: Cut, device: str) -> None:
        import torch  # this worker has it imported already; others never do

        from nodes.nets.device import choose_device

        self.shard, begins = cut.made()
        place = begins.index(self.shard.first)
        if (cut.shard < 0) != (place == len(begins) - 1):
            raise SettingError(
                f"shard={place}: of split = {begins} this is the last shard; the node for it is nodes.serve.shard:last"
            )
        self.shards = len(begins)
        self.next_block = begins[place + 1] if cut.shard >= 0 else -1
        self.device: torch.device = choose_device(device)
        self.cpu = torch.device("cpu")
        self.shard.network.to(self.device)
        self.version = -1

    async def ready(self, weights: Latest[Weights]) -> bool:
        """Wait for the first weights. False if none will come; whoever asks is told by the node's end."""
        try:
            await weights.wait()
        except trio.EndOfChannel:
            return False
        return True

    def onward(self, hidden: Array) -> Hidden:
        """What the next shard is asked."""
        return Hidden(hidden, np.full(len(hidden), self.next_block))

    async def run(self, values: Array, blocks: Array | None, weights: Latest[Weights]) -> Array:
        """The shard's outputs for a batch, under the newest weights.

        Raises:
          MessageError: some rows are for another shard.
        """
        if blocks is not None and (wrong := blocks[blocks != self.shard.first]).size:
            raise MessageError(
                f"field blocks: expected {self.shard.first}, where this shard begins, found {wrong[0]}; give all "
                "shards the same module and split, and each its own place in the row"
            )
        if weights.version != self.version and weights.newest is not None:
            await compute(self._take_over, weights.newest)
            self.version = weights.version
        return await compute(self._answer, values)

    def _take_over(self, weights: Weights) -> None:
        from nodes.nets.weights import load_weights

        load_weights(self.shard.network, weights.tensors)

    def _answer(self, values: Array) -> Array:
        from nodes.nets.weights import tensor_of

        outputs: Array = self.shard.answer(tensor_of(np.asarray(values), self.device)).cpu().numpy()
        # A block that only reshapes gives its input, which the next batch is gathered into.
        return outputs.copy() if np.may_share_memory(outputs, values) else outputs
