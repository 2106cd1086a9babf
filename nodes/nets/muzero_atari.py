"""MuZero for Atari: frames are made smaller, then a tower as for boards (arXiv:1911.08265, appendix F).

    planes S x S ─► conv/2 ─► blocks ─► conv/2 ─► blocks ─► pool/2 ─► blocks ─► pool/2 ─► board network on S/16 x S/16

With 16 blocks of 256 planes the sizes are the paper's: 2 blocks of 128 planes at a half of the pixels, 3 of 256 at a
quarter, 3 at an eighth. Fewer blocks are fewer everywhere.
"""

from __future__ import annotations

from typing import cast

from torch import Tensor, nn

from nodes.nets.muzero import as_numbers
from nodes.nets.muzero_board import Board, Residual, convolved

SHRINKS = 16
"""Pixels a side of a frame to one of a hidden state."""


class Atari(nn.Module):
    """Planes (C, S, S) in, S a multiple of 16; see MuZeroNetwork for what comes out."""

    def __init__(
        self,
        observation_shape: tuple[int, ...],
        actions: int,
        *,
        width: int = 64,
        blocks: int = 2,
        bins: int = 0,
        action_planes: Tensor | None = None,
    ) -> None:
        if len(observation_shape) != 3 or any(side % SHRINKS for side in observation_shape[1:]):
            raise ValueError(
                f'network "atari" takes planes (C, S, S) with S a multiple of {SHRINKS}, found {observation_shape}; '
                'give it a game of Atari, or set network = "board"'
            )
        super().__init__()
        channels, height, columns = observation_shape
        half = max(width // 2, 1)
        self.shrunk = nn.Sequential(
            convolved(channels, half, 2),
            *_tower(half, min(blocks, 2)),
            convolved(half, width, 2),
            *_tower(width, min(blocks, 3)),
            nn.AvgPool2d(2),
            *_tower(width, min(blocks, 3)),
            nn.AvgPool2d(2),
        )
        hidden = (width, height // SHRINKS, columns // SHRINKS)
        self.board = Board(hidden, actions, width=width, blocks=blocks, bins=bins, action_planes=action_planes)
        self.hidden_shape = self.board.hidden_shape

    def represent(self, observations: Tensor) -> Tensor:
        """See MuZeroNetwork."""
        return self.board.represent(cast(Tensor, self.shrunk(as_numbers(observations))))

    def dynamics(self, hidden: Tensor, actions: Tensor) -> tuple[Tensor, Tensor]:
        """See MuZeroNetwork."""
        return self.board.dynamics(hidden, actions)

    def predict(self, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """See MuZeroNetwork."""
        return self.board.predict(hidden)


def _tower(width: int, blocks: int) -> list[Residual]:
    return [Residual(width) for _ in range(blocks)]
