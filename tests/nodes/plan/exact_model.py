"""A game's own rules as a model that planners can ask: all moves alike, and nothing known of a position but its end."""

from __future__ import annotations

import numpy as np

from nodes.games.interface import Position, legal_of
from nodes.games.messages import Evaluations, Positions, Roots, Steps


class ExactModel:
    """positions: that may be asked about, told by what is seen of them."""

    def __init__(self, positions: list[Position]) -> None:
        self.known = {position.observation().tobytes(): position for position in positions}
        self.slots: dict[tuple[int, int], Position] = {}
        self.epoch = 0
        self.asked: list[int] = []

    def roots(self, asked: Roots) -> Evaluations:
        positions = [self.known[row.tobytes()] for row in asked.observations]
        return self._evaluated(positions, asked.planners, asked.slots, np.zeros(len(positions), np.float32))

    def steps(self, asked: Steps) -> Evaluations:
        self.asked.append(len(asked.slots))
        before = [self.slots[key] for key in zip(asked.planners.tolist(), asked.parents.tolist(), strict=True)]
        after = [
            was if was.over else was.after(action) for was, action in zip(before, asked.actions.tolist(), strict=True)
        ]
        paid = [0.0 if was.over else now.reward for was, now in zip(before, after, strict=True)]
        return self._evaluated(after, asked.planners, asked.slots, np.array(paid, np.float32))

    def _evaluated(self, positions, planners, slots, rewards) -> Evaluations:
        self.slots.update(zip(zip(planners.tolist(), slots.tolist(), strict=True), positions, strict=True))
        # What is over stays so whatever is done, which keeps the tree behind it shallow.
        over = np.array([[position.over] for position in positions])
        logits = np.where(legal_of(positions) | over, 0, -np.inf).astype(np.float32)
        return Evaluations(rewards, logits, np.zeros(len(positions), np.float32), self.epoch, 7)


def asking(positions: list[Position], noisy: bool = False) -> Positions:
    """All of these positions in one question."""
    observations = np.stack([position.observation() for position in positions])
    return Positions(observations, legal_of(positions), np.full(len(positions), noisy))
