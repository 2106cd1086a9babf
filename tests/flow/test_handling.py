"""Handling times: slow messages are all timed, quick ones are sampled, and the counts stand for all of them."""

from flow import handling
from flow.handling import Handling


class Recorded:
    def __init__(self):
        self.found = []

    def add(self, value, times=1):
        self.found.append((value, times))


def handle(mine, now, seconds):
    """As a port does around each message."""
    if mine.timed:
        mine.done()
    if mine.skip:
        mine.skip -= 1
    else:
        mine.began()
    now[0] += seconds


def test_every_message_is_counted_once_and_slow_ones_are_timed_one_by_one(monkeypatch):
    now, recorded = [0.0], Recorded()
    monkeypatch.setattr(handling, "perf_counter", lambda: now[0])
    mine = Handling(recorded)
    for _ in range(8001):
        handle(mine, now, 10e-6)
    quick = sum(times for _, times in recorded.found)
    assert 7969 <= quick <= 8001
    assert len(recorded.found) <= 252
    recorded.found.clear()
    for _ in range(50):
        handle(mine, now, 0.2)
    assert len(recorded.found) >= 12
    assert [(round(value / 1000), times) for value, times in recorded.found[2:]] == [(200, 1)] * (
        len(recorded.found) - 2
    )
