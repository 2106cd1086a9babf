from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from nodes.messages import Trajectories
from nodes.replay.episodes import EpisodeReader
from nodes.replay.trajectories import chunks_of, columns_of, draw_windows
from storage.replay import Replay
from tests.nodes.trajectories_for_tests import trajectories

STREAMS = [3, 8]


def stored(path: Path, lengths: list[int], chunk: int) -> tuple[Replay, np.ndarray]:
    """A store of two streams of episodes of these lengths, inserted `chunk` steps at a time; and its first flags."""
    total = sum(lengths)
    first = np.zeros(total + chunk + 1, bool)
    first[np.cumsum([0, *lengths[:-1]])] = True
    pieces = []
    for start in range(0, total, chunk):
        flags = np.stack([first[start : start + chunk + 1]] * len(STREAMS))
        pieces.append(trajectories(STREAMS, start, chunk, first=flags))
    store = Replay(path, columns_of(pieces[0]), capacity_steps=10_000, capacity_bytes=1 << 26)
    for piece in pieces:
        store.append(chunks_of(piece))
    return store, first


def frame(stream: int, step: int) -> int:
    return (step + 31 * stream) % 251 + 1


lengths = st.lists(st.integers(2, 9), min_size=1, max_size=5)


@settings(max_examples=15)
@given(lengths=lengths, chunk=st.integers(1, 6), steps=st.integers(1, 7), seed=st.integers(0, 99))
def test_each_row_plays_stored_episodes_from_their_first_step(lengths, chunk, steps, seed):
    with TemporaryDirectory() as directory:
        store, flags = stored(Path(directory), lengths, chunk)
        with store:
            reader = EpisodeReader(store, np.random.default_rng(seed), 2, steps)
            unrolls = [reader.next() for _ in range(4)]
    for row in range(2):
        check_row([row_of(unroll, row) for unroll in unrolls], flags, steps)


def row_of(unroll: Trajectories, row: int) -> dict[str, np.ndarray]:
    return {spec.name: getattr(unroll, spec.name)[row] for spec in Trajectories.fields}


def check_row(pieces: list[dict[str, np.ndarray]], flags: np.ndarray, steps: int) -> None:
    """Follow a row: after a first observation comes the next step of that episode, until the next first one."""
    before: tuple[int, int] | None = None  # stream and step of the observation before
    for index, piece in enumerate(pieces):
        shown = [int(value) for value in piece["frames"][:, 0, 0]]
        for t in range(steps + 1):
            value = shown[3 + t]
            if index and t == 0:
                assert before is not None
                assert value == frame(*before), "an unroll begins at the observation the one before it ended with"
            elif piece["first"][t]:
                step = next(s for s in range(len(flags)) if flags[s] and value in {frame(x, s) for x in STREAMS})
                before = next((x, step) for x in STREAMS if frame(x, step) == value)
            else:
                assert before is not None, "the first observation of a row begins an episode"
                before = (before[0], before[1] + 1)
                assert value == frame(*before)
                assert not flags[before[1]]
            if t < steps and not (t + 1 <= steps and piece["first"][t + 1]):
                assert before is not None
                assert piece["rewards"][t] == np.float32(before[1] + before[0] / 8)
            began = [j for j in range(t + 1) if piece["first"][j]]
            if began and began[-1] == 0 and t == 0:
                assert shown[:3] == [0, 0, 0], "nothing is seen from before an episode"


@settings(max_examples=15)
@given(lengths=lengths, chunk=st.integers(2, 6), steps=st.integers(1, 4), seed=st.integers(0, 99))
def test_windows_hold_the_steps_they_name(lengths, chunk, steps, seed):
    with TemporaryDirectory() as directory:
        store, flags = stored(Path(directory), lengths, chunk)
        with store:
            if not store.count_anchors(steps, 3):
                return
            sample = draw_windows(store, np.random.default_rng(seed), 3, steps)
    for row in range(3):
        stream, start = int(sample.streams[row]), int(sample.starts[row])
        for t in range(steps + 1):
            assert sample.frames[row, 3 + t, 0, 0] == frame(stream, start + t)
            assert sample.first[row, t] == flags[start + t]
        np.testing.assert_array_equal(sample.rewards[row], np.float32(np.arange(start, start + steps) + stream / 8))
