"""How often something may be started again: a state machine without a clock, as OTP's supervisors have it."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass, field

FIRST_S, FACTOR, MOST_S = 0.1, 2.0, 5.0


@dataclass
class Restarts:
    """At most `most` restarts of one name in `period_s` seconds; the next one ends the run."""

    most: int = 3
    period_s: float = 60.0
    _when: dict[str, deque[float]] = field(default_factory=lambda: defaultdict(deque))

    def delay(self, name: str, now: float) -> float | None:
        """Seconds to wait before `name` is started again, None when it has had its share."""
        when = self._when[name]
        while when and when[0] <= now - self.period_s:
            when.popleft()
        if len(when) >= self.most:
            return None
        when.append(now)
        return float(min(FIRST_S * FACTOR ** (len(when) - 1), MOST_S))
