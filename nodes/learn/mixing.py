"""Makes batches of a fixed number of online and replayed unrolls, whatever pieces they come in."""

from __future__ import annotations

from collections import deque

import numpy as np

from nodes.messages import Trajectories

_FIELDS = [spec.name for spec in Trajectories.fields]


class Pile:
    """Unrolls that wait for their batch, oldest first."""

    def __init__(self) -> None:
        self._pieces: deque[Trajectories] = deque()
        self.unrolls = 0

    def add(self, piece: Trajectories) -> None:
        self._pieces.append(piece)
        self.unrolls += len(piece.actions)

    def take(self, unrolls: int) -> list[Trajectories]:
        """The oldest so many unrolls, in as few pieces as they came in."""
        assert unrolls <= self.unrolls
        taken = []
        while unrolls:
            piece = self._pieces.popleft()
            size = len(piece.actions)
            if size > unrolls:
                self._pieces.appendleft(cut(piece, unrolls, size))
                piece = cut(piece, 0, unrolls)
            taken.append(piece)
            self.unrolls -= len(piece.actions)
            unrolls -= len(piece.actions)
        return taken


def cut(piece: Trajectories, start: int, stop: int) -> Trajectories:
    """Some lanes of a piece; views, not copies."""
    return Trajectories(**{name: getattr(piece, name)[start:stop] for name in _FIELDS})


def joined(pieces: list[Trajectories]) -> Trajectories:
    """Pieces as one. A memory that a piece lacks, since the network that acted had none, is zeros."""
    if len(pieces) == 1:
        return pieces[0]
    core = max(piece.cores.shape[1] for piece in pieces)
    values = {}
    for name in _FIELDS:
        parts = [getattr(piece, name) for piece in pieces]
        if name == "cores":
            parts = [part if part.shape[1] == core else np.zeros((len(part), core), np.float32) for part in parts]
        values[name] = np.concatenate(parts)
    return Trajectories(**values)
