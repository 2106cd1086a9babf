"""Gathering questions into batches, and cutting answers apart again.

    caller 0  ──3 rows──╮                      ╭── 3 rows ──► caller 0
    caller 1  ──2 rows──┤► one batch, padded ──┤
    caller 0  ──3 rows──╯   to a bucket of 8   ╰── ...

No I/O and no clock: which groups go together, into which size, and why. While the model is busy questions gather;
when it is free all that have gathered go at once. Sizes are padded to few buckets, so that compiled code and CUDA
graphs are made once a bucket.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import numpy as np

from flow.errors import MessageError
from flow.message import Array, Message

Q = TypeVar("Q", bound=Message)
A = TypeVar("A", bound=Message)


@dataclass(frozen=True)
class Asked(Generic[Q, A]):
    """One caller's question: a group of rows, and where its answer goes. came: its link, and its number there."""

    question: Q
    rows: int
    reply: Callable[[A], None]
    came: tuple[int, int] = (-1, -1)


def rows_of(question: Message) -> int:
    """How many rows a question holds: the length of its fields' shared first dimension."""
    return len(getattr(question, question.fields[0].name))


def bucket_for(rows: int, buckets: Sequence[int]) -> int:
    """The smallest bucket that holds so many rows; more than the largest go as they are."""
    return next((bucket for bucket in buckets if bucket >= rows), rows)


def powers_of_two(most: int) -> tuple[int, ...]:
    """1, 2, 4, … up to and including `most`."""
    sizes = []
    size = 1
    while size < most:
        sizes.append(size)
        size *= 2
    return (*sizes, most)


@dataclass
class Gathering(Generic[Q, A]):
    """Questions that wait for the model, in order of arrival."""

    waiting: deque[Asked[Q, A]] = field(default_factory=deque)

    def add(self, asked: Asked[Q, A]) -> None:
        self.waiting.append(asked)

    def take(self, most: int) -> tuple[list[Asked[Q, A]], str]:
        """The groups of the next batch, and why it ends there: "all" that waited, or "most" rows reached.

        A group is never cut; one larger than `most` goes alone.
        """
        taken: list[Asked[Q, A]] = []
        rows = 0
        while self.waiting and (not taken or rows + self.waiting[0].rows <= most):
            taken.append(self.waiting.popleft())
            rows += taken[-1].rows
        return taken, "most" if self.waiting else "all"


class Staging:
    """Buffers that batches are gathered into, one a field and bucket, used again and again.

    Fresh memory of a batch's size costs a page fault every 4 KiB, more than the copy itself.
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[str, int, tuple[int, ...], str], Array] = {}

    def gather(self, questions: Sequence[Q], rows: int, bucket: int) -> Q:
        """The questions' fields along their first dimension, padded with zeros to `bucket` rows.

        One question that fills the bucket is returned as it is, without a copy. The result is good until the next
        call.
        """
        first = questions[0]
        if len(questions) == 1 and rows == bucket:
            return first
        gathered: dict[str, Any] = {}
        for spec in first.fields:
            parts = [getattr(question, spec.name) for question in questions]
            gathered[spec.name] = self._fill(spec.name, parts, rows, bucket)
        return type(first)(**gathered)

    def _fill(self, name: str, parts: list[Any], rows: int, bucket: int) -> Any:
        tail = tuple(parts[0].shape[1:])
        for part in parts[1:]:
            if tuple(part.shape[1:]) != tail:
                raise MessageError(
                    f"field {name}: callers ask with shapes {(len(parts[0]), *tail)} and {tuple(part.shape)}; "
                    "questions of one batch differ in the first dimension only"
                )
        arrays = [np.asarray(part) for part in parts]
        # The widest of what callers sent, in case the field takes several dtypes: nobody's values are rounded.
        dtype = np.result_type(*arrays)
        key = (name, bucket, tail, dtype.str)
        buffer = self._buffers.get(key)
        if buffer is None:
            buffer = self._buffers[key] = np.zeros((bucket, *tail), dtype)
        np.concatenate(arrays, out=buffer[:rows])
        buffer[rows:] = 0
        return buffer


class Batch(Generic[Q, A]):
    """What a serving node gets: questions of several callers as one.

    questions: the rows of all callers, padded to `len` of the bucket; good until the next batch is taken.
    rows: how many of them are real. reason: why the batch ends there. callers: how many groups it holds.
    """

    def __init__(self, asked: list[Asked[Q, A]], questions: Q, reason: str) -> None:
        self.asked = asked
        self.questions = questions
        self.rows = sum(group.rows for group in asked)
        self.reason = reason
        self.callers = len(asked)
        self.answered = False

    def answer(self, answers: A) -> None:
        """Send each caller its rows; a scalar field goes to all. Rows of padding are left out.

        Raises:
          MessageError: an array has fewer rows than were asked, or the batch was answered before.
        """
        if self.answered:
            raise MessageError("this batch was answered before; each batch is answered once")
        for spec in answers.fields:
            if spec.kind == "array" and len(getattr(answers, spec.name)) < self.rows:
                found = tuple(getattr(answers, spec.name).shape)
                raise MessageError(f"field {spec.name}: expected at least {self.rows} rows, found shape {found}")
        answers = self._apart(answers)
        start = 0
        for group in self.asked:
            group.reply(_cut(answers, start, start + group.rows))
            start += group.rows
        self.answered = True

    def _apart(self, answers: A) -> A:
        """Answers that are views of the questions are copied: the next batch is gathered into the same memory."""
        if self.callers == 1 and self.questions is self.asked[0].question:  # its caller's own, not gathered
            return answers
        asked = [value for value in vars(self.questions).values() if isinstance(value, np.ndarray)]
        views = {
            name: value.copy()
            for name, value in vars(answers).items()
            if isinstance(value, np.ndarray) and any(np.may_share_memory(value, one) for one in asked)
        }
        return type(answers)(**{**vars(answers), **views}) if views else answers


def _cut(answers: A, start: int, stop: int) -> A:
    values = {
        spec.name: getattr(answers, spec.name)[start:stop] if spec.kind == "array" else getattr(answers, spec.name)
        for spec in answers.fields
    }
    return type(answers)(**values)
