"""A module that serves batches one behind the other: while one computes the next is copied to the device.

    batch n+1   fill pinned ── copy in ──╮
    batch n                   ╰ compute ─┴─ copy out ── read            streams: copies in, and all else
    batch n-1                                          ╰ read

Each batch has a slot: buffers in pinned memory for what goes in and out, used again and again. `begin` only puts work
on the streams, so the thread that calls it is free at once; `finish` waits for one batch. The kernels of each size of
batch are captured once and launched as one CUDA graph; what cannot be captured runs as it is.

Elsewhere than on CUDA `begin` computes and `finish` hands over, with the same slots and buffers; serving on a CPU calls
`run` alone and copies nothing. The CUDA part has not been run yet, for want of a GPU: the tests hold what both share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nodes.nets.rows_that_fit import RowsThatFit
from nodes.nets.weights import tensor_of

SLOTS = 2
# Graphs keep memory of their own each; batches are padded to fewer sizes than this.
GRAPHS_MAX = 32
# What a captured module has to have done before: libraries choose their kernels and make their workspaces.
_WARM_RUNS = 3

_cuda: Any = torch.cuda  # whose classes have no types
Module = Callable[..., Any]
Key = tuple[tuple[tuple[int, ...], torch.dtype], ...]


def key_of(tensors: Sequence[Tensor]) -> Key:
    """What batches have in common that can use the same buffers and the same graph: shapes and dtypes."""
    return tuple((tuple(tensor.shape), tensor.dtype) for tensor in tensors)


@dataclass
class Slot:
    """Buffers of one batch under way, made when first needed and used again for batches of the same shapes."""

    pinned: bool
    busy: bool = False
    _buffers: dict[tuple[str, Key], list[Tensor]] = field(default_factory=dict)

    def buffers(self, what: str, like: Sequence[Tensor]) -> list[Tensor]:
        """Host memory for `what`, "inputs" or "outputs", of these shapes."""
        key = what, key_of(like)
        if key not in self._buffers:
            self._buffers[key] = [
                torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=self.pinned) for tensor in like
            ]
        return self._buffers[key]


@dataclass
class Ticket:
    """A batch under way. form: what the module returned, for its names. version: of the weights it runs under."""

    slot: Slot
    outputs: list[Tensor]
    form: Any
    done: Any = None
    version: int = -1


class InFlight:
    """Runs a module on batches of which several are under way.

    Args:
      bf16: multiply in bfloat16 (autocast); what is returned is float32 again.

    Attributes:
      fits: how many rows are computed at once.
    """

    def __init__(self, module: Module, device: torch.device, *, bf16: bool = False) -> None:
        self.module, self.device, self.bf16 = module, device, bf16
        self.cuda = device.type == "cuda"
        self.slots = [Slot(self.cuda) for _ in range(SLOTS)]
        self._graphs: dict[Key, _Graph | None] = {}
        self.fits = RowsThatFit(self._graphs.clear)
        self._copies: Any = _cuda.Stream(device) if self.cuda else None
        self.stream: Any = _cuda.Stream(device) if self.cuda else None

    @property
    def overlaps(self) -> bool:
        """Whether it is worth having several batches under way."""
        return self.cuda

    def ordered(self) -> Any:
        """Where what is done to the module comes behind the batches that have begun, and before those that follow."""
        return torch.cuda.stream(self.stream) if self.cuda else nullcontext()

    def begin(self, arrays: Sequence[np.ndarray[Any, Any]], version: int = -1) -> Ticket:
        """Start a batch; the arrays may change when this returns.

        Raises:
          RuntimeError: all slots are under way.
        """
        slot = next((slot for slot in self.slots if not slot.busy), None)
        if slot is None:
            raise RuntimeError(f"all {SLOTS} slots are under way; finish a batch first")
        slot.busy = True
        try:
            given = [tensor_of(np.asarray(array), torch.device("cpu")) for array in arrays]
            inputs = slot.buffers("inputs", given)
            for buffer, tensor in zip(inputs, given, strict=True):
                buffer.copy_(tensor)
            ticket = self._in_parts(slot, inputs)
        except BaseException:
            slot.busy = False
            raise
        ticket.version = version
        return ticket

    def finish(self, ticket: Ticket) -> Any:
        """What the module returned for a batch, on the CPU; memory of the caller's own."""
        if ticket.done is not None:
            ticket.done.synchronize()
        found = [tensor.clone() for tensor in ticket.outputs]
        ticket.slot.busy = False
        return _like(ticket.form, found)

    def run(self, *inputs: Tensor) -> Any:
        """The module's outputs on the device, without gradients."""
        lower = torch.autocast(self.device.type, torch.bfloat16, cache_enabled=False) if self.bf16 else nullcontext()
        with torch.inference_mode(), lower:
            return self.module(*inputs)

    def _in_parts(self, slot: Slot, inputs: list[Tensor]) -> Ticket:
        rows = len(inputs[0])

        def part(low: int, high: int) -> Ticket:
            given = [tensor[low:high] for tensor in inputs]
            ticket = self._on_cuda(slot, given) if self.cuda else self._on_cpu(slot, given)
            if high - low == rows:
                return ticket
            # The next part's answers go to the same buffers.
            if ticket.done is not None:
                ticket.done.synchronize()
            return replace(ticket, outputs=[tensor.clone() for tensor in ticket.outputs], done=None)

        parts = self.fits.run(rows, part)
        if len(parts) == 1:
            return parts[0]
        return replace(parts[0], outputs=[torch.cat(each) for each in zip(*(p.outputs for p in parts), strict=True)])

    def _on_cpu(self, slot: Slot, inputs: list[Tensor]) -> Ticket:
        returned = self.run(*inputs)
        outputs = _flat(returned)
        host = slot.buffers("outputs", outputs)
        for buffer, tensor in zip(host, outputs, strict=True):
            buffer.copy_(tensor)
        return Ticket(slot, host, returned)

    def _on_cuda(self, slot: Slot, inputs: list[Tensor]) -> Ticket:
        with torch.cuda.stream(self._copies):
            there = [tensor.to(self.device, non_blocking=True) for tensor in inputs]
        self.stream.wait_stream(self._copies)
        with torch.cuda.stream(self.stream):
            for tensor in there:  # made on the other stream: not to be used again before this one is done with it
                tensor.record_stream(self.stream)
            returned = self._replayed(there)
            outputs = _flat(returned)
            host = slot.buffers("outputs", outputs)
            for buffer, tensor in zip(host, outputs, strict=True):
                buffer.copy_(tensor, non_blocking=True)
            done = _cuda.Event()
            done.record(self.stream)
        return Ticket(slot, host, returned, done)

    def _replayed(self, inputs: list[Tensor]) -> Any:
        """The module's outputs, by the graph of these shapes if there is one or can be one."""
        key = key_of(inputs)
        if key not in self._graphs and len(self._graphs) < GRAPHS_MAX:
            self._graphs[key] = _captured(self, inputs)
        graph = self._graphs.get(key)
        return self.run(*inputs) if graph is None else graph.replay(inputs)


@dataclass
class _Graph:
    """A captured run: what it reads and what it writes lie where they lay when it was captured."""

    graph: Any
    inputs: list[Tensor]
    returned: Any

    def replay(self, inputs: list[Tensor]) -> Any:
        for own, tensor in zip(self.inputs, inputs, strict=True):
            own.copy_(tensor)
        self.graph.replay()
        return self.returned


def _captured(runner: InFlight, inputs: list[Tensor]) -> _Graph | None:
    """The graph of a run on tensors of these shapes; None if the module does what no graph can hold."""
    own = [tensor.clone() for tensor in inputs]
    for _ in range(_WARM_RUNS):
        runner.run(*own)
    graph = torch.cuda.CUDAGraph()
    try:
        with torch.cuda.graph(graph, stream=runner.stream):
            returned = runner.run(*own)
    except RuntimeError:  # it looks at values, or allocates on the host: run as it is, which is slower and right
        torch.cuda.synchronize(runner.device)
        return None
    return _Graph(graph, own, returned)


def _flat(returned: Any) -> list[Tensor]:
    """The tensors of what a module returned, in their order, in dtypes that numpy has."""
    if hasattr(returned, "_asdict"):
        returned = returned._asdict()
    found = list(returned.values()) if isinstance(returned, dict) else returned
    tensors = list(found) if isinstance(found, (list, tuple)) else [found]
    return [tensor.float() if tensor.dtype is torch.bfloat16 else tensor for tensor in tensors]


def _like(returned: Any, tensors: list[Tensor]) -> Any:
    """Those tensors in the form in which the module returned them."""
    if hasattr(returned, "_asdict"):
        returned = returned._asdict()
    if isinstance(returned, dict):
        return dict(zip(returned, tensors, strict=True))
    return tuple(tensors) if isinstance(returned, (list, tuple)) else tensors[0]
