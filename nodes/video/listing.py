"""The video files of a data set on disk, by its own lists (storage.importers.videos).

listing(layout = "ucf101") ──► file, class, part
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from flow import Context, Out, Promises, Range, Saved, compute, node
from flow.setting import Beside
from nodes.video.messages import Listed
from storage.importers.videos import Listing, folders, hmdb51, ucf101

TOLD = 3
"""How many of the missing files are named in the log."""


@dataclass
class Position:
    """How far a source is; kept in checkpoints."""

    sent: int = 0


@node(promises=Promises(given="nodes.given.video:listings"))
async def listing(
    files: Out[Listed],
    context: Context,
    saved: Saved,
    *,
    path: Annotated[str, Beside()],
    layout: Literal["ucf101", "hmdb51", "folders"],
    split: Annotated[int, Range(1, 3)] = 1,
    test_share: Annotated[float, Range(0, 0.9)] = 0.2,
    task: Annotated[int, Range(0)] = 0,
    all_train: bool = False,
) -> None:
    """Send each file of a data set, and end; writes classes.json, the names of its classes by label.

    Files that its lists name and the disk does not have are counted as `missing`, and some are named.

    Args:
      path: the folder with the class folders, or the one above it, relative to the graph.
      layout: whose folders and lists they are; "folders": a folder a class.
      split: of UCF-101 or HMDB-51, which of their three.
      test_share: of "folders" without train and test, the share of each class that is held out.
      task: which of several data sets this is: each has classes and a head of its own, whatever their names.
      all_train: learn from all of it, as the paper does with the data set that is not the one under test.
    """
    position = saved.keep("position", Position())
    found = await compute(listed, Path(path), layout, split, test_share)
    await compute(write_classes, context.directory / "classes.json", found)
    context.metrics.count("missing", 0)  # that none is is told too
    if found.missing and position.sent == 0:
        names = ", ".join(found.missing[:TOLD])
        context.log(f"{path}: of {len(found.missing)} files of its lists there is none, such as {names}", "warning")
        context.metrics.count("missing", len(found.missing))
    for entry in found.entries[position.sent :]:
        part = "train" if all_train else entry.part
        await files.send(Listed(str(entry.path), entry.name, entry.label, task, part))
        position.sent += 1
        context.metrics.count("files")


def listed(path: Path, layout: str, split: int, test_share: float) -> Listing:
    """The data set at a path."""
    if layout == "folders":
        return folders(path, test_share)
    return ucf101(path, split) if layout == "ucf101" else hmdb51(path, split)


def write_classes(path: Path, found: Listing) -> None:
    """The names of the classes, a JSON list in the order of their labels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found.classes, indent=1))
