"""Inputs of a network drawn from stored videos: shuffled epochs to learn from, many views of each to be tested with.

    stored ──► (all of them) ──► samples ──► batches, a frame or a stack of flow of each video
                             ──► views   ──► several places in time of each video, several crops of each

Everything about sample n is drawn from the seed and n alone, so a run that is resumed goes on with the very sample it
stopped before, and replicas take every nth batch of one order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from flow import Context, In, Out, Promises, Range, Saved, compute, node
from flow.errors import MessageError, SettingError
from flow.kept import Kept
from flow.setting import Beside
from nodes.recognition import Stored, Volumes
from nodes.video.volume import Augmentation, Kind, Reader, Volume, starts_of
from storage.dataset import Dataset, Record


@dataclass
class Progress:
    """How many messages were sent."""

    sent: int = 0


@node(needs=("cv2",), promises=Promises(given="nodes.given.video:sampled", seeded=True, order="none"))
async def samples(
    stored: In[Stored],
    batches: Out[Volumes],
    context: Context,
    saved: Saved,
    *,
    path: Annotated[str, Beside()],
    part: str = "train",
    kind: Kind = "frame",
    length: Annotated[int, Range(1, 64)] = 10,
    mean_subtraction: bool = True,
    flow_max: Annotated[float, Range(0, 1000)] = 0.0,
    crop: Annotated[int, Range(8, 1024)] = 224,
    flip: bool = True,
    colour: Annotated[float, Range(0, 1)] = 0.1,
    order: Literal["epochs", "classes"] = "epochs",
    batch: Annotated[int, Range(1, 4096)] = 256,
    updates: Annotated[int, Range(1)] = 80_000,
    seed: int | None = None,
) -> None:
    """Wait until all is stored, then send batches of one sample of each video: a place in time, a crop, a mirroring.

    Args:
      path: of the dataset, relative to the graph.
      part: which videos: "train" or "test".
      kind: "frame"; "frames", `length` + 1 of them in a row; "flow", `length` fields stacked; "trajectories", these
        along the paths of pixels; "both_ways", half of them backwards in time. `both_ways` is to be stored for that.
      length: flow fields in a sample, L in the paper.
      mean_subtraction: of each field its own mean is subtracted, which is most of a camera's motion.
      flow_max: pixels a frame; flow beyond it is clipped, after the mean is subtracted, since a few estimates are far
        off. 0 clips nothing, as the paper.
      crop: side of the square that is cut out, anywhere in the frame.
      flip: mirror every other sample; not where left and right tell classes apart.
      colour: strength of the noise along the colours' principal axes (Krizhevsky et al., 2012), of frames.
      order: "epochs", each video once an epoch in an order of its own; "classes", as the paper: a class at random,
        then a video of it.
      batch: samples in a message; those of an epoch's end and the next one's beginning share one.
      updates: how many batches are sent.
      seed: of all that is drawn; the run's decides if it is not given. Replicas have to be given one.
    """
    chosen_seed = _one_seed(context, seed)
    progress = saved.keep("progress", Progress())
    chosen = await _gathered(stored, saved, part, None)
    if not chosen:
        context.log(f"no video of part {part!r} is stored, so nothing is sampled", "warning")
        return
    dataset = await compute(Dataset, path)
    with dataset:
        reader = Reader(dataset, kind, length, mean_subtraction, flow_max)
        source = Source(chosen, reader, Augmentation(crop, flip, colour), order, chosen_seed)
        while (number := progress.sent * context.replicas + context.replica) < updates:
            await batches.send(await compute(source.batch, number * batch, batch))
            progress.sent += 1
            context.metrics.count("samples", batch)
            context.metrics.gauge("epoch", (number + 1) * batch / len(chosen))


def _one_seed(context: Context, seed: int | None) -> int:
    """One for all replicas: they take turns in one order."""
    if seed is None and context.replicas > 1:
        raise SettingError(
            f"{context.name} has {context.replicas} replicas, which take turns in one order: give them one seed, as in "
            "seed = 1"
        )
    return context.seed if seed is None else seed


async def _gathered(stored: In[Stored], saved: Saved, part: str, task: int | None) -> list[Stored]:
    """The videos of a part, by task and name, so that every sampler of a graph numbers them alike."""
    kept = saved.keep("stored", Kept(Stored))
    async for each in stored:
        if part in ("all", each.part) and task in (None, each.task):
            kept.append(each)
    return sorted(kept, key=lambda each: (each.task, each.part, each.name, each.key))


class Source:
    """Samples by their number."""

    def __init__(
        self, videos: Sequence[Stored], reader: Reader, augmentation: Augmentation, order: str, seed: int
    ) -> None:
        self.videos, self.reader, self.augmentation, self.order, self.seed = videos, reader, augmentation, order, seed
        self._records: dict[int, Record] = {}
        self._epoch, self._shuffled = -1, np.zeros(0, np.int64)
        classes: dict[tuple[int, int], list[int]] = {}
        for index, video in enumerate(videos):
            classes.setdefault((video.task, video.label), []).append(index)
        self._classes = list(classes.values())

    def which(self, number: int) -> int:
        """The video of a sample."""
        if self.order == "classes":
            rng = np.random.default_rng([self.seed, 1, number])
            members = self._classes[rng.integers(len(self._classes))]
            return members[rng.integers(len(members))]
        epoch, place = divmod(number, len(self.videos))
        if epoch != self._epoch:
            self._shuffled = np.random.default_rng([self.seed, 2, epoch]).permutation(len(self.videos))
            self._epoch = epoch
        return int(self._shuffled[place])

    def batch(self, first: int, count: int) -> Volumes:
        """Samples `first` to `first + count`."""
        volumes, videos = [], []
        for number in range(first, first + count):
            video = self.which(number)
            rng = np.random.default_rng([self.seed, 3, number])
            record = self.record(video)
            starts = starts_of(record.counts["frames"], self.reader)
            volume = self.reader.read(record, int(rng.integers(starts.start, starts.stop)))
            volumes.append(self.augmentation(volume, rng, frames=self.reader.frames))
            videos.append(video)
        return stacked(volumes, [self.videos[video] for video in videos], videos, [1] * count)

    def record(self, video: int) -> Record:
        if video not in self._records:
            self._records[video] = self.reader.dataset.record(self.videos[video].key)
        return self._records[video]


def stacked(volumes: Sequence[Volume], of: Sequence[Stored], videos: Sequence[int], views: Sequence[int]) -> Volumes:
    """Volumes as one message.

    Raises:
      MessageError: they differ in size.
    """
    shapes = {volume.bytes.shape for volume in volumes}
    if len(shapes) > 1:
        raise MessageError(f"samples of {' and '.join(map(str, shapes))} cannot be stacked; make the crop smaller")
    return Volumes(
        np.stack([volume.bytes for volume in volumes]),
        np.stack([volume.scale for volume in volumes]),
        np.stack([volume.shift for volume in volumes]),
        np.array([each.label for each in of]),
        np.array([each.task for each in of]),
        np.array(videos),
        np.array([each.part == "test" for each in of]),
        np.array(views),
    )


@node(needs=("cv2",), promises=Promises(given="nodes.given.video:viewed", order="none"))
async def views(
    stored: In[Stored],
    views: Out[Volumes],
    context: Context,
    saved: Saved,
    *,
    path: Annotated[str, Beside()],
    part: Literal["train", "test", "all"] = "test",
    task: Annotated[int, Range(0)] = 0,
    kind: Kind = "frame",
    length: Annotated[int, Range(1, 64)] = 10,
    mean_subtraction: bool = True,
    flow_max: Annotated[float, Range(0, 1000)] = 0.0,
    crop: Annotated[int, Range(8, 1024)] = 224,
    frames: Annotated[int, Range(1, 1000)] = 25,
    crops: Literal["1", "5", "10"] = "10",
    views_max: Annotated[int, Range(1, 4096)] = 50,
) -> None:
    """Wait until all is stored, then send each video once: `frames` places at equal distances, `crops` of each.

    A video with fewer places than that gives each once. Replicas take every nth message.

    Args:
      path: of the dataset, relative to the graph.
      part: which videos.
      task: of which data set.
      kind: as at `samples`.
      length: as at `samples`.
      mean_subtraction: as at `samples`.
      flow_max: as at `samples`.
      crop: as at `samples`.
      frames: places in time; the paper has 25.
      crops: the centre; with the corners, 5; with their mirror images, 10, as in the paper.
      views_max: views in a message, more or less: those of one place are not parted.
    """
    progress = saved.keep("progress", Progress())
    chosen = await _gathered(stored, saved, part, task)
    if not chosen:
        context.log(f"no video of part {part!r} is stored, so nothing is tested", "warning")
        return
    dataset = await compute(Dataset, path)
    with dataset:
        reader = Reader(dataset, kind, length, mean_subtraction, flow_max)
        places = await compute(_places, chosen, reader, frames)
        size = max(1, views_max // int(crops))
        while (first := (progress.sent * context.replicas + context.replica) * size) < len(places):
            await views.send(await compute(_views, chosen, reader, places[first : first + size], crop, int(crops)))
            progress.sent += 1
            context.metrics.count("views", len(places[first : first + size]) * int(crops))


def _places(videos: Sequence[Stored], reader: Reader, frames: int) -> list[tuple[int, int, int]]:
    """Of each place its video, where it starts, and how many its video has."""
    found = []
    for index, video in enumerate(videos):
        starts = starts_of(reader.dataset.record(video.key).counts["frames"], reader)
        spaced = np.unique(np.linspace(starts.start, starts.stop - 1, frames).round().astype(int))
        found += [(index, int(start), len(spaced)) for start in spaced]
    return found


def _views(
    videos: Sequence[Stored], reader: Reader, places: Sequence[tuple[int, int, int]], crop: int, crops: int
) -> Volumes:
    volumes, of, numbers, counts = [], [], [], []
    for index, start, have in places:
        whole = reader.read(reader.dataset.record(videos[index].key), start)
        cut = whole.views(crop, crops, frames=reader.frames)
        volumes += cut
        of += [videos[index]] * len(cut)
        numbers += [index] * len(cut)
        counts += [have * crops] * len(cut)
    return stacked(volumes, of, numbers, counts)
