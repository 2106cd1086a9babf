"""Computations of a node's threads that go on for long: told with file and line, and with what they use of a processor.

The beat is the loop's, and the loop turns while a thread computes: a driver that never returns would not be noticed by
it. Nor can anybody tell it from a long compilation, so nothing is killed for it. What is told is the line it is at,
again each time it has lasted twice as long, and how much it computed meanwhile: a call that waits for ever uses
nothing.
"""

from __future__ import annotations

import linecache
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass
from time import perf_counter_ns
from types import FrameType
from typing import TYPE_CHECKING

from flow.computing import Computing
from flow.logs import EventLog
from flow.stats_layout import COMPUTING

if TYPE_CHECKING:
    from flow.host import Host


@dataclass
class _Seen:
    """A computation that was looked at before. cpu_s: of its thread since its first look at `since`."""

    began: int
    since: float
    cpu_s: float
    tell_at_s: float


class LongComputations:
    """Looks at the threads of a worker's nodes, with each of its beats.

    shown_s: how long one may go on before it is told.
    """

    def __init__(self, hosts: Iterable[Host], shown_s: float, log: EventLog) -> None:
        self._hosts = [(host, host.page.gauge(COMPUTING, "s")) for host in hosts]
        self._shown_s = shown_s
        self._log = log
        self._seen: dict[tuple[str, str], _Seen] = {}

    def look(self) -> None:
        """Tell what has gone on for too long, and that it is over."""
        now = perf_counter_ns()
        for host, gauge in self._hosts:
            # Of a node that has stopped the threads may end at any moment, and then have no clock.
            found = host.rest.threads.computing() if host.running and host.rest.threads else []
            gauge.set(max(((now - each.began) / 1e9 for each in found), default=0.0))
            self._forget(host, {each.thread: each.began for each in found})
            for each in found:
                self._look_at(host, each, (now - each.began) / 1e9)

    def _look_at(self, host: Host, computing: Computing, seconds: float) -> None:
        key = (host.plan.key, computing.thread)
        cpu_s = time.clock_gettime(time.pthread_getcpuclockid(computing.ident))
        seen = self._seen.get(key)
        if seen is None:
            self._seen[key] = _Seen(computing.began, time.monotonic(), cpu_s, self._shown_s)
        elif seconds >= seen.tell_at_s:
            used = (cpu_s - seen.cpu_s) / (time.monotonic() - seen.since)
            frame = sys._current_frames().get(computing.ident)
            where = f"thread {computing.thread} uses {used:.0%} of a core at {line_of(frame)}"
            self._log.warning(host.plan.key, f"one computation has gone on for {seconds:.0f} s: {where}")
            host.page.set_text(where)
            seen.tell_at_s = 2 * seconds

    def _forget(self, host: Host, going_on: dict[str, int]) -> None:
        """Computations of a node that are over; those that were told of are told of again."""
        for (node, thread), seen in list(self._seen.items()):
            if node == host.plan.key and going_on.get(thread) != seen.began:
                del self._seen[node, thread]
                if seen.tell_at_s > self._shown_s:
                    lasted = (perf_counter_ns() - seen.began) / 1e9
                    self._log.info(node, f"the computation in thread {thread} is over, after {lasted:.0f} s")
                    if host.running:
                        host.page.set_text("")


def line_of(frame: FrameType | None) -> str:
    """Where a thread is, with file, line and what stands there."""
    if frame is None:
        return "no line: it has just ended"
    code, line = frame.f_code, frame.f_lineno
    source = linecache.getline(code.co_filename, line, frame.f_globals).strip()
    return f'File "{code.co_filename}", line {line}, in {code.co_name}' + (f": {source}" if source else "")
