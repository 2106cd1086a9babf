"""Replay when processes are killed or forked, disks are full, and threads run beside each other."""

import multiprocessing
import os
import shutil
import signal
import subprocess
import threading
import time

import numpy as np
import pytest

from flow.errors import DiskFullError, StorageError
from tests.storage.replay_steps import chunk, open_replay

pytestmark = pytest.mark.real_time
STREAMS = 3


def write_until_killed(path, told):
    """Append groups of one chunk a stream for ever; tell of each group that was committed."""
    with open_replay(path, capacity_steps=300) as replay:
        start = max(replay.ends.values(), default=0)
        while True:
            replay.append([chunk(s, start, start + 5) for s in range(STREAMS)])
            start += 5
            os.write(told, start.to_bytes(8, "little"))


def killed_while_writing(path, seconds):
    """Fork a writer, kill it, and return the last end it told of."""
    hears, told = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            write_until_killed(path, told)
        finally:
            os._exit(1)
    os.close(told)
    heard = os.read(hears, 8)
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    with open(hears, "rb") as pipe:
        heard += pipe.read()
    return int.from_bytes(heard[-8:], "little")


def test_a_killed_writer_loses_at_most_the_group_it_was_writing(tmp_path):
    rng = np.random.default_rng(0)
    for _ in range(30):
        end = killed_while_writing(tmp_path, rng.uniform(0, 0.03))
        with open_replay(tmp_path, capacity_steps=300) as replay:
            ends = set(replay.ends.values())
            assert len(ends) == 1, "a group is there whole or not at all"
            assert ends <= {end, end + 5}
            held = replay.statistics()
            assert held.steps == min(300, held.appended_steps)
            assert held.appended_steps == STREAMS * ends.pop()
            low = replay.ends[0] - held.steps // STREAMS
            for stream in range(STREAMS):
                steps = replay.read(stream, low, replay.ends[stream])["step"]
                np.testing.assert_array_equal(steps, stream * 1_000_000 + np.arange(low, replay.ends[stream]))


@pytest.mark.parametrize(
    "use",
    [
        lambda r: r.append([chunk(0, 5, 9)]),
        lambda r: r.read(0, 0, 5),
        lambda r: r.sample_anchors(np.random.default_rng(0), 1, 1, 0),
        lambda r: r.sync(),
        lambda r: r.statistics(),
    ],
)
def test_use_after_a_fork_raises_and_leaves_the_parent_unharmed(tmp_path, use):
    with open_replay(tmp_path) as replay:
        replay.append([chunk(0, 0, 5)])
        child = os.fork()
        if child == 0:
            status = 1
            try:
                use(replay)
            except StorageError as error:
                replay.close()
                status = 0 if "after a fork" in str(error) else 2
            finally:
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        replay.append([chunk(0, 5, 10)])
        assert replay.ends == {0: 10}


def hold_open(path, opened, done):
    with open_replay(path):
        opened.set()
        done.wait()


def test_a_second_process_is_refused_until_the_first_is_gone(tmp_path):
    context = multiprocessing.get_context("fork")
    opened, done = context.Event(), context.Event()
    child = context.Process(target=hold_open, args=(tmp_path, opened, done))
    child.start()
    assert opened.wait(20)
    with pytest.raises(StorageError, match="another process has this store open"):
        open_replay(tmp_path)
    done.set()
    child.join()
    open_replay(tmp_path).close()


@pytest.fixture
def small_disk(tmp_path):
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("mounting a tmpfs needs root")
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "none", tmp_path], capture_output=True)
    if made.returncode:
        pytest.skip(f"no tmpfs could be mounted: {made.stderr.decode().strip()}")
    yield tmp_path
    subprocess.run(["umount", "-l", tmp_path], check=True)


def fill_disk(replay):
    for start in range(0, 10**6, 500):
        replay.append([chunk(s, start, start + 500) for s in range(STREAMS)])


def test_a_full_disk_raises_and_nothing_committed_is_lost(small_disk):
    path = small_disk / "store"
    ballast = small_disk / "ballast"
    ballast.write_bytes(bytes(4 << 20))
    with open_replay(path, capacity_steps=10**9) as replay:
        with pytest.raises(DiskFullError, match=r"no space left .* What was committed is whole"):
            fill_disk(replay)
        start = replay.ends[0]
        assert start > 0
        for _ in range(2):
            assert set(replay.ends.values()) == {start}
            np.testing.assert_array_equal(replay.read(1, 0, start)["step"], 1_000_000 + np.arange(start))
            with pytest.raises(DiskFullError):
                replay.append([chunk(s, start, start + 500) for s in range(STREAMS)])
        ballast.unlink()
        replay.append([chunk(s, start, start + 500) for s in range(STREAMS)])
    with open_replay(path, capacity_steps=10**9) as replay:
        assert set(replay.ends.values()) == {start + 500}


@pytest.mark.parametrize("cache_bytes", [0, 40_000, 1 << 20])
def test_windows_drawn_while_another_thread_appends_and_evicts_are_never_mixed_up(tmp_path, cache_bytes):
    stop = threading.Event()
    failures = []

    def write(replay):
        start = 40
        try:
            while not stop.is_set():
                replay.append([chunk(s, start, start + 4) for s in range(STREAMS)])
                start += 4
        except Exception as error:
            failures.append(error)

    # So little capacity that windows are evicted all the time between draw and read.
    with open_replay(tmp_path, capacity_steps=120, cache_bytes=cache_bytes) as replay:
        replay.append([chunk(s, 0, 40) for s in range(STREAMS)])
        writer = threading.Thread(target=write, args=(replay,))
        writer.start()
        rng = np.random.default_rng(0)
        out = replay.window_buffers(16, 5, 2)
        ends = time.monotonic() + 2
        while time.monotonic() < ends and not failures:
            anchors, windows = replay.draw_windows(rng, 16, 5, 2, out)
            expected = anchors[:, :1] * 1_000_000 + anchors[:, 1:] + np.arange(5)
            np.testing.assert_array_equal(windows["step"], expected)
        stop.set()
        writer.join()
        assert not failures
        assert replay.statistics().evicted_steps > 0
