"""Replicas of a learner as one: each learns from batches of its own, all take the same step.

    replica 0   batch ── gradients ──╮                                ╭── step, publish
    replica 1   batch ── gradients ──┴► mean over all rows of all ────┴── step

`replicas = 2` in a graph makes a torch.distributed group of a learner: NCCL where it learns on a GPU, else gloo.
Gradients are weighted by the rows they come from, so two replicas with half a batch each do what one does with the
whole, and one whose batches have ended goes on with none until all have.

They meet in the run directory. Each start of replica 0 begins a generation; the others answer it, and it names those
who are in. When one of them dies the others' next step fails: all are started again, go on from their last checkpoint,
and begin by taking over what replica 0 has, so that no two differ.
"""

from __future__ import annotations

import re
import secrets
import shutil
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np
import trio

from flow import Context, In, Message, Saved, compute
from flow.errors import PeerRestarted
from flow.saved import Packed, pack, unpack

if TYPE_CHECKING:
    import torch

M = TypeVar("M", bound=Message)

# How long those who were named wait for each other; one of them may have died just then.
MEET_S = 30.0
_LOOK_S = 0.02
# A replica may wait as long as it likes for its batches: that a peer died is told by its connection, not by a clock.
_EVER = timedelta(days=365)


async def join(context: Context, saved: Saved, device: torch.device) -> Group | None:
    """Meet the other replicas of this node, and take over the state that replica 0 keeps. None where there is but one.

    Call it when all state is kept.

    Raises:
      PeerRestarted: one of them died meanwhile.
    """
    if context.replicas == 1:
        return None
    # One folder for all replicas, each of which has a directory of its own beside it.
    place = context.directory.parent / f"{context.name}.group"
    generation = await (_lead(place, context.replicas) if context.replica == 0 else _follow(place, context.replica))
    group = await compute(Group, place / f"{generation}.store", context.replica, context.replicas, device)
    await compute(group.share, saved)
    context.log(f"replica {context.replica} of {context.replicas} learns with the others")
    return group


async def _lead(place: Path, replicas: int) -> str:
    """Begin a generation, and name who is in when all others have answered."""
    generation = secrets.token_hex(8)
    await trio.to_thread.run_sync(_begin, place, generation)
    answers = [place / f"{generation}.{replica}" for replica in range(1, replicas)]
    while not all(answer.exists() for answer in answers):  # noqa: ASYNC110  other processes write them
        await trio.sleep(_LOOK_S)
    _write(place / f"{generation}.members", " ".join(answer.read_text() for answer in answers))
    return generation


def _begin(place: Path, generation: str) -> None:
    # What is there is of generations before. Those who answer look at what is there each time.
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir(parents=True, exist_ok=True)
    _write(place / "generation", generation)


async def _follow(place: Path, replica: int) -> str:
    """Answer the newest generation until one names this start of this replica."""
    own, answered = secrets.token_hex(8), ""
    while True:
        generation = _read(place / "generation")
        if generation and generation != answered:
            try:
                _write(place / f"{generation}.{replica}", own)
                answered = generation
            except FileNotFoundError:  # replica 0 was started again just now
                continue
        if generation and own in _read(place / f"{generation}.members").split():
            return generation
        await trio.sleep(_LOOK_S)


def _write(path: Path, text: str) -> None:
    """As a whole: who looks meanwhile sees nothing or all of it."""
    part = path.with_name(f"{path.name}.part")
    part.write_text(text)
    part.replace(path)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except FileNotFoundError:
        return ""


class Group:
    """The replicas of a learner, as one of them sees it. over: no replica has batches any more."""

    def __init__(self, store: Path, rank: int, size: int, device: torch.device) -> None:
        from torch import distributed  # this worker has torch imported already; others never do

        dist: Any = distributed
        self.rank, self.size, self.device = rank, size, device
        self.over = False
        meeting = dist.FileStore(str(store), size)
        make = dist.ProcessGroupNCCL if device.type == "cuda" else dist.ProcessGroupGloo
        # An object and not the process's default group: a worker may host several learners, or two replicas of one.
        self._group: Any = self._safely(lambda: make(meeting, rank, size, timedelta(seconds=MEET_S)))
        self._sum, self._first = dist.AllreduceOptions(), dist.BroadcastOptions()
        self._sum.timeout = self._first.timeout = _EVER

    def average(
        self, parameters: Iterable[torch.nn.Parameter], rows: int, numbers: Sequence[float] = ()
    ) -> tuple[int, list[float]]:
        """Make each gradient the mean over the rows of all replicas, in place; the rows there were, and other means.

        Args:
          parameters: with the gradients of this replica's mean loss; where one has none it counts as 0.
          rows: behind them; 0 of a replica whose batches have ended.
          numbers: means over this replica's rows, or what must be the same for all: the learning rate.

        Raises:
          PeerRestarted: a replica died.
        """
        import torch

        learned = [each for each in parameters if each.requires_grad]
        parts = [
            torch.zeros_like(each, dtype=torch.float32) if each.grad is None else each.grad.float() for each in learned
        ]
        flat = torch.cat([*(part.reshape(-1) for part in parts), torch.tensor(numbers, device=self.device)])
        total = torch.cat([flat * rows, torch.tensor([float(rows)], device=self.device)])
        self._safely(lambda: self._group.allreduce([total], self._sum).wait())
        count = round(float(total[-1]))
        if not count:
            self.over = True
            return 0, [0.0] * len(numbers)
        total /= count
        at = 0
        for each in learned:
            each.grad = total[at : at + each.numel()].view_as(each).to(each.dtype)
            at += each.numel()
        return count, [float(value) for value in total[at:-1]]

    def share(self, saved: Saved) -> None:
        """Give all that is kept the state that it has at replica 0.

        Raises:
          PeerRestarted: a replica died.
        """
        own = pack(saved.state())
        packed = Packed(self._from_first(own.tensors), self._from_first(own.rest))
        if self.rank:
            saved.take_over(unpack(packed.tensors, packed.rest))

    def _from_first(self, content: bytes) -> bytes:
        """The bytes that replica 0 gives."""
        import torch

        size = torch.tensor([len(content)], device=self.device)
        self._safely(lambda: self._group.broadcast([size], self._first).wait())
        given = np.frombuffer(content, np.uint8).copy() if self.rank == 0 else np.zeros(int(size), np.uint8)
        tensor = torch.from_numpy(given).to(self.device)
        self._safely(lambda: self._group.broadcast([tensor], self._first).wait())
        return tensor.cpu().numpy().tobytes()

    def close(self) -> None:
        """Leave: whoever waits for this replica is told."""
        self._group = None

    def _safely(self, act: Any) -> Any:
        try:
            return act()
        except RuntimeError as error:  # gloo and NCCL have no type of their own for a peer that is gone
            raise PeerRestarted(
                f"a replica of this learner ended or was restarted ({_brief(error)}); all of them go on from their "
                "last checkpoint"
            ) from error


@contextmanager
def closing(group: Group | None) -> Iterator[None]:
    """Leave the group, if there is one, whatever ends the block."""
    try:
        yield
    finally:
        if group is not None:
            group.close()


class Shared(Generic[M]):
    """A learner's batches: `async for batch in Shared(port, group)`; None while only others of the group have more."""

    def __init__(self, port: In[M], group: Group | None) -> None:
        self._port = port
        self._group = group
        self._ended = False

    def __aiter__(self) -> Shared[M]:
        return self

    async def __anext__(self) -> M | None:
        if not self._ended:
            try:
                return await self._port.receive()
            except trio.EndOfChannel:
                self._ended = True
        if self._group is None or self._group.over:
            raise StopAsyncIteration
        return None


def _brief(error: RuntimeError) -> str:
    """What gloo or NCCL says, without the line of its source and its guesses."""
    return re.sub(r"^\[.*?\] ", "", str(error).splitlines()[0]).split(". ")[0][:100]
