"""What makes a run come out bit for bit as another of the same seed: `flow run --deterministic`.

Only the CPU, one thread a computation, kernels of torch that add up in one order, arrays that begin at a multiple of
64 bytes wherever they came from (kernels of matrix products round otherwise where they do not), one order of hashes.
What torch, numpy and Python draw from for a whole process each node has for itself while it computes, seeded by its own
seed and kept in checkpoints; the computations of a worker take turns, so that nobody draws in between.
Nothing is started again alone, since what it had in hand would be lost: the run ends, and is resumed from its last
checkpoint as a whole. Ctrl-C does not drain, it saves and ends.

This does not order what is not ordered: which of several producers' messages comes first, what goes into a batch of
questions, which published value is the newest. `flow/graph/cuts.py` says which nodes depend on that.
"""

from __future__ import annotations

import dataclasses
import random
import sys
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
import trio

from flow.computing import WorkThreads
from flow.message import Message
from flow.occupancy import Occupancy

R = TypeVar("R")

ALIGNMENT = 64
ENVIRONMENT = {"PYTHONHASHSEED": "0", "CUDA_VISIBLE_DEVICES": ""}
"""Of the processes of such a run."""


def prepare_torch() -> None:
    """Let torch, if this process has it, use deterministic algorithms alone; what has none raises."""
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.use_deterministic_algorithms(True)


class Generators:
    """A node's own state of the generators that a process has one of each."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._state: dict[str, Any] | None = None

    def use(self, function: Callable[..., R], *arguments: Any) -> R:
        """Call a function that draws from this state, and leave the process's own as it was."""
        outside = _drawn_from()
        if self._state is None:
            _seed_all(self._seed)
        else:
            _draw_from(self._state)
        try:
            return function(*arguments)
        finally:
            self._state = _drawn_from()
            _draw_from(outside)

    def state_dict(self) -> dict[str, Any] | None:
        return self._state

    def load_state_dict(self, state: dict[str, Any] | None) -> None:
        self._state = state


def _seed_all(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def _drawn_from() -> dict[str, Any]:
    state = {"python": random.getstate(), "numpy": np.random.get_state(legacy=False)}
    if "torch" in sys.modules:
        state["torch"] = sys.modules["torch"].get_rng_state()
    return state


def _draw_from(state: dict[str, Any]) -> None:
    random.setstate(state["python"])
    np.random.set_state(state["numpy"])
    if "torch" in sys.modules and "torch" in state:
        sys.modules["torch"].set_rng_state(state["torch"])


class InTurn(WorkThreads):
    """The threads of a node whose computations take turns with those of all others of its worker."""

    def __init__(self, node: str, occupancy: Occupancy | None, turn: trio.Lock, generators: Generators) -> None:
        super().__init__(node, occupancy)
        self._turn, self._generators = turn, generators

    async def run(self, thread: str, function: Callable[..., R], *arguments: Any) -> R:
        self._count(1)
        try:
            async with self._turn:
                return await super().run(thread, self._generators.use, function, *arguments)
        finally:
            self._count(-1)


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
    if type(array) is not np.ndarray or not array.nbytes or not array.ctypes.data % ALIGNMENT:
        return array
    room = np.empty(array.nbytes + ALIGNMENT, np.uint8)
    begin = -room.ctypes.data % ALIGNMENT
    copy = room[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    copy.flags.writeable = False
    return copy
