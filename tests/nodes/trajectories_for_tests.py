"""Trajectories whose every number tells which step of which stream it belongs to."""

from __future__ import annotations

import numpy as np

from nodes.messages import Trajectories

ACTIONS = 3


def trajectories(
    streams: list[int], start: int, steps: int, *, first: np.ndarray | None = None, core: int = 0
) -> Trajectories:
    """Unrolls of several streams; step n of stream s has frame value (n + 31 s) % 251 + 1 and reward n + s / 8."""
    lanes = len(streams)
    at = np.arange(start - 3, start + steps + 1)
    values = (at[None] + 31 * np.array(streams)[:, None]) % 251 + 1
    frames = np.broadcast_to(values[..., None, None], (*values.shape, 84, 84)).astype(np.uint8)
    number = np.arange(start, start + steps)
    return Trajectories(
        frames=frames,
        first=np.zeros((lanes, steps + 1), bool) if first is None else first,
        actions=np.broadcast_to(number % ACTIONS, (lanes, steps)).astype(np.uint8),
        rewards=(number[None] + np.array(streams)[:, None] / 8).astype(np.float32),
        terminated=np.zeros((lanes, steps), bool),
        logits=np.broadcast_to(number[None, :, None], (lanes, steps, ACTIONS)).astype(np.float32),
        last_rewards=np.full(lanes, start - 1, np.float32),
        last_actions=np.full(lanes, (start - 1) % ACTIONS, np.int64),
        cores=np.full((lanes, core), start, np.float32),
        versions=np.full(lanes, start, np.int64),
        streams=np.array(streams, np.int64),
        starts=np.full(lanes, start, np.int64),
    )
