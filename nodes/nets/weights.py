"""A network's weights as named arrays, which is how they travel, and arrays as tensors on a device."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from flow import Array
from flow.errors import MessageError


def weights_of(network: nn.Module) -> dict[str, Array]:
    """A copy of all parameters and buffers by name."""
    return {name: tensor.detach().float().cpu().numpy().copy() for name, tensor in network.state_dict().items()}


def load_weights(network: nn.Module, tensors: Mapping[str, Array]) -> None:
    """Copy weights into a network.

    Raises:
      MessageError: they are another architecture's.
    """
    own = network.state_dict()
    if own.keys() != tensors.keys():
        differing = sorted(own.keys() ^ tensors.keys())
        raise MessageError(
            f"these weights are not of a {type(network).__name__}: {', '.join(differing[:4])} is in one of them alone; "
            "give every node the same `network`"
        )
    with torch.no_grad():
        for name, tensor in own.items():
            if tuple(tensor.shape) != tensors[name].shape:
                raise MessageError(
                    f"weights {name}: expected shape {tuple(tensor.shape)}, found {tensors[name].shape}; "
                    "give every node the same game and network"
                )
            tensor.copy_(tensor_of(tensors[name], tensor.device))


def tensor_of(array: Array, device: torch.device) -> Tensor:
    """A tensor of an array's values; on the CPU it shares the array's memory."""
    with warnings.catch_warnings():  # messages are read-only, which a tensor cannot be; nothing writes to it
        warnings.simplefilter("ignore", UserWarning)
        tensor = torch.from_numpy(array if array.flags.c_contiguous else np.ascontiguousarray(array))
    return tensor.to(device, non_blocking=True)
