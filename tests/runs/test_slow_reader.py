"""A reader that takes one message in a hundred of what its sender could send: nothing gathers anywhere."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from tests.runs.running import Home, Running, line_graph

pytestmark = [pytest.mark.real_time, pytest.mark.slow]

ROWS = 3600  # of 8 bytes: messages of 28 KB, of which the sender makes a hundred in the time that the reader takes one
READ_MS = 10.0


def resident(pids: list[int]) -> int:
    """Bytes that processes hold, together."""
    texts = [Path(f"/proc/{pid}/statm").read_text() for pid in pids]
    return sum(int(text.split()[1]) for text in texts) * os.sysconf("SC_PAGE_SIZE")


def wait_for(running: Running, arrived: int) -> None:
    ends = time.monotonic() + 60
    while running.counter("arrived") < arrived:
        assert time.monotonic() < ends, running.story()
        time.sleep(0.1)


def test_the_memory_of_a_graph_whose_reader_is_far_behind_stays_flat(home: Home):
    graph = line_graph(source={"rows": ROWS}, sink={"pause_ms": READ_MS}, until={"arrived": 600})
    running = home.start(graph)
    wait_for(running, 100)
    pids = list(running.worker_pids().values())
    before, made = resident(pids), running.counter("made")
    wait_for(running, 500)
    grown, more = resident(pids) - before, running.counter("made") - made
    assert running.wait(60) == 0, running.story()
    assert more <= 400 + 64, "the sender is ahead by more than its credit"
    # Were what is read too late kept, or what could be sent, it would be 11 MB a hundred messages and more.
    assert grown < 4 << 20, f"{grown} bytes more after {more} messages of 28 KB"
    running.assert_nothing_left()
