"""Layers that are each tied to all of the next: for inputs without a structure worth a convolution.

x (B, ...) ─► flattened ─► linear, ReLU ─► … ─► linear ─► (B, outputs)
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn


class Perceptron(nn.Module):
    """A multilayer perceptron.

    Args:
      inputs: numbers of one input, all its dimensions together.
      hidden: widths of the hidden layers; none makes it linear.
      outputs: numbers of one output.
    """

    def __init__(self, inputs: int, hidden: Sequence[int], outputs: int) -> None:
        super().__init__()
        widths = [inputs, *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for before, after in pairwise(widths):
            layers += [nn.Linear(before, after), nn.ReLU()]
        self.layers = nn.Sequential(*layers, nn.Linear(widths[-1], outputs))

    def blocks(self) -> list[nn.Module]:
        """What it runs one after the other, so that it can be split."""
        return list(self.layers)

    def forward(self, inputs: Float[Tensor, "B ..."]) -> Float[Tensor, "B outputs"]:
        """One output for each of B inputs."""
        answer: Tensor = self.layers(inputs)
        return answer
