"""What stands for the learner and the replay where only acting is measured."""

from __future__ import annotations

import trio

from flow import Context, In, Publish, compute, node
from nodes.games.interface import task_named
from nodes.games.messages import PlayedGame
from nodes.learn.muzero import Student
from nodes.messages import Weights


@node(needs=("torch",))
async def fresh_weights(
    weights: Publish[Weights], context: Context, *, game: str, network: str, width: int, blocks: int, bins: int
) -> None:
    """Publish a network that has learned nothing, once."""
    task = task_named(game)
    student = await compute(
        Student, task.observation_shape, task.actions, network, width, blocks, bins, "cpu", "adam", 0.0, 1.0,
        context.seed, task.action_planes(),
    )  # fmt: skip
    await weights.publish(await compute(student.weights), 0)
    await trio.sleep_forever()


@node
async def game_sink(games: In[PlayedGame]) -> None:
    """Take games."""
    async for _ in games:
        pass
