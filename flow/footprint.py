"""What a worker takes of the machine: processor time, memory, a GPU's memory. Told in the pages of its nodes."""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from flow.stats import Page

_STATUS = Path("/proc/self/status")
_TAKEN = re.compile(r"^Rss(?:Anon|Shmem):\s+(\d+) kB$", re.MULTILINE)


class Footprint:
    """Of this process; told to each page: counter `_cpu_us`, gauges `_memory_bytes` and `_device_bytes`.

    Memory is what is resident of its own and of shared memory. Pages of files, as those of programs and of stores that
    are read through a map, are not counted: the system takes them back when it needs them.
    """

    def __init__(self, pages: Iterable[Page]) -> None:
        self._cells = [
            (page.counter("_cpu_us", "us"), page.gauge("_memory_bytes", "B"), page.gauge("_device_bytes", "B"))
            for page in pages
        ]
        self._told_s = time.process_time()

    def tell(self) -> None:
        """Tens of microseconds: with each beat."""
        now = time.process_time()
        grown = int(1e6 * (now - self._told_s))
        self._told_s += grown / 1e6
        taken = 1024 * sum(map(int, _TAKEN.findall(_STATUS.read_text())))
        device = _device_bytes()
        for cpu, memory, on_device in self._cells:
            cpu.add(grown)
            memory.set(taken)
            if device:
                on_device.set(device)


def _device_bytes() -> int:
    """What torch holds of the current GPU, in a worker that uses one."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return 0
    return int(torch.cuda.memory_reserved())
