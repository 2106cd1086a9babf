"""Wall and CPU time of a stream of things, after some to warm up. Imports nothing: any interpreter can use it."""

from __future__ import annotations

import time


class Stopwatch:
    """Counts things by kind, and times each kind from its `warm`-th to its last."""

    def __init__(self, counts: dict[str, int], warm: float = 0.2) -> None:
        self.counts = counts
        self.results: dict[str, dict[str, float]] = {}
        self._warm = {kind: max(1, int(count * warm)) for kind, count in counts.items()}
        self._seen = dict.fromkeys(counts, 0)
        self._began = (0.0, 0.0)

    def saw(self, kind: str) -> None:
        """One more of this kind."""
        seen = self._seen[kind] = self._seen[kind] + 1
        if seen == self._warm[kind]:
            self._began = (time.perf_counter(), time.process_time())
        elif seen == self.counts[kind]:
            wall, cpu = time.perf_counter() - self._began[0], time.process_time() - self._began[1]
            self.results[kind] = {"n": seen - self._warm[kind], "wall": wall, "cpu": cpu}
