"""A synchronous PPO loop on AtariVectorEnv, as CleanRL's ppo_atari.py does it: the peer that `loop` is read beside.

    python -m tools.bench.ppo_peer --epochs 4 --seconds 8      prints steps/s and CPU-ms a step

8 games, 128 steps, 4 minibatches, Nature-CNN, Adam; the whole of its training, without logging. One process: the
games are stepped, the policy is asked and the update is made one after the other.
"""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
from ale_py.vector_env import AtariVectorEnv
from torch import Tensor, nn

GAMES, STEPS, MINIBATCHES, ACTIONS = 8, 128, 4, 6
DISCOUNT, TRACE, CLIP = 0.99, 0.95, 0.1


class NatureCNN(nn.Module):
    """Policy and value on the network of Mnih et al. 2015."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(4, 32, 8, 4), nn.ReLU(), nn.Conv2d(32, 64, 4, 2), nn.ReLU(), nn.Conv2d(64, 64, 3, 1), nn.ReLU(),
            nn.Flatten(), nn.Linear(64 * 7 * 7, 512), nn.ReLU(),
        )  # fmt: skip
        self.policy, self.value = nn.Linear(512, ACTIONS), nn.Linear(512, 1)

    def forward(self, stacks: Tensor) -> tuple[Tensor, Tensor]:
        features = self.body(stacks.float() / 255)
        return self.policy(features), self.value(features)[:, 0]


def main() -> None:
    """Train for so many seconds and print what it took."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.ppo_peer", description=__doc__.split("\n")[0])
    parser.add_argument("--epochs", type=int, default=4, help="passes over each batch (default 4, as CleanRL)")
    parser.add_argument("--seconds", type=float, default=8.0, help="of measuring (default 8)")
    parser.add_argument("--threads", type=int, default=1, help="of torch (default 1, as each worker of flow has)")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    loop = Loop(options.epochs)
    loop.iterate()
    began, cpu, done = time.perf_counter(), time.process_time(), 0
    while time.perf_counter() - began < options.seconds:
        loop.iterate()
        done += GAMES * STEPS
    print(done / (time.perf_counter() - began), 1000 * (time.process_time() - cpu) / done)


class Loop:
    """The games, the network and the buffers."""

    def __init__(self, epochs: int) -> None:
        self.epochs = epochs
        self.env = AtariVectorEnv("pong", GAMES, num_threads=2, noop_max=30)
        self.network = NatureCNN()
        self.adam = torch.optim.Adam(self.network.parameters(), lr=2.5e-4, eps=1e-5)
        self.seen = torch.as_tensor(np.array(self.env.reset(seed=0)[0]))
        self.stacks = torch.zeros(STEPS, GAMES, 4, 84, 84, dtype=torch.uint8)
        self.actions = torch.zeros(STEPS, GAMES, dtype=torch.int64)
        self.logs, self.rewards, self.ended, self.values = torch.zeros(4, STEPS, GAMES)

    def iterate(self) -> None:
        """Play 128 steps in each game, then learn from them."""
        with torch.no_grad():
            for t in range(STEPS):
                logits, self.values[t] = self.network(self.seen)
                drawn = torch.distributions.Categorical(logits=logits)
                self.stacks[t], self.actions[t] = self.seen, drawn.sample()
                self.logs[t] = drawn.log_prob(self.actions[t])
                stacks, rewards, terminated, truncated, _ = self.env.step(self.actions[t].numpy())
                self.seen = torch.as_tensor(np.array(stacks))
                self.rewards[t], self.ended[t] = torch.as_tensor(rewards), torch.as_tensor(terminated | truncated)
            advantages = self.advantages(self.network(self.seen)[1])
        self.learn(advantages)

    def advantages(self, value: Tensor) -> Tensor:
        """Generalised advantages, (T, B)."""
        advantages = torch.zeros(STEPS, GAMES)
        last = torch.zeros(GAMES)
        for t in reversed(range(STEPS)):
            alive = 1 - self.ended[t]
            delta = self.rewards[t] + DISCOUNT * value * alive - self.values[t]
            last = advantages[t] = delta + DISCOUNT * TRACE * alive * last
            value = self.values[t]
        return advantages

    def learn(self, advantages: Tensor) -> None:
        """Some epochs of four minibatches."""
        size = STEPS * GAMES
        stacks, actions, logs = self.stacks.view(size, 4, 84, 84), self.actions.view(-1), self.logs.view(-1)
        flat, returns = advantages.view(-1), (advantages + self.values).view(-1)
        for _ in range(self.epochs):
            for rows in torch.randperm(size).split(size // MINIBATCHES):
                logits, values = self.network(stacks[rows])
                policy = torch.distributions.Categorical(logits=logits)
                ratio = (policy.log_prob(actions[rows]) - logs[rows]).exp()
                gain = (flat[rows] - flat[rows].mean()) / (flat[rows].std() + 1e-8)
                loss = -torch.min(gain * ratio, gain * ratio.clamp(1 - CLIP, 1 + CLIP)).mean()
                loss = loss - 0.01 * policy.entropy().mean() + 0.25 * (values - returns[rows]).pow(2).mean()
                self.adam.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(self.network.parameters(), 0.5)
                self.adam.step()


if __name__ == "__main__":
    main()
