"""Videos in a dataset (storage.dataset): which are there already, and the others put into it.

    files ──► absent ─┬─ those that are not there ──► … decoder, flow, pack ──► store ──► stored
                      └─ those that are ────────────────────────────────────────────────► stored

A video's key is made of its file's bytes and of all that decides what is stored of it, so a second run decodes nothing,
and one with another size or flow makes what it needs beside what is there.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from flow import Context, In, Out, Promises, Range, Saved, compute, node
from flow.errors import StorageError
from flow.setting import Beside
from nodes.recognition import Stored
from nodes.video.flow import columns_of
from nodes.video.messages import Listed, Pieces, Video
from storage.dataset import Dataset, content_key

VERSION = 1


@dataclass
class Seen:
    """The name under which each key came first."""

    names: dict[str, str] = field(default_factory=dict)


@node(needs=("av",), promises=Promises(given="nodes.given.video:absent"))
async def absent(
    files: In[Listed],
    missing: Out[Video],
    stored: Out[Stored],
    context: Context,
    saved: Saved,
    *,
    path: Annotated[str, Beside()],
    side: Annotated[int, Range(8, 8192)] = 256,
    flow: Literal["dis", "dis_fast", "tvl1", "tvl1_torch", "farneback", "none"] = "dis",
    both_ways: bool = False,
    quality: Annotated[int, Range(1, 100)] = 90,
) -> None:
    """Send on each file that the dataset holds nothing of, and say which of the others it has; counts `present`.

    Files that cannot be read are left out, with their name, and counted as `unreadable`; so are those with the very
    bytes of an earlier one, as `twins`: of two that are in different parts one would be tested on what was learned.

    Args:
      path: of the dataset, relative to the graph.
      side: smallest side of the stored frames, in pixels; the paper's is 256.
      flow: method of optical flow; "tvl1_torch" is for a GPU; "none" stores frames only of use without motion.
      both_ways: whether flow backwards is stored too, for bidirectional stacking.
      quality: of the JPEG images, of frames and of flow.
    """
    dataset = await compute(opened, Path(path))
    seen = saved.keep("seen", Seen())
    context.metrics.count("present", 0)  # that there are none is told too
    with dataset:
        async for file in files:
            try:
                key = await compute(content_key, Path(file.path), _recipe(side, flow, both_ways, quality))
            except OSError as error:
                context.log(f"{file.path} is left out: {error.strerror or error}", "warning")
                context.metrics.count("unreadable")
                continue
            if key in seen.names:
                context.log(f"{file.name} is left out: it has the bytes of {seen.names[key]}", "warning")
                context.metrics.count("twins")
            elif dataset.has(key):
                await stored.send(Stored(key, file.name, file.label, file.task, file.part))
                context.metrics.count("present")
            else:
                said = vars(file)
                await missing.send(Video(**said, key=key, side=side, flow=flow, both_ways=both_ways, quality=quality))
            seen.names.setdefault(key, file.name)


def _recipe(side: int, flow: str, both_ways: bool, quality: int) -> str:
    import av

    # Decoders of another FFmpeg may round otherwise; what they make is kept apart.
    library = ".".join(map(str, av.library_versions["libavcodec"][:1]))
    return f"video {VERSION}, libavcodec {library}, side {side}, flow {flow}, both ways {both_ways}, jpeg {quality}"


def opened(path: Path) -> Dataset:
    """The dataset at a path, made when it is missing."""
    return Dataset(path, create=True)


@node(promises=Promises(given="nodes.given.video:storing", order="none"))
async def store(
    pieces: In[Pieces],
    stored: Out[Stored],
    context: Context,
    saved: Saved,
    *,
    path: Annotated[str, Beside()],
) -> None:
    """Put what comes into the dataset, and say of each video when it is whole there; counts `videos_stored`.

    Pieces may come in any order and twice. At the end what is not whole, since its decoder or a message of it was
    lost, is logged, deleted and counted as `unfinished`; a next run makes it.

    Args:
      path: of the dataset, relative to the graph.
    """
    dataset = await compute(opened, Path(path))
    begun = saved.keep("begun", Begun())
    context.metrics.count("videos_stored", 0)  # that all was there before is told too
    with dataset:
        async for piece in pieces:
            if piece.problem:
                await compute(dataset.drop, piece.key)
                begun.forget(piece)
                continue
            begun.note(piece)
            if await compute(put, dataset, piece, begun.counts.get(piece.key)):
                await stored.send(Stored(piece.key, piece.name, piece.label, piece.task, piece.part))
                begun.forget(piece)
                context.metrics.count("videos_stored")
        for key, name in begun.names.items():
            context.log(f"{name} is not whole: a part of it was lost; a next run makes it", "warning")
            await compute(dataset.drop, key)
            context.metrics.count("unfinished")
        await compute(dataset.sync)


class Begun:
    """Videos of which not all has come: the name of each, and how many values each column will have once known."""

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.counts: dict[str, dict[str, int]] = {}

    def note(self, piece: Pieces) -> None:
        self.names[piece.key] = piece.name
        if piece.counts:
            self.counts[piece.key] = {name: int(count[0]) for name, count in piece.counts.items()}

    def forget(self, piece: Pieces) -> None:
        self.names.pop(piece.key, None)
        self.counts.pop(piece.key, None)

    def state_dict(self) -> dict[str, object]:
        return {"names": dict(self.names), "counts": {key: dict(counts) for key, counts in self.counts.items()}}

    def load_state_dict(self, state: dict[str, dict[str, object]]) -> None:
        self.names, self.counts = dict(state["names"]), dict(state["counts"])  # type: ignore[arg-type]


def put(dataset: Dataset, piece: Pieces, counts: dict[str, int] | None) -> bool:
    """Store a piece; whether its video is whole by it.

    Raises:
      StorageError: a column says other sizes than it has bytes.
    """
    for name, sizes in piece.sizes.items():
        if int(sizes.sum()) != len(piece.values[name]):
            raise StorageError(
                f"{piece.name}, {name}: expected {int(sizes.sum())} bytes, found {len(piece.values[name])}"
            )
    dataset.put(piece.key, columns_of(piece))
    return counts is not None and dataset.finish(piece.key, counts, {"name": piece.name})
