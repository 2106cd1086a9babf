"""Serves any torch module in batches: what callers ask in, what the module returns out.

callers ── questions ──► one batch, padded ──► module(field, field, …) ──► its rows to each caller
                                                 ▲
`module`: weights from a file      `module_with_weights`: from whoever trains it, swapped between two batches
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar

import numpy as np
import trio

from flow import Array, Context, Latest, Message, Promises, Range, Serve, compute, node
from flow.errors import MessageError, NodeTypeError, SettingError
from flow.generic import derived
from flow.graph.registry import find_function
from flow.message import DTYPES, Dim, Field
from flow.setting import Beside, named_values
from nodes.fields import require_field
from nodes.messages import Weights
from nodes.serve.in_parts import rows_joined

if TYPE_CHECKING:
    import torch

    from flow.batch import Batch
    from nodes.nets.in_flight import Ticket

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)
# Batches under way where copies and computing overlap: as many as `in_flight` has buffers for.
SLOTS = 2


def bind_answers(settings: Mapping[str, Any], known: Mapping[str, type[Message]]) -> Mapping[str, type[Message]]:
    """What the settings `inputs` and `answers` decide of the types of questions and answers."""
    if "Q" in known:
        for name in settings["inputs"] or ():
            require_field(known["Q"], name, "inputs")
    if not settings["answers"]:
        return {}
    rows = next((f.dims[0] for f in known["Q"].fields if f.dims), None) if "Q" in known else None
    return {"A": answer_type(settings["answers"], rows)} if "Q" in known else {}


def answer_type(texts: list[str], rows: Dim | None = None) -> type[Message]:
    """The message that the setting `answers` declares; its first dimension is called as the questions' is.

    Raises:
      SettingError: one is not understood.
    """
    fields = []
    for text in texts:
        match = re.fullmatch(r"\s*(\w+):\s*(\w+)\s*(?:\(([\w\s,+.]*)\))?\s*", text)
        dims = [word.strip() for word in (match[3] or "").split(",") if word.strip()] if match else []
        if match and (match[1], match[2], match[3]) == ("version", "int", None):
            fields.append(Field("version", "scalar", "Of the weights.", scalar=int))
            continue
        if not match or match[2] not in DTYPES or not dims or any(not re.fullmatch(r"\w+|\.\.\.", d) for d in dims):
            raise SettingError(
                f'answers: {text!r} is not understood; write "name: dtype (rows, …)" as in "logits: float32 (rows, 2)"'
            )
        any_rank = dims[-1] == "..."
        named = [Dim(None, int(word)) if word.isdigit() else Dim(word, 0) for word in dims[: len(dims) - any_rank]]
        named[:1] = [rows] if rows is not None else named[:1]
        fields.append(Field(match[1], "array", "", (match[2],), tuple(named), any_rank))
    return derived("Answers", tuple(fields))


@node(needs=("torch",), binds=bind_answers, promises=Promises(given="nodes.given.general:served_module"))
async def module(
    requests: Serve[Q, A],
    context: Context,
    *,
    module: Annotated[str, Beside(function=True)] = "",
    arguments: list[str] | None = None,
    weights: Annotated[str, Beside()] = "",
    file: Annotated[str, Beside()] = "",
    inputs: list[str] | None = None,
    answers: list[str] | None = None,
    device: str = "auto",
    precision: Literal["float32", "bfloat16", "auto"] = "float32",
    batch_max: Annotated[int, Range(1, 65536)] = 256,
    buckets: list[int] | None = None,
) -> None:
    """Answer questions with a torch module, all that wait at once.

    The module gets the questions' fields as tensors, in their order, and returns a tensor, several, or a dict of them
    by name: the fields of the answer, in their order. It runs in evaluation mode, without gradients. Gauges
    `batch_rows`.

    Args:
      module: what makes it, "module:Class", or "file.py:Class" with a file beside the graph; called with `arguments`.
      arguments: each "name=value" with the value as TOML writes it: "hidden=64".
      weights: its checkpoint beside the graph, .safetensors or a state dict; as it was made if there is none.
      file: in place of `module`, a file of TorchScript, or of torch.export (.pt2), beside the graph.
      inputs: names of the fields it gets, in this order; all if not given.
      answers: what it returns, each "name: dtype (rows, …)", as in "logits: float32 (rows, 2)", "version: int" for the
        weights' version; what the callers expect if not given.
      device: "cpu", "cuda", "cuda:1" or "auto", a GPU if there is one. On one, the next batch is copied in while one
        computes.
      precision: of multiplications; "auto" is bfloat16 where the device computes in it. Answers then depend on the size
        of their batch by a hundredth.
      batch_max: the most rows in one batch.
      buckets: sizes that batches are padded to; powers of two if not given.
    """
    wanted = Wanted(
        module, tuple(arguments or ()), weights, file, tuple(inputs or ()), tuple(answers or ()), device, precision
    )
    served = await compute(Served, wanted)
    await _serve(served, requests.batches(most=batch_max, buckets=buckets), requests, context)


@node(needs=("torch",), binds=bind_answers, promises=Promises(given="nodes.given.general:served_with_weights"))
async def module_with_weights(
    requests: Serve[Q, A],
    weights: Latest[Weights],
    context: Context,
    *,
    module: Annotated[str, Beside(function=True)],
    arguments: list[str] | None = None,
    inputs: list[str] | None = None,
    answers: list[str] | None = None,
    device: str = "auto",
    precision: Literal["float32", "bfloat16", "auto"] = "float32",
    batch_max: Annotated[int, Range(1, 65536)] = 256,
    buckets: list[int] | None = None,
) -> None:
    """Answer questions with a torch module under the newest weights that were published, all that wait at once.

    Nobody is answered before the first weights are there. Otherwise as `module`.

    Args:
      module: what makes it, "module:Class", or "file.py:Class" with a file beside the graph; called with `arguments`.
      arguments: each "name=value" with the value as TOML writes it: "hidden=64".
      inputs: names of the fields it gets, in this order; all if not given.
      answers: what it returns, each "name: dtype (rows, …)", as in "logits: float32 (rows, 2)", "version: int" for the
        weights' version; what the callers expect if not given.
      device: "cpu", "cuda", "cuda:1" or "auto", a GPU if there is one. On one, the next batch is copied in while one
        computes.
      precision: of multiplications; "auto" is bfloat16 where the device computes in it. Answers then depend on the size
        of their batch by a hundredth.
      batch_max: the most rows in one batch.
      buckets: sizes that batches are padded to; powers of two if not given.
    """
    wanted = Wanted(
        module, tuple(arguments or ()), "", "", tuple(inputs or ()), tuple(answers or ()), device, precision
    )
    served = await compute(Served, wanted)
    try:
        await weights.wait()
    except trio.EndOfChannel:  # who trains it ended before it began; whoever asks is told by this node's end
        return
    await _serve(served, requests.batches(most=batch_max, buckets=buckets), requests, context, weights)


async def _serve(
    served: Served,
    batches: AsyncIterator[Batch[Any, Any]],
    requests: Serve[Any, Any],
    context: Context,
    weights: Latest[Weights] | None = None,
) -> None:
    """Answer all batches, under the newest weights where some are published."""
    if served.runner.overlaps:
        await _serve_overlapped(served, batches, requests, context, weights)
        return
    async for batch in batches:
        into = await _before(served, batch, requests, context, weights)
        batch.answer(await compute(served.forward, batch.questions, into))
        _tell(served, context)


async def _serve_overlapped(
    served: Served,
    batches: AsyncIterator[Batch[Any, Any]],
    requests: Serve[Any, Any],
    context: Context,
    weights: Latest[Weights] | None,
) -> None:
    """As `_serve`, with two batches under way: one computes while the next is copied in."""
    under_way = trio.Semaphore(SLOTS)
    async with trio.open_nursery() as nursery:
        async for batch in batches:
            into = await _before(served, batch, requests, context, weights)
            await under_way.acquire()
            ticket = await compute(served.begin, batch.questions)
            nursery.start_soon(_finish, served, batch, ticket, into, under_way)
            _tell(served, context)


async def _before(
    served: Served, batch: Batch[Any, Any], requests: Serve[Any, Any], context: Context, weights: Latest[Weights] | None
) -> type[Any]:
    """Take over weights that are new; what the batch is to be answered with."""
    if weights is not None and weights.version != served.version and weights.newest is not None:
        await compute(served.take_over, weights.newest, weights.version)
    context.metrics.gauge("batch_rows", batch.rows)
    return served.answers(requests.answer_type, type(batch.questions))


def _tell(served: Served, context: Context) -> None:
    if news := served.runner.fits.news():
        context.log(news, "warning")


async def _finish(served: Served, batch: Batch[Any, Any], ticket: Ticket, into: type[Any], under_way: Any) -> None:
    # A thread of its own: that of `begin` is to fill the next batch meanwhile.
    batch.answer(await compute(served.finish, ticket, into, thread="finish"))
    under_way.release()


@dataclass(frozen=True)
class Wanted:
    """What the settings say of the module."""

    module: str
    arguments: tuple[str, ...]
    weights: str
    file: str
    inputs: tuple[str, ...]
    answers: tuple[str, ...]
    device: str
    precision: str = "float32"


class Served:
    """A module on its device. version: of the weights that were taken over, -1 before the first."""

    def __init__(self, wanted: Wanted) -> None:
        from nodes.nets import programs  # this worker has torch imported already; others never do
        from nodes.nets.device import choose_device, computes_in_bf16
        from nodes.nets.in_flight import InFlight

        if bool(wanted.module) == bool(wanted.file):
            raise SettingError(
                "give either module, which makes it, or file, which holds it; "
                f"found module = {wanted.module!r} and file = {wanted.file!r}"
            )
        if wanted.file and (wanted.weights or wanted.arguments):
            raise SettingError(f"file = {wanted.file!r} holds its weights; leave out weights and arguments")
        self.wanted = wanted
        self.version = -1
        self.device = choose_device(wanted.device)
        self.module: Any
        bf16 = computes_in_bf16(self.device) if wanted.precision == "auto" else wanted.precision == "bfloat16"
        if wanted.file:
            self.module = programs.load_program(Path(wanted.file), self.device)
            self.runner = InFlight(self.module, self.device, bf16=bf16)
            return
        try:
            constructor = find_function(wanted.module, "class")
        except NodeTypeError as error:
            raise SettingError(f"module = {error}") from error
        made = programs.built(wanted.module, constructor, named_values(wanted.arguments, "arguments"))
        self.module = made.to(self.device).eval()
        if wanted.weights:
            programs.load_checkpoint(self.module, Path(wanted.weights), self.device)
        self.runner = InFlight(self.module, self.device, bf16=bf16)

    def take_over(self, weights: Weights, version: int) -> None:
        from nodes.nets.weights import load_weights

        with self.runner.ordered():  # behind the batches that have begun
            load_weights(self.module, weights.tensors)
        self.version = version

    def answers(self, declared: type[A], asked: type[Message]) -> type[A]:
        """What is answered: as edges decided, or, where nothing is tied, as the settings say."""
        if declared is not Message:
            return declared
        made: Any = answer_type(list(self.wanted.answers), asked.fields[0].dims[0])
        return made  # type: ignore[no-any-return]

    def forward(self, questions: Message, into: type[A]) -> A:
        """The answers to all rows of a batch.

        Raises:
          MessageError: the module returned another number of tensors than the answer has.
        """
        from nodes.nets.weights import tensor_of

        given = self._inputs(questions)

        def part(low: int, high: int) -> A:
            tensors = [tensor_of(array[low:high], self.device) for array in given]
            return into(**named_answer(self.runner.run(*tensors), into, self.version))

        return rows_joined(self.runner.fits.run(len(given[0]), part))

    def begin(self, questions: Message) -> Ticket:
        """Start a batch; the questions' arrays may change when this returns."""
        return self.runner.begin(self._inputs(questions), self.version)

    def finish(self, ticket: Ticket, into: type[A]) -> A:
        """The answers to a batch that was begun."""
        return into(**named_answer(self.runner.finish(ticket), into, ticket.version))

    def _inputs(self, questions: Message) -> list[Array]:
        names = self.wanted.inputs or tuple(field.name for field in type(questions).fields)
        return [np.asarray(getattr(questions, name)) for name in names]


def named_answer(returned: Any, into: type[Message], version: int) -> dict[str, Any]:
    """What a module returned, by the fields of the answer."""
    scalars = {field.name: version for field in into.fields if field.name == "version" and field.scalar is int}
    names = [field.name for field in into.fields if field.name not in scalars or field.kind != "scalar"]
    by_name = returned._asdict() if hasattr(returned, "_asdict") else returned
    if isinstance(by_name, Mapping) and set(names) <= by_name.keys():
        return {**{name: _array(by_name[name]) for name in names}, **scalars}
    found = list(returned) if isinstance(returned, (tuple, list)) else [returned]
    if len(found) != len(names) or isinstance(returned, Mapping):
        shown = (
            f"a dict of {', '.join(map(str, returned))}" if isinstance(returned, Mapping) else f"{len(found)} tensors"
        )
        raise MessageError(
            f"the module returned {shown}, the answer has {', '.join(names)}; say what it returns with answers = "
            '["name: dtype (rows, …)", …]'
        )
    return {**{name: _array(tensor) for name, tensor in zip(names, found, strict=True)}, **scalars}


def _array(tensor: torch.Tensor) -> Array:
    tensor = tensor.detach().cpu()
    array: Array = (tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor).numpy()  # numpy has none
    return array
