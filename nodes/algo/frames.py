"""Rebuild stacks of four frames from the single frames that replay keeps.

    frames   c c c 0 1 2 3 …  ──► stacks   [c c c 0] [c c 0 1] [c 0 1 2] …

A stack holds nothing from before its episode: ale-py's AtariVectorEnv clears it at a reset and lets frames
fill it from the newest place, so older places are black. The same is done here.
"""

from __future__ import annotations

import torch
from jaxtyping import Bool, UInt8
from torch import Tensor

STACK = 4
"""Frames in a stack, oldest first."""


def stack_frames(
    frames: UInt8[Tensor, "B 3+T+1 84 84"],
    first: Bool[Tensor, "B T+1"],
    *,
    context_first: Bool[Tensor, "B 3"] | None = None,
    out: UInt8[Tensor, "T+1 B 4 84 84"] | None = None,
) -> UInt8[Tensor, "T+1 B 4 84 84"]:
    """Stack each observation's frame on the three before it, black where those are from before its episode.

    Args:
      frames: three frames of context, then the T+1 observations' own.
      first: observation t is the first of an episode.
      context_first: the same for the context. None says that none of it is a first frame, or that what lies
        before one there is black already.
      out: written and returned, so that a learner can reuse one buffer; a new tensor when None.

    Raises:
      ValueError: two shapes disagree.
    """
    batch, context_and_time = frames.shape[:2]
    times = context_and_time - (STACK - 1)
    if first.shape != (batch, times):
        raise ValueError(
            f"{context_and_time} frames are 3 of context and {times} observations, so first must be "
            f"({batch}, {times}); it is {tuple(first.shape)}"
        )
    if out is None:
        out = frames.new_empty(times, batch, STACK, *frames.shape[2:])
    if context_first is None:
        context_first = first.new_zeros(batch, STACK - 1)
    starts = torch.cat([context_first, first], 1)
    for place in range(STACK):
        # Four long copies: several times as fast as one gather of (T+1)·B·4 frames.
        out[:, :, place] = frames[:, place : place + times].transpose(0, 1)
    for place in range(STACK - 1):
        # A frame is too old if an episode started after it, at most at the stack's own newest frame.
        too_old = starts[:, place + 1 : place + 1 + times]
        for later in range(place + 2, STACK):
            too_old = too_old | starts[:, later : later + times]
        lane, time = too_old.nonzero(as_tuple=True)
        out[time, lane, place] = 0
    return out
