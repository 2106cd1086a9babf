"""Which upright lane each line takes in the space between two columns, so that every line can be followed by eye.

    from ────────┐ ┌─────► to        a lane each, and no two lines on one piece of a row: lines only cross
    from ──────┐ └─┼─────► to
               └───┘

A line comes on a row of its own from the left and goes on a row of its own to the right. Where one goes to the row that
another comes on, the other has to turn first. Where that goes round in a circle, one of them turns twice, over a row
that nobody else uses.
"""

from __future__ import annotations

import heapq
from collections.abc import Collection, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Way:
    """A line's lanes, counted from the left, and the row between two of them. first: None if it goes straight on."""

    first: int | None
    second: int | None = None
    row: int = 0


Rows = tuple[int | None, int | None]
"""Where a line comes from and where it goes to; None where it is out of the space, below everything."""


def find_ways(lines: Mapping[int, Rows], taken: Collection[int]) -> tuple[dict[int, Way], int]:
    """The way of each line, and how many lanes there are.

    Args:
      lines: by any number; no two come from one row, no two go to one row.
      taken: rows that a line between two lanes must not take, beside those of the lines.
    """
    turning = {number: rows for number, rows in lines.items() if rows[0] != rows[1]}
    comes = {rows[0]: number for number, rows in turning.items() if rows[0] is not None}
    # Whoever comes on the row that a line goes to has its lane left of that line's.
    left_of = {number: comes[to] for number, (_, to) in turning.items() if to is not None and to in comes}
    twice = _circles(left_of)
    # A line that turns twice is two here: (number, 0) before (number, 1).
    parts = [(number, part) for number in turning for part in range(2 if number in twice else 1)]
    right = {number: (number, int(number in twice)) for number in turning}
    waits = {right[number]: (other, 0) for number, other in left_of.items()}
    order = _ordered(parts, waits, turning)
    place = {part: at for at, part in enumerate(order)}
    ways = {number: Way(None) for number in lines if number not in turning}
    used = {row for rows in lines.values() for row in rows if row is not None} | set(taken)
    for number in turning:
        if number not in twice:
            ways[number] = Way(place[number, 0])
            continue
        row = next(each for each in range(len(used) + 1) if each not in used)
        used.add(row)
        ways[number] = Way(place[number, 0], place[number, 1], row)
    return ways, len(order)


def _circles(left_of: Mapping[int, int]) -> set[int]:
    """One line of each circle."""
    found: set[int] = set()
    done: set[int] = set()
    for start in left_of:
        seen: list[int] = []
        at: int | None = start
        while at is not None and at not in done:
            done.add(at)
            seen.append(at)
            at = left_of.get(at)
        if at in seen:
            found.add(at)
    return found


def _ordered(
    parts: Collection[tuple[int, int]], waits: Mapping[tuple[int, int], tuple[int, int]], lines: Mapping[int, Rows]
) -> list[tuple[int, int]]:
    """The parts from left to right, each after the one it waits for, in an order in which few lines cross."""

    def wish(part: tuple[int, int]) -> tuple[int, int, int]:
        begin, end = lines[part[0]]
        if begin is None:  # up from below
            return 1, end or 0, part[0]
        down = end is None or end > begin
        # Of two that go down the lower turns first, of two that go up the upper.
        return (0, -begin, part[0]) if down else (1, begin, part[0])

    after: dict[tuple[int, int], list[tuple[int, int]]] = {}
    for part, other in waits.items():
        after.setdefault(other, []).append(part)
    ready = [(*wish(part), part) for part in parts if part not in waits]
    heapq.heapify(ready)
    order = []
    while ready:
        part = heapq.heappop(ready)[-1]
        order.append(part)
        for each in after.get(part, ()):
            heapq.heappush(ready, (*wish(each), each))
    return order
