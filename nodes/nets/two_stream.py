"""Networks that tell what is done in a video from one frame or one stack of flow, with a head for each data set.

x (B, channels, size, size) ─► trunk ─► features (B, F) ─► head of each task ─► logits (B, classes of the task)

"cnn_m" is CNN-M-2048 (Chatfield et al., arXiv:1405.3531) as the two-stream paper draws it (arXiv:1406.2199, figure 1);
"small" is for pictures of some 50 pixels, and minutes on a CPU.

The paper does not say how its weights begin. Here what a layer says begins as large as what it sees (He et al.,
arXiv:1502.01852, eq. 10); by PyTorch's own default each layer of ReLUs makes it 0.4 times as large, until the answer
hardly depends on the input. Heads begin small (Krizhevsky et al., 2012, section 5): all classes are as likely.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from flow.errors import MissingError, SettingError


class TwoStreamNet(nn.Module):
    """A trunk and a head for each task.

    Args:
      network: "small" or "cnn_m".
      channels: of the input: 3 for a frame, 2L for L flow fields.
      size: height and width of the input.
      classes: of each task.
      dropout: probability that a feature is dropped, 0.9 in the paper's temporal network.
      second_norm: whether cnn_m normalises its second layer's answers, as the spatial network does.
    """

    def __init__(
        self, network: str, channels: int, size: int, classes: Sequence[int], dropout: float, second_norm: bool
    ) -> None:
        super().__init__()
        if network == "small":
            layers, widths = _small(channels), [256]
        else:
            layers, widths = _cnn_m(channels, second_norm), [4096, 2048]
        convolutions = nn.Sequential(*layers)
        with torch.inference_mode():
            try:
                features = convolutions(torch.zeros(1, channels, size, size)).numel()
            except RuntimeError as error:
                raise SettingError(f"size = {size} is too small for network = {network!r}: {error}") from error
        full: list[nn.Module] = [nn.Flatten()]
        for before, after in zip([features, *widths], widths, strict=False):
            full += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)]
        self.trunk = nn.Sequential(convolutions, *full)
        self.heads = nn.ModuleList(nn.Linear(widths[-1], count) for count in classes)
        _begin(self.trunk, partial(nn.init.kaiming_normal_, nonlinearity="relu"))
        _begin(self.heads, partial(nn.init.normal_, std=0.01))

    def forward(self, inputs: Tensor) -> list[Tensor]:
        """Logits of every task for each of B inputs."""
        features = self.trunk(inputs)
        return [head(features) for head in self.heads]


def _begin(part: nn.Module, draw: Callable[[Tensor], Tensor]) -> None:
    for parameter in part.parameters():
        if parameter.ndim > 1:
            draw(parameter)
        else:
            nn.init.zeros_(parameter)


def _small(channels: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, 24, 5, 2, 2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(24, 48, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(48, 48, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2),
    ]  # fmt: skip


def _cnn_m(channels: int, second_norm: bool) -> list[nn.Module]:
    # Krizhevsky's constants; PyTorch divides alpha by the size.
    second = [nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0)] if second_norm else []
    return [
        nn.Conv2d(channels, 96, 7, 2), nn.ReLU(), nn.LocalResponseNorm(5, alpha=5e-4, beta=0.75, k=2.0),
        nn.MaxPool2d(3, 2),
        nn.Conv2d(96, 256, 5, 2, 1), nn.ReLU(), *second, nn.MaxPool2d(3, 2, ceil_mode=True),
        nn.Conv2d(256, 512, 3, padding=1), nn.ReLU(),
        nn.Conv2d(512, 512, 3, padding=1), nn.ReLU(),
        nn.Conv2d(512, 512, 3, padding=1), nn.ReLU(), nn.MaxPool2d(3, 2),
    ]  # fmt: skip


def load_trunk(network: TwoStreamNet, path: Path) -> None:
    """Put the trunk of a trained network of the same kind in place; heads stay as they are, being of other classes.

    Args:
      path: a safetensors file with the names of this module's parameters, as nodes.sink.weights writes it.

    Raises:
      MissingError: there is no such file.
      SettingError: it holds no such trunk.
    """
    try:
        found: Mapping[str, Tensor] = safetensors.torch.load_file(path)
    except FileNotFoundError as error:
        raise MissingError(f"pretrained = {str(path)!r}: there is no such file") from error
    except (OSError, safetensors.SafetensorError) as error:
        raise SettingError(f"pretrained = {str(path)!r} is no safetensors file: {error}") from error
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if not name.startswith("trunk."):
                continue
            if name not in found or found[name].shape != tensor.shape:
                has = "nothing" if name not in found else f"shape {tuple(found[name].shape)}"
                raise SettingError(
                    f"pretrained = {str(path)!r}: expected {name} of shape {tuple(tensor.shape)}, found {has}; it has "
                    "to be of the same network, kind of input and size"
                )
            tensor.copy_(found[name])
