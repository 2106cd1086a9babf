"""Nodes that the runs of general nodes need at their ends: a policy that asks nobody, and one that counts."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float32, Int64

from flow import Array, Context, In, Message, Serve, node
from nodes.experience import Observations


class Choice(Message):
    """What to do, and how sure one is."""

    actions: Int64[Array, "rows"]
    certainty: Float32[Array, "rows"]


class Steps(Message):
    """Of transitions, what a learner would read first."""

    observations: Float32[Array, "rows steps 4"]
    actions: Int64[Array, "rows steps"]
    certainty: Float32[Array, "rows steps"]


@node
async def alternate(requests: Serve[Observations, Choice]) -> None:
    """Push left and right in turn."""
    turn = 0
    async for batch in requests.batches():
        rows = len(batch.questions.first)
        batch.answer(Choice(np.full(rows, turn), np.full(rows, 0.5, np.float32)))
        turn = 1 - turn


@node
async def learner(steps: In[Steps], context: Context) -> None:
    """Count what arrives."""
    async for message in steps:
        context.metrics.count("learned", message.actions.size)
