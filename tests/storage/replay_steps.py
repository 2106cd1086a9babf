"""A recording whose every step says where it belongs, so that no window can be mistaken for another."""

import numpy as np

from storage.replay import Chunk, Column, Replay

# One column of large steps, which are copied in another way than small ones.
COLUMNS = [
    Column("frames", "uint8", (3, 2)),
    Column("wide", "<u2", (300,)),
    Column("step", "<i8"),
    Column("first", "bool"),
]


def steps_of(stream, start, stop, firsts=()):
    """Columns of steps start..stop-1 of a stream; `firsts` are the steps at which an episode begins."""
    t = np.arange(start, stop)
    step = stream * 1_000_000 + t
    frames = np.stack([(step * k + 7) % 251 + 1 for k in (1, 3, 5, 7, 11, 13)], axis=1)
    wide = step[:, None] * np.arange(1, 301) % 65_521 + 1
    return {
        "frames": frames.reshape(-1, 3, 2).astype(np.uint8),
        "wide": wide.astype(np.uint16),
        "step": step,
        "first": np.isin(t, list(firsts)),
    }


def chunk(stream, start, stop, firsts=()):
    return Chunk(stream, start, steps_of(stream, start, stop, firsts))


def open_replay(path, capacity_steps=1000, capacity_bytes=1 << 30, **more):
    return Replay(path, COLUMNS, capacity_steps=capacity_steps, capacity_bytes=capacity_bytes, **more)


def window_of(stream, t, length, context, birth, firsts, context_column="frames"):
    """What `windows` must give for one anchor, written down step by step."""
    begin = max([birth, *(f for f in firsts if f <= t)])
    plain = steps_of(stream, t, t + length + 1, firsts)
    expected = {name: column if name == "first" else column[:-1] for name, column in plain.items()}
    like = plain[context_column]
    expected[context_column] = seen = np.zeros((context + length + 1, *like.shape[1:]), like.dtype)
    for row, step in enumerate(range(t - context, t + length + 1)):
        if step >= begin:
            seen[row] = steps_of(stream, step, step + 1)[context_column][0]
    return expected
