"""The picture that a claim draws of what it found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@contextmanager
def picture(path: Path, title: str, across: str, up: str) -> Iterator[Axes]:
    """Axes to draw on, with a legend; written as a PNG when the block ends.

    Args:
      across, up: what its two axes show, with the unit.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg  # heavy, and only who wants a picture needs it
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 3.8), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    yield axes
    axes.set_xlabel(across)
    axes.set_ylabel(up)
    axes.set_title(title)
    axes.grid(alpha=0.25)
    axes.spines[["right", "top"]].set_visible(False)
    axes.legend(loc="best", frameon=False)
    figure.savefig(path)
