"""How much stronger a player is than another, out of a match, in Elo: P(win) = 1 / (1 + 10^(-d/400)).

With w of n points won, a draw counting a half each,

    d = k · ln((w + ½) / (n - w + ½))        ± 1.96 · k · √(1 / (w + ½) + 1 / (n - w + ½))        k = 400 / ln 10

which is the logarithm of the odds with half a point added to each side (Haldane, Anscombe), and its standard error
(Gart 1966): finite and of use where all games were won, too. Draws vary less than wins and losses do, so with draws the
interval is wider than need be. Differences along a ladder add, and the squares of their errors do.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

SCALE = 400 / math.log(10)
CONFIDENCE_95 = 1.96


@dataclass(frozen=True)
class Elo:
    """A difference in Elo. error: one standard error."""

    difference: float
    error: float

    @property
    def low(self) -> float:
        """The lower end of the 95 % interval."""
        return self.difference - CONFIDENCE_95 * self.error

    @property
    def high(self) -> float:
        """The upper end of it."""
        return self.difference + CONFIDENCE_95 * self.error

    def __add__(self, other: Elo) -> Elo:
        """The difference to whom the other is measured from, errors being independent."""
        return Elo(self.difference + other.difference, math.hypot(self.error, other.error))

    def __str__(self) -> str:
        return f"{self.difference:+.0f} ({self.low:+.0f} to {self.high:+.0f})"


def elo_of(points: float, games: int) -> Elo:
    """How much stronger a player is who scored so many points in so many games.

    Raises:
      ValueError: no games, or points that they cannot give.
    """
    if games < 1 or not 0 <= points <= games:
        raise ValueError(f"{points:g} points in {games} games; expected a game or more, and from 0 points to as many")
    won, lost = points + 0.5, games - points + 0.5
    return Elo(SCALE * math.log(won / lost), SCALE * math.sqrt(1 / won + 1 / lost))
