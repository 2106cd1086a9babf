"""Replay: laws of drawing, capacity, and what it says when it is used wrongly."""

import os
import re

import lmdb
import numpy as np
import pytest

from flow.errors import StorageError
from storage.replay import Column, Replay
from tests.storage.replay_steps import COLUMNS, chunk, open_replay


def fill(replay, steps=60, streams=3):
    """Streams of unequal length, one with a gap, the oldest chunks evicted by whatever capacity there is."""
    for start in range(0, steps, 5):
        replay.append([chunk(s, start, start + 5, range(0, 1000, 9)) for s in range(streams) if s * 10 <= start])
    replay.append([chunk(0, steps + 7, steps + 16, [steps + 8])])


def test_every_legal_anchor_is_equally_likely(tmp_path):
    with open_replay(tmp_path, capacity_steps=90) as replay:
        fill(replay)
        cells = replay.count_anchors(4, 2)
        draws = 400 * cells
        drawn = replay.sample_anchors(np.random.default_rng(0), draws, 4, 2)
        kinds, counts = np.unique(drawn, axis=0, return_counts=True)
        assert len(kinds) == cells
        chi_square = ((counts - 400) ** 2 / 400).sum()
        # Mean cells - 1, variance twice that; five sigma.
        assert abs(chi_square - cells) < 5 * np.sqrt(2 * cells)
        replay.windows(kinds, 4, 2)


def test_every_episode_is_equally_likely(tmp_path):
    with open_replay(tmp_path, capacity_steps=90) as replay:
        fill(replay)
        cells = replay.statistics().episodes
        _, counts = np.unique(replay.sample_episodes(np.random.default_rng(0), 400 * cells), axis=0, return_counts=True)
        assert len(counts) == cells
        assert abs(((counts - 400) ** 2 / 400).sum() - cells) < 5 * np.sqrt(2 * cells) + 5


def test_bytes_stay_within_capacity_and_the_oldest_go_first(tmp_path):
    with open_replay(tmp_path, capacity_bytes=45_000) as replay:
        for start in range(0, 200, 5):
            replay.append([chunk(1, start, start + 5)])
            assert replay.statistics().stored_bytes <= 45_000
        held = replay.statistics()
        assert 0.8 < held.fill <= 1
        np.testing.assert_array_equal(
            replay.read(1, 200 - held.steps, 200)["step"], 1_000_000 + np.arange(200 - held.steps, 200)
        )


def test_a_full_map_grows_and_then_the_oldest_make_room(tmp_path):
    columns = [Column("noise", "uint8", (1000,))]
    rng = np.random.default_rng(0)
    sizes = {
        "capacity_steps": 10**6,
        "capacity_bytes": 1 << 30,
        "map_bytes": 1 << 20,
        "map_bytes_max": 4 << 20,
    }
    with Replay(tmp_path, columns, first_column=None, context_column=None, **sizes) as replay:
        for start in range(0, 8000, 20):
            replay.append([(0, start, {"noise": rng.integers(0, 256, (20, 1000), np.uint8)})])
        held = replay.statistics()
        assert held.evicted_steps > 0
        assert held.stored_bytes > 1 << 20
        assert len(replay.read(0, 8000 - held.steps, 8000)["noise"]) == held.steps
    with Replay(tmp_path, columns, first_column=None, context_column=None, **sizes) as replay:
        assert replay.statistics().steps == held.steps


def test_an_evicted_anchor_is_an_error_and_draw_windows_counts_its_redraws(tmp_path):
    with open_replay(tmp_path, capacity_steps=20) as replay:
        replay.append([chunk(0, 0, 20)])
        anchors = replay.sample_anchors(np.random.default_rng(0), 4, 3, 0)
        replay.append([chunk(0, 20, 40)])
        with pytest.raises(StorageError, match=r"4 of 4 windows .* stored of that stream: 20 to 39"):
            replay.windows(anchors, 3, 0)
        drawn, windows = replay.draw_windows(np.random.default_rng(0), 4, 3, 0)
        np.testing.assert_array_equal(windows["step"][:, 0], drawn[:, 1])
        assert replay.statistics().redrawn_windows == 0


def test_a_window_evicted_between_draw_and_read_is_drawn_again(tmp_path):
    with open_replay(tmp_path, capacity_steps=20) as replay:
        replay.append([chunk(0, 0, 20)])
        sample = replay.sample_anchors

        def sample_then_evict(*arguments):
            anchors = sample(*arguments)
            replay.append([chunk(0, 20, 40)])
            return anchors

        replay.sample_anchors = sample_then_evict
        drawn, windows = replay.draw_windows(np.random.default_rng(0), 4, 3, 0)
        assert drawn[:, 1].min() >= 20
        np.testing.assert_array_equal(windows["step"][:, 0], drawn[:, 1])
        assert replay.statistics().redrawn_windows == 4


def test_what_is_damaged_on_disk_is_named_and_never_returned(tmp_path):
    with open_replay(tmp_path) as replay:
        replay.append([chunk(0, 0, 20)])
    with lmdb.open(str(tmp_path), max_dbs=4) as env, env.begin(write=True) as txn:
        chunks = env.open_db(b"chunks", txn)
        value = bytearray(txn.get(bytes(8), db=chunks))
        value[-1] ^= 1
        txn.put(bytes(8), bytes(value), db=chunks)
    with open_replay(tmp_path) as replay, pytest.raises(StorageError, match="chunk 0: damaged"):
        replay.read(0, 0, 5)


def test_other_columns_than_the_store_was_made_with_are_refused_with_both(tmp_path):
    open_replay(tmp_path).close()
    other = [*COLUMNS[:3], Column("first", "bool"), Column("reward", "<f4")]
    with pytest.raises(StorageError, match=r"made with columns \[frames .*opened with columns \[.*reward <f4"):
        Replay(tmp_path, other, capacity_steps=9, capacity_bytes=9)


@pytest.mark.parametrize(
    ("use", "says"),
    [
        (lambda r: r.append([(0, 0, {"frames": np.zeros(3)})]), "the chunk has columns {'frames'"),
        (lambda r: r.append([chunk(-1, 0, 3)]), "stream -1 is recorded up to step 0"),
        (lambda r: r.append([chunk(0, 0, 2000)]), "2000 steps and .* more than the whole capacity"),
        (
            lambda r: r.read(0, 0, 5, ["reward"]),
            "no column 'reward'; the store has ['frames', 'wide', 'step', 'first']",
        ),
        (lambda r: r.read(0, 0, 5), "stored of it: nothing"),
        (lambda r: r.sample_anchors(np.random.default_rng(0), 1, 4, 2), "wait for more inserts"),
        (
            lambda r: r.sample_episodes(np.random.default_rng(0), 1),
            "no episode is stored from its first step",
        ),
        (lambda r: r.windows(np.zeros((1, 2), int), 0, 0), "length=0 must be 1 or more"),
        (
            lambda r: r.windows(np.zeros((2, 2), int), 1, 0, r.window_buffers(1, 1, 0)),
            "window_buffers makes it",
        ),
        (lambda r: open_replay(r.path), "this process has the store open already"),
        (lambda r: open_replay(r.path / "x", first_column="begin"), "first_column='begin' is not among"),
        (lambda r: open_replay(r.path / "x", capacity_steps=0), "capacity_steps=0 and"),
    ],
)
def test_wrong_use_is_answered_with_what_to_do(tmp_path, use, says):
    with open_replay(tmp_path) as replay:
        with pytest.raises(StorageError, match=re.escape(says).replace(r"\.\*", ".*")):
            use(replay)
        assert replay.statistics().appended_steps == 0
    with pytest.raises(StorageError, match="the store is closed"):
        replay.statistics()


def test_windows_go_into_no_array_with_gaps_in_memory(tmp_path):
    with open_replay(tmp_path) as replay:
        replay.append([chunk(0, 0, 20)])
        out = replay.window_buffers(2, 1, 0)
        out["wide"] = np.zeros((2, 1, 600), np.uint16)[:, :, ::2]
        with pytest.raises(
            StorageError, match=r"out has \['wide'\] with gaps in memory; window_buffers makes it without"
        ):
            replay.windows(np.array([[0, 1], [0, 2]]), 1, 0, out)


def test_a_path_that_cannot_be_a_directory_is_named():
    with pytest.raises(StorageError, match="/dev/null/store: cannot make a store here"):
        open_replay(os.devnull + "/store")
