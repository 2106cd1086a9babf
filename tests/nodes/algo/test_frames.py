"""Stacks rebuilt from single frames are the ones the emulator gave."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nodes.algo.frames import stack_frames


def as_defined(frames, starts):
    """Frame by frame: black at a first observation, then shift the newest in; (B, 3+T+1, H, W)."""
    batch, count = frames.shape[:2]
    stacks = torch.zeros(count - 3, batch, 4, *frames.shape[2:], dtype=torch.uint8)
    for b in range(batch):
        stack = torch.zeros_like(stacks[0, 0])
        for n in range(count):
            if starts[b, n]:
                stack = torch.zeros_like(stack)
            stack = torch.cat([stack[1:], frames[b, n : n + 1]])
            if n >= 3:
                stacks[n - 3, b] = stack
    return stacks


@given(st.integers(0, 2**32 - 1), st.integers(1, 7), st.integers(1, 3), st.sampled_from([0.0, 0.2, 0.7]))
def test_a_stack_is_what_shifting_frames_in_gives(seed, times, batch, share):
    draw = torch.Generator().manual_seed(seed)
    frames = torch.randint(1, 256, (batch, 3 + times, 2, 2), dtype=torch.uint8, generator=draw)
    starts = torch.rand(batch, 3 + times, generator=draw) < share
    stacks = stack_frames(frames, starts[:, 3:], context_first=starts[:, :3])
    assert torch.equal(stacks, as_defined(frames, starts))


def test_a_used_buffer_shows_nothing_of_its_last_content():
    frames = torch.randint(1, 256, (2, 8, 84, 84), dtype=torch.uint8)
    first = torch.rand(2, 5) < 0.4
    out = torch.full((5, 2, 4, 84, 84), 77, dtype=torch.uint8)
    assert stack_frames(frames, first, out=out) is out
    assert torch.equal(out, stack_frames(frames, first))


def test_first_must_cover_the_observations_and_not_the_context():
    with pytest.raises(ValueError, match=r"first must be \(2, 5\); it is \(2, 8\)"):
        stack_frames(torch.zeros(2, 8, 84, 84, dtype=torch.uint8), torch.zeros(2, 8, dtype=torch.bool))


def test_stacks_are_the_emulator_s_own():
    """ale-py stacking four frames, and the same games' newest frames stacked here, through many resets."""
    pytest.importorskip("ale_py")
    from ale_py.vector_env import AtariVectorEnv
    from gymnasium.vector import AutoresetMode

    envs = AtariVectorEnv(
        "pong",
        num_envs=2,
        num_threads=1,
        autoreset_mode=AutoresetMode.NEXT_STEP,
        max_num_frames_per_episode=150,
        noop_max=30,
        stack_num=4,
    )
    draw = np.random.default_rng(0)
    seen, ended = [envs.reset(seed=0)[0].copy()], [np.ones(2, bool)]
    firsts = [np.ones(2, bool)]
    ended = np.zeros(2, bool)
    for _ in range(120):
        firsts.append(ended)
        stacks, _, terminated, truncated, _ = envs.step(draw.integers(0, 6, 2))
        seen.append(stacks.copy())
        ended = terminated | truncated
    stacks = torch.from_numpy(np.stack(seen))
    first = torch.from_numpy(np.stack(firsts, 1))
    assert first.sum() > 4
    frames = torch.cat([torch.zeros(2, 3, 84, 84, dtype=torch.uint8), stacks[:, :, 3].transpose(0, 1)], 1)
    assert torch.equal(stack_frames(frames, first), stacks)
