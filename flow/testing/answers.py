"""Answers to a node's calls, made from the answer's type: the same question has the same answer, row by row."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Callable, Mapping
from random import Random
from typing import Any

import numpy as np
import trio

from flow.batch import Batch
from flow.mailbox import QuestionMailbox
from flow.message import Array, Field, Message, Sizes
from flow.node_type import Port
from flow.port_spec import PortSpec
from flow.ports import Serve

# Of an integer without bounds: small enough to count, index or shift with.
INTEGER_MAX = 2
# A dimension of an answer that nothing fixes.
SIZE = 2
Answer = Callable[[Any], Any]


class Answers:
    """What the other end of a Call says. function: what answers; else answers are made from their type."""

    def __init__(
        self, port: Port, sizes: Sizes, dims: Mapping[str, int], latency: int = 0, function: Answer | None = None
    ) -> None:
        self.port, self.sizes = port, {**dims, **sizes}
        self._latency = Random(latency) if latency else None
        self.function = function or self.made

    def server(self, mailbox: QuestionMailbox) -> AsyncIterator[Batch[Any, Any]]:
        """Each question by itself, never padded."""
        spec = PortSpec("the test", self.port.name, self.port.messages, checked=False)
        return Serve[Any, Any](spec, mailbox).batches(most=1, buckets=())

    async def reply(self, batch: Batch[Any, Any]) -> None:
        """Answer at once, or when it pleases the seed."""
        answer = self.function(batch.questions)
        if self._latency is not None:
            await trio.sleep(self._latency.choice((0.0, 0.05, 0.1)))
        batch.answer(answer)

    def made(self, question: Message) -> Message:
        """An answer from its type: each row's is a function of that row of the question."""
        seeds = row_seeds(question)
        answer = self.port.messages[1]
        values = {field.name: self._value(field, seeds) for field in answer.fields}
        return answer(**values)

    def _value(self, field: Field, seeds: list[int]) -> Any:
        if field.kind == "scalar":
            return scalar(field, np.random.default_rng(0))
        shape = []
        for dim in field.dims[1:]:
            known = dim.resolved(self.sizes)
            shape.append(SIZE + dim.size if known is None else known)
        rows = [numbers(field, np.random.default_rng([seed, *field.name.encode()]), tuple(shape)) for seed in seeds]
        array = np.stack(rows) if rows else np.zeros((0, *shape), field.dtypes[0])
        if field.library == "numpy":
            return array
        import torch  # only an answer that declares a Tensor gets here

        return torch.from_numpy(array)


def row_seeds(question: Message) -> list[int]:
    """A number for each row of a question, from the row's content."""
    columns = [np.asarray(getattr(question, field.name)) for field in question.fields]
    rows = len(columns[0]) if columns else 0
    return [
        zlib.crc32(b"".join(np.ascontiguousarray(column[row]).tobytes() for column in columns)) for row in range(rows)
    ]


def numbers(field: Field, generator: np.random.Generator, shape: tuple[int, ...]) -> Array:
    """An array that a field admits, of a seed."""
    dtype = np.dtype(field.dtypes[0])
    low = field.bounds.low if field.bounds is not None and field.bounds.low is not None else None
    high = field.bounds.high if field.bounds is not None and field.bounds.high is not None else None
    if dtype.kind in "fc":
        if low is None and high is None:
            return generator.standard_normal(shape).astype(dtype)
        low, high = (high - 1 if low is None else low), (low + 1 if high is None else high)  # type: ignore[operator]
        return generator.uniform(low, high, shape).astype(dtype)
    if dtype.kind == "b":
        return generator.random(shape) < 0.5
    first = int(low) if low is not None else (int(high) - INTEGER_MAX if high is not None else 0)
    last = int(high) if high is not None else first + INTEGER_MAX
    return generator.integers(first, min(last, first + INTEGER_MAX), shape, endpoint=True).astype(dtype)


def scalar(field: Field, generator: np.random.Generator) -> Any:
    """A value that a scalar field admits, of a seed."""
    if field.scalar is str:
        return "a"
    if field.scalar is bool:
        return bool(generator.random() < 0.5)
    like = Field(field.name, "array", dtypes=("float64" if field.scalar is float else "int64",), bounds=field.bounds)
    return numbers(like, generator, ()).item()
