"""Items that come and go in order, drawn by priority, uniformly, or from the newest.

    handles   … 40 41 42 43 44 45 …        count up from 0 and are never used twice
    slots        0  1  2  3  0  1          handle modulo capacity: which slot, and by what is left, its generation

A handle is a slot with the generation of what lies in it: what is said of an item that has gone is told from what is
said of the one in its place, and is counted and passed over. Items go oldest first, so those that are held are a range
of handles.

An item with priority p weighs p^α, and 0 where p is 0, also for α = 0. Priorities are kept as they were given, and the
exponent is applied where a weight is made: once, whether an item was added, updated, or the exponent changed.
Source: prioritised experience replay, arXiv:1511.05952; generations as in TorchRL's SampleUnit.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from flow.errors import StorageError
from storage.sum_tree import Kernel, SumTree

Handles = NDArray[np.int64]
Floats = NDArray[np.float64]
# Changes are gathered, since a tree takes many at once for little more than one.
_GATHERED_MAX = 1 << 16
# Where fewer of the items may be drawn than one in so many, they are listed instead of guessed.
_SCARCE = 8


class Mix(NamedTuple):
    """How often each law draws: shares that sum to 1."""

    uniform: float = 0.0
    prioritised: float = 0.0
    recent: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Mix:
        """Read "uniform", "prioritised", "recent", or shares of them: "0.75 prioritised + 0.25 recent".

        Raises:
          StorageError: it is none of these, or the shares do not sum to 1.
        """
        shares: dict[str, float] = {}
        for part in text.split("+"):
            share, _, name = part.strip().rpartition(" ")
            try:
                value = float(share) if share else 1.0
            except ValueError:
                value = math.nan
            if name not in cls._fields or name in shares or not 0 <= value <= 1:
                raise StorageError(
                    f'{text!r} is no law to draw by; write "uniform", "prioritised", "recent", or shares of them, '
                    'each once, as in "0.75 prioritised + 0.25 recent"'
                )
            shares[name] = value
        if not math.isclose(sum(shares.values()), 1):
            raise StorageError(f"{text!r}: the shares sum to {sum(shares.values()):g}; let them sum to 1")
        return cls(**shares)


class Drawn(NamedTuple):
    """Items that were drawn, (B,) each. chances: of each in one draw of the whole mix."""

    handles: Handles
    chances: Floats


class Priorities:
    """Priorities of items over a ring of slots. Not locked: whoever shares it does that.

    Args:
      capacity: items that there may be at once.
      exponent: α.
      newest: items that the law "recent" draws from.
      first: the handle of the first item.
      kernel: what runs the loops of the tree.
    """

    def __init__(
        self, capacity: int, *, exponent: float = 1.0, newest: int = 1, first: int = 0, kernel: Kernel = "auto"
    ) -> None:
        self._capacity, self._exponent, self._newest = capacity, exponent, newest
        self.oldest = self.next = first
        self.largest = 1.0
        """Of all priorities that were given; what comes without one gets it, so that it is drawn soon."""
        self.drawable = 0
        """How many items may be drawn."""
        self._priorities = np.zeros(capacity, np.float32)
        self._allowed = np.zeros(capacity, np.bool_)
        self._kernel: Kernel = kernel
        # Made when something is drawn by priority for the first time; before that there is nothing to keep up.
        self._tree: SumTree | None = None
        self._changed: list[NDArray[np.int64]] = []
        self._gathered = 0

    def __len__(self) -> int:
        return self.next - self.oldest

    @property
    def exponent(self) -> float:
        """α. Setting it weighs every item anew."""
        return self._exponent

    @exponent.setter
    def exponent(self, value: float) -> None:
        if value != self._exponent:
            self._exponent = value
            self._note(np.arange(self._capacity))

    def append(
        self, count: int, priorities: NDArray[Any] | float | None = None, *, allowed: NDArray[np.bool_] | bool = True
    ) -> None:
        """Add items behind the newest.

        Args:
          priorities: (count,) or of all; None: the largest that any ever had.
          allowed: (count,) or of all, whether they may be drawn.

        Raises:
          StorageError: there is no room, or a priority is no number of 0 or more.
        """
        if len(self) + count > self._capacity:
            raise StorageError(f"{len(self)} items and {count} more are above the capacity, {self._capacity}")
        given = None if priorities is None else self._checked(priorities)
        slots = np.arange(self.next, self.next + count) % self._capacity
        self._priorities[slots] = self.largest if given is None else given
        self._allowed[slots] = allowed
        self.next += count
        self.drawable += int(self._allowed[slots].sum())
        self._note(slots)

    def forget(self, count: int) -> None:
        """Let the oldest items go."""
        slots = np.arange(self.oldest, min(self.oldest + count, self.next)) % self._capacity
        self.drawable -= int(self._allowed[slots].sum())
        self._allowed[slots] = False
        self.oldest += len(slots)
        self._note(slots)

    def allow(self, start: int, stop: int, allowed: bool) -> None:
        """Say of the items start..stop-1 whether they may be drawn; of those that are held, that is."""
        slots = np.arange(max(start, self.oldest), min(stop, self.next)) % self._capacity
        self.drawable += len(slots) * allowed - int(self._allowed[slots].sum())
        self._allowed[slots] = allowed
        self._note(slots)

    def update(self, handles: Handles, priorities: NDArray[Any]) -> int:
        """Give items new priorities, (B,) each; returns how many of them have gone, and were passed over.

        Raises:
          StorageError: a priority is no number of 0 or more; none is changed.
        """
        checked = np.broadcast_to(self._checked(priorities), np.shape(handles))
        here = (handles >= self.oldest) & (handles < self.next)
        slots = handles[here] % self._capacity
        self._priorities[slots] = checked[here]
        self._note(slots)
        return int(len(handles) - here.sum())

    def draw(self, rng: np.random.Generator, count: int, mix: Mix) -> Drawn:
        """Draw items that may be drawn, with replacement.

        Raises:
          StorageError: there is none that the mix could draw.
        """
        tree = self._settled() if mix.prioritised else None
        if not self.drawable or (tree and not tree.total > 0):
            raise StorageError(f"there is nothing to draw: {self.drawable} of {len(self)} items may be drawn")
        # From where on each law draws, and from how many.
        start = max(self.next - self._newest, self.oldest)
        newest = (start, self._count(start)) if mix.recent else (start, 0)
        if not newest[1]:  # each of them still waits for what follows it: the rest is as recent as it gets
            newest = (self.oldest, self.drawable)
        evenly = {"uniform": (self.oldest, self.drawable), "recent": newest}
        handles, chances = np.empty(count, np.int64), np.zeros(count)
        for law, rows in _rows_by_law(rng, count, mix):
            if law in evenly:
                handles[rows] = self._draw_evenly(rng, len(rows), *evenly[law])
            elif tree:
                handles[rows] = self._handles_of(tree.draw(rng, len(rows)))
        for law, (low, among) in evenly.items():
            if share := getattr(mix, law):
                chances += share * (handles >= low) / among
        if tree:
            chances += mix.prioritised * tree[handles % self._capacity] / tree.total
        return Drawn(handles, chances)

    def state_dict(self) -> dict[str, Any]:
        """What is to be saved: priorities of all items held. Which there are, and may be drawn, its owner knows."""
        return {
            "oldest": self.oldest,
            "largest": self.largest,
            "priorities": self._priorities[np.arange(self.oldest, self.next) % self._capacity],
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Give the items that were held then, and are now, the priorities that they had; others keep theirs."""
        saved, begin = np.asarray(state["priorities"]), int(state["oldest"])
        self.largest = max(float(state["largest"]), self.largest)
        handles = begin + np.arange(len(saved))
        here = (handles >= self.oldest) & (handles < self.next)
        self._priorities[handles[here] % self._capacity] = saved[here]
        self._note(np.arange(self._capacity))

    def _checked(self, priorities: NDArray[Any] | float) -> NDArray[np.float32]:
        values = np.asarray(priorities, np.float32)
        if values.size:
            largest = float(values.max())
            if not (math.isfinite(largest) and values.min() >= 0):
                raise StorageError(f"priorities must be finite numbers of 0 or more, found {values.min()} to {largest}")
            self.largest = max(self.largest, largest)
        return values

    def _note(self, slots: NDArray[np.int64]) -> None:
        if self._tree is not None:
            self._changed.append(slots)
            self._gathered += len(slots)
            if self._gathered > _GATHERED_MAX:
                self._settle(self._tree)

    def _settled(self) -> SumTree:
        """The tree, with what was gathered put into it."""
        if self._tree is None:
            self._tree = SumTree(self._capacity, self._kernel)
            self._changed = [np.arange(self._capacity)]
        self._settle(self._tree)
        return self._tree

    def _settle(self, tree: SumTree) -> None:
        if self._changed:
            slots = self._changed[0] if len(self._changed) == 1 else np.concatenate(self._changed)
            priorities = self._priorities[slots].astype(np.float64)
            weights = np.power(priorities, self._exponent, where=priorities > 0, out=priorities)
            weights *= self._allowed[slots]
            tree.set(slots, weights)
            self._changed, self._gathered = [], 0

    def _handles_of(self, slots: NDArray[np.int64]) -> Handles:
        newest = self.next - 1
        return newest - (newest - slots) % self._capacity

    def _count(self, low: int) -> int:
        """How many of the items from `low` on may be drawn."""
        return int(self._allowed[np.arange(low, self.next) % self._capacity].sum())

    def _draw_evenly(self, rng: np.random.Generator, count: int, low: int, among: int) -> Handles:
        """Draw from the items that may be drawn, `among` of them from `low` on, each as likely."""
        if among * _SCARCE < self.next - low:
            held = np.arange(low, self.next)
            return rng.choice(held[self._allowed[held % self._capacity]], count)
        handles = rng.integers(low, self.next, count)
        while (missed := np.flatnonzero(~self._allowed[handles % self._capacity])).size:
            handles[missed] = rng.integers(low, self.next, len(missed))
        return handles


def _rows_by_law(rng: np.random.Generator, count: int, mix: Mix) -> list[tuple[str, NDArray[np.int64]]]:
    """Which of `count` draws go by which law: each draw by itself, so that the shares hold for any count."""
    shares = {law: share for law, share in mix._asdict().items() if share}
    if len(shares) == 1:
        return [(law, np.arange(count)) for law in shares]
    which = rng.choice(len(shares), count, p=list(shares.values()))
    return [(law, np.flatnonzero(which == number)) for number, law in enumerate(shares)]


def importance(chances: Floats, items: int, exponent: float) -> NDArray[np.float32]:
    """(1/N · 1/P)^β: what takes away that some of N items were drawn more often than others; 1 where all were alike.

    Args:
      chances: (B,) P, as drawn.
      items: N that might have been drawn.
      exponent: β; 1 takes it away whole.
    """
    return np.asarray((1 / (items * chances)) ** exponent, np.float32)
