"""What MuZero learns of a game: values to come, and stretches to unroll the model along (arXiv:1911.08265, §3, G).

A game of T moves is kept by move: action a_t, reward u_{t+1} that it gave who made it, search value ν_t and visits π_t
at the position before it. d is γ, or -γ where two players alternate; values are from the view of who moves.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from flow.errors import SettingError

Beyond = Literal["zero", "outcome"]
Floats = NDArray[np.float32]


def n_step_values(rewards: NDArray[Any], root_values: NDArray[Any], discount: float, steps: int) -> Floats:
    """z_t = Σ_{i=1}^{n} d^{i-1} u_{t+i} + d^n ν_{t+n}, with ν = 0 past the end; (T,).

    Args:
      rewards: (T,), that of move t at t.
      root_values: (T,) ν_t.
      discount: d.
      steps: n; T or more sums the whole game.
    """
    length = len(rewards)
    if steps >= length:
        values = np.zeros(length + 1)
        for t in reversed(range(length)):
            values[t] = rewards[t] + discount * values[t + 1]
        return values[:length].astype(np.float32)
    padded = np.concatenate([rewards, np.zeros(steps)])
    values = np.zeros(length)
    for i in range(steps):
        values += discount**i * padded[i : i + length]
    later = np.concatenate([root_values[steps:], np.zeros(steps)])
    return np.asarray(values + discount**steps * later, np.float32)


@dataclass(frozen=True)
class Record:
    """A game as it is learned from, T moves long.

    values: z_t, (T + K + 1,), with what stands past the end. rewards: (T + K,) of each move, likewise.
    """

    actions: NDArray[np.int64]
    rewards: Floats
    policies: Floats
    values: Floats


def record(
    actions: NDArray[Any],
    rewards: NDArray[Any],
    policies: NDArray[Any],
    root_values: NDArray[Any],
    *,
    discount: float,
    steps: int,
    unroll: int,
    beyond: Beyond,
) -> Record:
    """Work out the targets of a game.

    Args:
      actions, rewards, root_values: (T,). policies: (T, A).
      discount, steps: of `n_step_values`.
      unroll: K.
      beyond: what the value is past the end. "zero": nothing more comes. "outcome": a board game's outcome stays its
        value, from the view of who would move; the model then learns no reward at all, or it would count twice.

    Raises:
      SettingError: "outcome" with a discount, under which an outcome does not stay.
    """
    values = n_step_values(rewards, root_values, discount, steps)
    after = np.zeros(unroll + 1, np.float32)
    paid = np.concatenate([rewards, np.zeros(unroll)]).astype(np.float32)
    if beyond == "outcome":
        if abs(discount) != 1:
            raise SettingError(f'beyond="outcome" needs a discount of 1, found {abs(discount)}; set beyond = "zero"')
        after = (paid[len(rewards) - 1] * discount ** np.arange(1, unroll + 2)).astype(np.float32)
        paid = np.zeros_like(paid)
    return Record(
        np.asarray(actions, np.int64), paid, np.asarray(policies, np.float32), np.concatenate([values, after])
    )


@dataclass(frozen=True)
class Unrolled:
    """Stretches of K moves from B positions on. Of step k: what follows k of its moves.

    actions: (B, K). rewards: (B, K) of each move. values: (B, K+1) z. policies: (B, K+1, A) π. real: (B, K+1), whether
    the game was still on; past its end moves are drawn at random, and there is no policy to learn.
    """

    actions: NDArray[np.int64]
    rewards: Floats
    values: Floats
    policies: Floats
    real: NDArray[np.bool_]


def unrolled(records: list[Record], starts: list[int], unroll: int, rng: np.random.Generator) -> Unrolled:
    """The stretch of K moves from move `starts[i]` of `records[i]` on."""
    rows, choices = len(records), records[0].policies.shape[1]
    actions = rng.integers(0, choices, (rows, unroll))
    rewards = np.empty((rows, unroll), np.float32)
    values = np.empty((rows, unroll + 1), np.float32)
    policies = np.zeros((rows, unroll + 1, choices), np.float32)
    left = np.empty(rows, np.int64)
    for row, (game, start) in enumerate(zip(records, starts, strict=True)):
        stop = start + unroll
        left[row] = len(game.actions) - start
        actions[row, : left[row]] = game.actions[start:stop]
        rewards[row] = game.rewards[start:stop]
        values[row] = game.values[start : stop + 1]
        policies[row, : left[row]] = game.policies[start : stop + 1]
    return Unrolled(actions, rewards, values, policies, np.arange(unroll + 1) < left[:, None])
