"""Ray doing what the benches do, a round for each line it reads. Needs ray and numpy alone.

Started by tools/bench/ray_beside.py; prints one line of JSON for its version, then one a round.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import deque
from pathlib import Path

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
sys.path = [place for place in sys.path if Path(place or ".").resolve() != Path(__file__).parent]

import numpy as np  # noqa: E402
import ray  # noqa: E402

STREAMS = {"1024": 1500, "28224": 1000, str(1 << 20): 100}
CALLS = {"64": 400, "28224": 300}
GROUPS, IN_FLIGHT, WINDOW = 800, 2, 64


@ray.remote(num_cpus=0)
class Other:
    """The other end: takes, answers, serves."""

    def take(self, blob):  # noqa: ANN001, ANN201
        return None

    def echo(self, blob):  # noqa: ANN001, ANN201
        return blob

    def act(self, stacks):  # noqa: ANN001, ANN201
        return np.zeros(len(stacks), np.int64)

    def cpu(self) -> float:
        return time.process_time()


def timed(other, method, value, count: int, window: int) -> dict[str, float]:  # noqa: ANN001
    """`count` calls with `window` of them in flight, after some to warm up."""
    under_way: deque = deque()
    warm = count // 5
    for sent in range(count + warm):
        if sent == warm:
            while under_way:
                ray.get(under_way.popleft())
            began, cpu = time.perf_counter(), time.process_time() + ray.get(other.cpu.remote())
        if len(under_way) >= window:
            ray.get(under_way.popleft())
        under_way.append(method.remote(value))
    while under_way:
        ray.get(under_way.popleft())
    wall = time.perf_counter() - began
    return {"n": count, "wall": wall, "cpu": time.process_time() + ray.get(other.cpu.remote()) - cpu}


def edges(other) -> dict:  # noqa: ANN001
    """Streams with a window, and calls one after another."""
    zeros = {size: np.zeros(int(size), np.uint8) for size in {*STREAMS, *CALLS}}
    return {
        "streams": {size: timed(other, other.take, zeros[size], count, WINDOW) for size, count in STREAMS.items()},
        "calls": {size: timed(other, other.echo, zeros[size], count, 1) for size, count in CALLS.items()},
    }


def serve(other) -> dict:  # noqa: ANN001
    """Two groups of four environments in flight."""
    return {"groups": timed(other, other.act, np.zeros((4, 84, 84, 4), np.uint8), GROUPS, IN_FLIGHT)}


def main() -> None:
    """Do what standard input says."""
    ray.init(num_cpus=2, include_dashboard=False, _node_ip_address="127.0.0.1", log_to_driver=False)
    other = Other.remote()
    ray.get(other.cpu.remote())
    print(json.dumps({"version": ray.__version__}), flush=True)
    for line in sys.stdin:
        print(json.dumps({"edges": edges, "serve": serve}[line.strip()](other)), flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main()
