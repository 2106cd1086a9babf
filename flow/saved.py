"""Durable state of a node: what it keeps is written into checkpoints and put back before its first message.

    network = saved.keep("network", ImpalaNet(actions))      # anything with state_dict / load_state_dict
    progress = saved.keep("progress", Progress())            # or a dataclass of numbers, texts and arrays

A checkpoint of a node is two files: tensors in safetensors, all else in msgpack with references to them. Neither
can run code when it is read.
"""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path
from typing import Any, TypeVar

import msgpack
import numpy as np
import safetensors.numpy

from flow import disk
from flow.errors import CheckpointError

T = TypeVar("T")

_NUMPY, _TORCH, _TUPLE, _BIG = 1, 2, 3, 4  # msgpack extension types


class Saved:
    """What a node asked to keep.

    restored: state by name from a checkpoint, None in a fresh run. rewound: the whole run goes on from where it was
    saved, or from its beginning if it never was, so that what came after that comes again. A node that is started again
    alone gets nothing twice. Who writes outside of its state, to a file for instance, takes back here what it wrote
    since.
    """

    def __init__(self, restored: dict[str, Any] | None = None, *, rewound: bool = False) -> None:
        self._restored = restored
        self.rewound = rewound
        self._kept: dict[str, Any] = {}

    @property
    def resumed(self) -> bool:
        """Whether the node goes on from a checkpoint."""
        return self._restored is not None

    def keep(self, name: str, thing: T) -> T:
        """Keep `thing` in checkpoints, and give it the state of that name if the node goes on from one.

        Raises:
          CheckpointError: the checkpoint holds no such state, or state that `thing` does not take.
        """
        if name in self._kept:
            raise CheckpointError(f"saved state '{name}' is kept twice; give each thing a name of its own")
        if self._restored is not None:
            if name not in self._restored:
                raise CheckpointError(
                    f"the checkpoint holds no state '{name}', only {', '.join(sorted(self._restored)) or 'nothing'}; "
                    "it was made by another version of this node or by another graph"
                )
            _load(name, thing, self._restored[name])
        self._kept[name] = thing
        return thing

    def take_over(self, state: dict[str, Any]) -> None:
        """Give everything kept the state that another replica of the node has.

        Raises:
          CheckpointError: it holds no state of that name, or state that the thing does not take.
        """
        for name, thing in self._kept.items():
            if name not in state:
                raise CheckpointError(f"the other replica keeps no state '{name}', only {', '.join(sorted(state))}")
            _load(name, thing, state[name])

    def state(self) -> dict[str, Any]:
        """The state of everything kept, now; shares memory with it."""
        return {name: _state(thing) for name, thing in self._kept.items()}


def _state(thing: Any) -> Any:
    if hasattr(thing, "state_dict"):
        return thing.state_dict()
    if isinstance(thing, np.random.Generator):
        return thing.bit_generator.state
    if dataclasses.is_dataclass(thing) and not isinstance(thing, type):
        return {field.name: getattr(thing, field.name) for field in dataclasses.fields(thing)}
    raise CheckpointError(
        f"{type(thing).__name__} cannot be kept: it has no state_dict and load_state_dict and is no dataclass"
    )


def _load(name: str, thing: Any, state: Any) -> None:
    try:
        if hasattr(thing, "load_state_dict"):
            thing.load_state_dict(state)
        elif isinstance(thing, np.random.Generator):
            thing.bit_generator.state = state
        else:
            for field in dataclasses.fields(thing):
                setattr(thing, field.name, state[field.name])
    except (KeyError, RuntimeError, ValueError, TypeError) as error:
        raise CheckpointError(
            f"saved state '{name}' does not fit the {type(thing).__name__} it is for: {error}; "
            "go on with the settings of the run that made the checkpoint"
        ) from error


@dataclasses.dataclass(frozen=True)
class Packed:
    """State as bytes in memory: a copy, so that the node can go on while it is written."""

    tensors: bytes
    rest: bytes

    def write(self, directory: Path, name: str) -> list[str]:
        """Write NAME.safetensors and NAME.msgpack; returns the file names."""
        files = {f"{name}.safetensors": self.tensors, f"{name}.msgpack": self.rest}
        for file, content in files.items():
            disk.about_to("state", directory / file)
            (directory / file).write_bytes(content)
        return list(files)


def pack(state: dict[str, Any]) -> Packed:
    """Copy state into bytes."""
    tensors: dict[str, Any] = {}

    def refer(value: Any) -> Any:
        torch = sys.modules.get("torch")  # a node that keeps tensors has imported it
        if torch is not None and isinstance(value, torch.Tensor):
            # bfloat16 has no numpy type: its bits travel as int16
            value = value.detach().cpu()
            half = value.dtype is torch.bfloat16
            key = str(len(tensors))
            tensors[key] = np.array((value.view(torch.int16) if half else value).numpy(), order="C")
            return msgpack.ExtType(_TORCH, f"{key}{'b' if half else ''}".encode())
        if isinstance(value, np.ndarray):
            key = str(len(tensors))
            tensors[key] = np.array(value, order="C")
            return msgpack.ExtType(_NUMPY, key.encode())
        if isinstance(value, np.generic):
            return value.item()
        if isinstance(value, tuple):
            return msgpack.ExtType(_TUPLE, _packer(refer, list(value)))
        if isinstance(value, int):  # larger than msgpack's 64 bits: generators keep 128
            return msgpack.ExtType(_BIG, str(value).encode())
        raise CheckpointError(f"a {type(value).__name__} cannot be saved; use numbers, texts, lists, dicts and tensors")

    rest = _packer(refer, state)
    try:
        return Packed(safetensors.numpy.save(tensors), rest)
    except safetensors.SafetensorError as error:
        raise CheckpointError(f"an array cannot be saved: {error}") from error


def _packer(refer: Any, value: Any) -> bytes:
    packed: bytes = msgpack.packb(_small(value), default=refer, strict_types=True)
    return packed


def _small(value: Any) -> Any:
    """Containers as msgpack takes them; integers that it cannot hold are marked."""
    if type(value) is int and not -(1 << 63) <= value < 1 << 64:
        return msgpack.ExtType(_BIG, str(value).encode())
    if isinstance(value, dict):
        return {key: _small(item) for key, item in value.items()}
    if type(value) is list:
        return [_small(item) for item in value]
    return value


def unpack(tensors: bytes, rest: bytes) -> dict[str, Any]:
    """State from the bytes of a checkpoint."""
    arrays = safetensors.numpy.load(tensors)

    def resolve(code: int, data: bytes) -> Any:
        if code == _TUPLE:
            return tuple(msgpack.unpackb(data, ext_hook=resolve, strict_map_key=False))
        if code == _BIG:
            return int(data)
        array = np.array(arrays[data.decode().rstrip("b")])
        if code == _NUMPY:
            return array
        import torch  # the state holds torch tensors, so the node that reads it needs torch

        # In memory that torch chose, as a tensor has that was not restored: where it lies decides how kernels round.
        tensor = torch.from_numpy(array).clone()
        return tensor.view(torch.bfloat16) if data.endswith(b"b") else tensor

    state: dict[str, Any] = msgpack.unpackb(rest, ext_hook=resolve, strict_map_key=False)
    return state


_UNREADABLE = (OSError, ValueError, TypeError, KeyError, RuntimeError, msgpack.UnpackException)


def read(directory: Path, name: str) -> dict[str, Any] | None:
    """The state that a node of this name wrote into a checkpoint, None if it keeps none."""
    rest = directory / f"{name}.msgpack"
    if not rest.exists():
        return None
    try:
        return unpack((directory / f"{name}.safetensors").read_bytes(), rest.read_bytes())
    except (*_UNREADABLE, safetensors.SafetensorError) as error:
        raise CheckpointError(f"{rest}: the state of {name} cannot be read: {error}") from error
