"""Plays whole Atari games by a planner's advice without noise, and says what they are worth.

weights, every so many updates ──► games from random no-ops on, the most visited action each ──► mean return, and where
it lies between random play and a human

The paper's protocol: up to 30 no-ops first, at most 30 minutes of play, no sticky actions (arXiv:1911.08265, appendix
K); scores of random play and of humans as in `nodes.algo.atari_scores`.
"""

from __future__ import annotations

from typing import Annotated

import numpy as np
import trio

from flow import Array, Call, Context, Latest, Promises, Range, compute, node
from nodes.algo.atari_scores import SCORES, human_normalised
from nodes.games.atari import Emulator, atari_task
from nodes.games.interface import TASKS
from nodes.games.messages import Plans, Positions
from nodes.messages import Weights


@node(needs=("ale_py",), promises=Promises(given="nodes.given.learning:atari_returns"))
async def returns(
    planner: Call[Positions, Plans],
    weights: Latest[Weights],
    context: Context,
    *,
    game: Annotated[str, TASKS],
    lanes: Annotated[int, Range(1, 1000)] = 8,
    every: Annotated[int, Range(1)] = 1000,
    no_ops_max: Annotated[int, Range(0, 60)] = 30,
    episode_frames_max: Annotated[int, Range(1)] = 108_000,
) -> None:
    """Play a game in each lane to its end: `exam_return` is what one gave, `exam_human` the same human-normalised.

    Each lane plays one game, so that short games are not counted more often than long ones.

    Args:
      game: "atari:pong"; see `nodes.games.atari` for its options.
      lanes: games in an evaluation, all at once; the paper plays 1000.
      every: updates of the weights from one evaluation to the next.
      no_ops_max: a game begins with up to so many actions that do nothing.
      episode_frames_max: emulator frames after which a game is cut short; 108 000 are 30 minutes.
    """
    task = atari_task(game)
    due = 0
    while True:
        try:
            await weights.wait(due - 1)
        except trio.EndOfChannel:
            return
        version = weights.version
        due = version + every
        seed = int(np.random.SeedSequence((context.seed, context.incarnation, version)).generate_state(1)[0])
        env = await compute(
            lambda seed=seed: Emulator(task, lanes, seed, no_ops_max=no_ops_max, frames_max=episode_frames_max)
        )
        scores = await _played(env, lanes, planner)
        mean = float(scores.mean())
        context.metrics.count("evaluations")
        context.metrics.record("exam_return", mean)
        text = f"updates {version}: {mean:.1f} a game over {lanes} games, from {scores.min():g} to {scores.max():g}"
        if task.rom in SCORES:
            normalised = human_normalised(task.rom, mean)
            context.metrics.record("exam_human", normalised)
            text += f"; human-normalised {normalised:.3f}"
        context.log(text)


async def _played(env: Emulator, lanes: int, planner: Call[Positions, Plans]) -> Array:
    """What the first game of each lane gave, (B,). Lanes that are done wait, and are not asked about."""
    scores = np.zeros(lanes)
    left = np.arange(lanes)
    actions = np.zeros(lanes, np.int64)
    while left.size:
        seen = env.observations()[left]
        legal = np.ones((len(left), env.task.actions), bool)
        plans = await planner(Positions(seen, legal, np.zeros(len(left), bool)))
        actions[left] = plans.visits.argmax(1)
        stepped = await compute(lambda: env.step(actions))
        scores[left] += stepped.rewards[left]
        left = left[~(stepped.terminated | stepped.truncated)[left]]
    return scores
