"""How every claim is asked for and answered: `--quick`, a table, a verdict, an exit status."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence


def ask(description: str) -> bool:
    """Read the command line; True for --quick."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--quick", action="store_true", help="fewer repetitions: a check that it runs")
    quick: bool = parser.parse_args().quick
    return quick


def spread(values: Sequence[float]) -> str:
    """Write a mean and the standard deviation between repetitions."""
    deviation = statistics.stdev(values) if len(values) > 1 else 0.0
    return f"{statistics.fmean(values):+.3f} ± {deviation:.3f}"


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under a head, columns aligned."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, ["-" * width for width in widths], *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
    print(flush=True)


def verdict(checks: dict[str, bool]) -> int:
    """Print each check and whether it held; the exit status."""
    for check, held in checks.items():
        print(f"{'holds' if held else 'FAILS'}   {check}")
    return 0 if all(checks.values()) else 1
