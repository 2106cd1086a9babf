"""Which loops still turn: a counter in shared memory tells, no message has to be answered.

A worker beats in the page of each node it hosts, a few times a second, from its loop. A loop that is kept by a
blocking call does not beat, whatever holds it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from flow.stats import PageReader


@dataclass
class Liveness:
    """Follows the beats of a run's nodes. state: the directory of the pages."""

    state: Path
    _readers: dict[str, PageReader] = field(default_factory=dict)
    _seen: dict[str, tuple[int, float]] = field(default_factory=dict)

    def seconds_since_beat(self, now: float) -> dict[str, float]:
        """By node replica ("actor-0"), how long its loop has not turned. `now` is any clock that goes forward."""
        for path in self.state.glob("*.page"):
            reader = self._readers.setdefault(path.stem, PageReader(path))
            view = reader.poll()
            if view is None:
                continue
            beat, _ = self._seen.get(path.stem, (-1, now))
            if view.beat != beat:
                self._seen[path.stem] = (view.beat, now)
        return {key: now - when for key, (_, when) in self._seen.items()}


def hanging_line(stack_file: Path) -> str:
    """Where a worker hangs, from the stack that faulthandler wrote: the innermost line of its main thread."""
    try:
        lines = stack_file.read_text(errors="replace").splitlines()
    except OSError:
        return "no stack was written"
    # The loop runs in the main thread, which faulthandler writes last.
    starts = [at for at, line in enumerate(lines) if "most recent call first" in line]
    frames = [line.strip() for line in lines[starts[-1] + 1 :] if line.strip().startswith("File ")] if starts else []
    return frames[0] if frames else "no stack was written"
