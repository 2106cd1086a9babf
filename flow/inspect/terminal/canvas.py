"""Lines and text on a grid of letters; lines that meet or cross get the letter for it."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

UP, DOWN, LEFT, RIGHT = 1, 2, 4, 8
_LETTERS = {
    LEFT: "─", RIGHT: "─", LEFT | RIGHT: "─", UP: "│", DOWN: "│", UP | DOWN: "│",
    DOWN | RIGHT: "┌", DOWN | LEFT: "┐", UP | RIGHT: "└", UP | LEFT: "┘",
    UP | DOWN | RIGHT: "├", UP | DOWN | LEFT: "┤", LEFT | RIGHT | DOWN: "┬", LEFT | RIGHT | UP: "┴",
    UP | DOWN | LEFT | RIGHT: "┼",
}  # fmt: skip


@dataclass
class Canvas:
    """Grows as it is drawn on. A style is any word; the last one drawn in a place counts."""

    lines: dict[tuple[int, int], int] = field(default_factory=dict)
    letters: dict[tuple[int, int], str] = field(default_factory=dict)
    styles: dict[tuple[int, int], str] = field(default_factory=dict)

    def text(self, x: int, y: int, text: str, style: str = "") -> None:
        """Write over whatever is there."""
        for at, letter in enumerate(text):
            self.letters[x + at, y] = letter
            self.styles[x + at, y] = style

    def path(self, points: list[tuple[int, int]], style: str = "") -> None:
        """Draw level and upright lines from point to point."""
        for (x, y), (to_x, to_y) in itertools.pairwise(points):
            if x != to_x and y != to_y:
                raise ValueError(f"a line from {x, y} to {to_x, to_y} is neither level nor upright")
            step_x, step_y = (to_x > x) - (to_x < x), (to_y > y) - (to_y < y)
            leave, enter = {(1, 0): (RIGHT, LEFT), (-1, 0): (LEFT, RIGHT), (0, 1): (DOWN, UP), (0, -1): (UP, DOWN)}.get(
                (step_x, step_y), (0, 0)
            )
            while (x, y) != (to_x, to_y):
                self._mark(x, y, leave, style)
                x, y = x + step_x, y + step_y
                self._mark(x, y, enter, style)

    def _mark(self, x: int, y: int, arm: int, style: str) -> None:
        self.lines[x, y] = self.lines.get((x, y), 0) | arm
        self.styles[x, y] = style

    def rows(self) -> list[list[tuple[str, str]]]:
        """Runs of letters of one style, a list a row."""
        places = self.lines.keys() | self.letters.keys()
        width = max((x for x, _ in places), default=-1) + 1
        height = max((y for _, y in places), default=-1) + 1
        rows = []
        for y in range(height):
            row: list[tuple[str, str]] = []
            for x in range(width):
                letter = self.letters.get((x, y)) or _LETTERS.get(self.lines.get((x, y), 0), " ")
                style = self.styles.get((x, y), "")
                if row and row[-1][1] == style:
                    row[-1] = (row[-1][0] + letter, style)
                else:
                    row.append((letter, style))
            rows.append(row)
        return rows
