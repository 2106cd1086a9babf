"""Catch: a ball falls down a 10x7 board, a paddle must be under it; for claims that need learning in seconds.

    Catch ──observation (B, 70)──► policy ──action──► Catch      reward ±1 at the end of nine steps

Many boards in step, with the same NEXT_STEP autoreset as the Atari games: the step after an end is ignored.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from nodes.algo.laser import Unrolls

ROWS, COLUMNS, ACTIONS = 10, 7, 3  # left, stay, right
UNROLL = 20
DISCOUNT = 0.99

Policy = Callable[[Tensor], Tensor]
"""Observations (B, 70) to logits (B, 3)."""


class Catch:
    """B boards; row, ball and paddle of each, (B,)."""

    def __init__(self, boards: int, draw: torch.Generator) -> None:
        self.draw = draw
        self.row = torch.zeros(boards, dtype=torch.int64)
        self.ball = torch.randint(COLUMNS, (boards,), generator=draw)
        self.paddle = torch.full((boards,), COLUMNS // 2)
        self.first = torch.ones(boards, dtype=torch.bool)

    def observe(self) -> Tensor:
        """Draw the boards: 1 at the ball and at the paddle, (B, 70)."""
        return draw_boards(self.row, self.ball, self.paddle)

    def step(self, action: Tensor) -> tuple[Tensor, Tensor]:
        """Move; reward and whether the episode terminated, (B,) each."""
        over = self.row == ROWS - 1
        paddle = (self.paddle + action - 1).clamp(0, COLUMNS - 1)
        fresh = torch.randint(COLUMNS, self.ball.shape, generator=self.draw)
        self.paddle = torch.where(over, COLUMNS // 2, paddle)
        self.ball = torch.where(over, fresh, self.ball)
        self.row = torch.where(over, 0, self.row + 1)
        self.first = over
        ended = self.row == ROWS - 1
        reward = torch.where(self.ball == self.paddle, 1.0, -1.0)
        return torch.where(ended, reward, 0.0), ended


class Play(NamedTuple):
    """Unrolls and what was seen: observations (T+1, B, 70)."""

    seen: Tensor
    unrolls: Unrolls


def draw_boards(row: Tensor, ball: Tensor, paddle: Tensor) -> Tensor:
    """Observations of boards in the given states, (B, 70)."""
    board = torch.zeros(len(row), ROWS * COLUMNS)
    board.scatter_(1, (row * COLUMNS + ball)[:, None], 1.0)
    board.scatter_(1, ((ROWS - 1) * COLUMNS + paddle)[:, None], 1.0)
    return board


def toward(strength: float, bias: tuple[float, float, float] = (0.0, 0.0, 0.0)) -> Policy:
    """A policy that prefers the move toward the ball, by `strength` in logits; away from it when negative."""

    def policy(seen: Tensor) -> Tensor:
        board = seen.view(-1, ROWS, COLUMNS)
        paddle = board[:, -1].argmax(-1)
        # Before the last row the ball is the highest mark; in the last row nothing is left to choose.
        ball = board[:, :-1].sum(1).argmax(-1)
        wanted = (ball - paddle).sign() + 1
        return strength * nn.functional.one_hot(wanted, ACTIONS) + torch.tensor(bias)

    return policy


@torch.no_grad()
def play(catch: Catch, policy: Policy, times: int = UNROLL) -> Play:
    """Play on for `times` steps; the unrolls count as online."""
    seen, first = [catch.observe()], [catch.first]
    logits, action, reward, terminated = [], [], [], []
    for _ in range(times):
        logits.append(policy(seen[-1]))
        chosen = torch.multinomial(logits[-1].softmax(-1), 1, generator=catch.draw)[:, 0]
        gain, ended = catch.step(chosen)
        action.append(chosen)
        reward.append(gain)
        terminated.append(ended)
        seen.append(catch.observe())
        first.append(catch.first)
    unrolls = Unrolls(
        action=torch.stack(action),
        reward=torch.stack(reward),
        terminated=torch.stack(terminated),
        first=torch.stack(first),
        behaviour=torch.stack(logits),
        online=torch.ones(len(seen[0]), dtype=torch.bool),
    )
    return Play(torch.stack(seen), unrolls)


def join(online: Play | None, replayed: Play | None) -> Play:
    """One batch: the online unrolls, then the replayed ones, marked as such."""
    parts = [part for part in (online, replayed) if part is not None]
    flags = [torch.full_like(part.unrolls.online, part is online) for part in parts]
    names = ("action", "reward", "terminated", "first", "behaviour")
    columns = {name: torch.cat([getattr(part.unrolls, name) for part in parts], 1) for name in names}
    return Play(torch.cat([part.seen for part in parts], 1), Unrolls(**columns, online=torch.cat(flags)))


def pick(stored: Play, count: int, draw: torch.Generator) -> Play:
    """Draw stored unrolls uniformly, with replacement."""
    lanes = torch.randint(stored.seen.shape[1], (count,), generator=draw)
    names = ("action", "reward", "terminated", "first", "behaviour")
    columns = {name: getattr(stored.unrolls, name)[:, lanes] for name in names}
    return Play(stored.seen[:, lanes], Unrolls(**columns, online=stored.unrolls.online[lanes]))


def mean_return(policy: Policy, draw: torch.Generator, episodes: int = 1000) -> float:
    """Play whole episodes; every one gives -1 or +1."""
    return play(Catch(episodes, draw), policy, ROWS - 1).unrolls.reward.sum(0).mean().item()


class Agent(nn.Module):
    """MLP 64-64 with logits and value."""

    def __init__(self) -> None:
        super().__init__()
        self.torso = nn.Sequential(_layer(ROWS * COLUMNS, 64, 2**0.5), nn.ReLU(), _layer(64, 64, 2**0.5), nn.ReLU())
        self.policy = _layer(64, ACTIONS, 0.01)
        self.value = _layer(64, 1, 1.0)

    def forward(self, seen: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (..., 3) and values (...)."""
        hidden = self.torso(seen)
        return self.policy(hidden), self.value(hidden)[..., 0]

    def act(self, seen: Tensor) -> Tensor:
        """Logits alone: a Policy."""
        logits: Tensor = self.policy(self.torso(seen))
        return logits


def _layer(inputs: int, outputs: int, gain: float) -> nn.Linear:
    # As in nodes/nets/small.py. torch's own defaults make seeds differ more than the claims' effects do.
    layer = nn.Linear(inputs, outputs)
    nn.init.orthogonal_(layer.weight, gain)
    nn.init.zeros_(layer.bias)
    return layer
