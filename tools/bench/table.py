"""What every bench prints: one table of figures over interleaved rounds, each beside the peer of the same rounds."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field


@dataclass
class Figure:
    """One line: values of the rounds, and the figure that was measured beside it in the same rounds.

    target: what the median, or the median ratio where there is a `beside`, is held to; `at_least` says which way.
    """

    name: str
    unit: str
    values: list[float] = field(default_factory=list)
    beside: Figure | None = None
    target: float | None = None
    at_least: bool = True

    def ratio(self) -> float | None:
        """The median of the rounds' ratios to the figure beside it."""
        if self.beside is None or not self.beside.values:
            return None
        pairs = zip(self.values, self.beside.values, strict=False)
        return statistics.median(own / other for own, other in pairs if other)

    def verdict(self) -> str:
        """The target, and whether it was missed."""
        found = self.ratio() if self.beside is not None else statistics.median(self.values)
        if self.target is None or found is None:
            return ""
        met = found >= self.target if self.at_least else found <= self.target
        sign, times = (">=" if self.at_least else "<="), ("x" if self.beside is not None else "")
        return f"{sign} {self.target:g}{times}" + ("" if met else "  MISSED")


class Figures:
    """Figures by name, in the order in which they were first met."""

    def __init__(self) -> None:
        self._by_name: dict[tuple[str, str], Figure] = {}

    def add(self, name: str, unit: str, value: float) -> Figure:
        """Note a round's value."""
        figure = self._by_name.setdefault((name, unit), Figure(name, unit))
        figure.values.append(value)
        return figure

    def relate(self, name: str, unit: str, beside: str, *, target: float | None = None, at_least: bool = True) -> None:
        """Say what a figure is to be read beside."""
        if (name, unit) in self._by_name:
            figure = self._by_name[name, unit]
            figure.beside = self._by_name.get((beside, unit))
            figure.target, figure.at_least = (target if figure.beside else None), at_least

    def hold(self, name: str, unit: str, target: float, *, at_least: bool = True) -> None:
        """Say what a figure's median is held to."""
        if (name, unit) in self._by_name:
            figure = self._by_name[name, unit]
            figure.target, figure.at_least = target, at_least

    def __iter__(self) -> Iterator[Figure]:
        return iter(self._by_name.values())


def interleaved(rounds: int, cases: Sequence[Callable[[], None]]) -> None:
    """A B A B: what else the machine does in a round falls on all of them."""
    for number in range(rounds):
        for case in cases:
            case()
        print(f"round {number + 1} of {rounds}: load {os.getloadavg()[0]:.1f}", flush=True)


def print_table(figures: Figures, packages: Sequence[str], notes: Sequence[str] = ()) -> None:
    """Print the figures, what there is to know about them, and what they were measured with."""
    lines = [["", "unit", "min", "median", "max", "ratio", "to", "target"]]
    for figure in figures:
        low, middle, high = (_shown(f(figure.values)) for f in (min, statistics.median, max))
        ratio = figure.ratio()
        beside = figure.beside.name.strip() if figure.beside is not None else ""
        shown_ratio = "" if ratio is None else f"{ratio:.2f}x"
        lines.append([figure.name, figure.unit, low, middle, high, shown_ratio, beside, figure.verdict()])
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for line in lines:
        left = [line[0].ljust(widths[0]), line[1].ljust(widths[1])]
        numbers = [text.rjust(width) for text, width in zip(line[2:6], widths[2:6], strict=True)]
        print("  ".join([*left, *numbers, line[6].ljust(widths[6]), line[7]]).rstrip())
    for note in notes:
        print(note)
    versions = ", ".join(f"{name} {_version(name)}" for name in packages)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"Python {platform.python_version()}, {versions}, {os.cpu_count()} cores, load {load}")


def _shown(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
