"""What makes a run come out bit for bit as another of the same seed: `flow run --deterministic`.

Only the CPU, one thread a computation, kernels of torch that add up in one order, arrays that begin at a multiple of
64 bytes wherever they came from (kernels of matrix products round otherwise where they do not), one order of hashes.
Nothing is started again alone, since what it had in hand would be lost: the run ends, and is resumed from its last
checkpoint as a whole. Ctrl-C does not drain, it saves and ends.

This does not order what is not ordered: which of several producers' messages comes first, what goes into a batch of
questions, which published value is the newest. `flow/graph/cuts.py` says which nodes depend on that.
"""

from __future__ import annotations

import dataclasses
import sys
from typing import Any

import numpy as np

from flow.message import Message

ALIGNMENT = 64
ENVIRONMENT = {"PYTHONHASHSEED": "0", "CUDA_VISIBLE_DEVICES": ""}
"""Of the processes of such a run."""


def prepare_torch() -> None:
    """Let torch, if this process has it, use deterministic algorithms alone; what has none raises."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.use_deterministic_algorithms(True)


def aligned(message: Message) -> Message:
    """The message with all arrays beginning at a multiple of 64 bytes."""
    changed: dict[str, Any] = {}
    for field in message.fields:
        value = getattr(message, field.name)
        if field.kind == "array":
            at = _aligned(value)
            if at is not value:
                changed[field.name] = at
        elif field.kind == "table":
            changed[field.name] = {key: _aligned(array) for key, array in value.items()}
    return dataclasses.replace(message, **changed) if changed else message  # type: ignore[type-var]


def _aligned(array: Any) -> Any:
    if type(array) is not np.ndarray or not array.ctypes.data % ALIGNMENT or array.dtype.hasobject:
        return array
    room = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    begin = -room.ctypes.data % ALIGNMENT
    copy = room[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    copy.flags.writeable = False
    return copy
