"""One input of a network out of a stored video: bytes, and what each channel's bytes mean; cropped and mirrored.

Nothing is computed in floats that need not be: a stored byte goes into the network's input as it is, with a scale and
a shift for its channel. Trajectories are read between pixels and rounded to bytes again.
"""

from __future__ import annotations

from typing import Literal, NamedTuple, TypeAlias

import numpy as np

from flow import Array
from flow.errors import SettingError
from nodes.algo.optical_flow import Quantised, restore, trajectory_stack
from nodes.video.flow import unpack_field, unpack_frame
from storage.dataset import Dataset, Record

Kind: TypeAlias = Literal["frame", "frames", "flow", "trajectories", "both_ways"]
# Of ImageNet's colours, 0 to 1: what networks that were trained on it were given.
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406], np.float32), np.array([0.229, 0.224, 0.225], np.float32)
# Principal axes of ImageNet's colours, a column each, times the deviation along each (Krizhevsky et al., 2012).
_AXES = np.array([[-0.5675, 0.7192, 0.4009], [-0.5808, -0.0045, -0.8140], [-0.5836, -0.6948, 0.4203]], np.float32)
COLOURS = _AXES * np.array([0.2175, 0.0188, 0.0045], np.float32)
# Two pixels of motion are as much as one deviation of colour.
FLOW_SCALE = np.float32(0.5)


class Volume(NamedTuple):
    """bytes: (C, H, W). A value is `scale * byte + shift`, (C,) each."""

    bytes: Array
    scale: Array
    shift: Array

    def cut(self, top: int, left: int, side: int) -> Volume:
        return self._replace(bytes=self.bytes[:, top : top + side, left : left + side])

    def mirrored(self, *, frames: bool) -> Volume:
        """Left for right; what moves to the left moves to the right then, so x components change their sign."""
        bytes_ = self.bytes[:, :, ::-1]
        if frames:
            return self._replace(bytes=bytes_)
        sign = np.where(np.arange(len(self.scale)) % 2, 1, -1).astype(np.float32)
        return Volume(bytes_, self.scale * sign, self.shift * sign)

    def limited(self, most: float) -> Volume:
        """Values beyond ±most become ±most; the bytes of a channel that has any get the range that is left."""
        ends = np.abs([self.shift, self.shift + 255 * self.scale]).max(0)
        beyond = np.flatnonzero(ends > most)
        if not len(beyond):
            return self
        bytes_, scale, shift = self.bytes.copy(), self.scale.copy(), self.shift.copy()
        for channel in beyond.tolist():
            meant = (self.shift[channel] + self.scale[channel] * np.arange(256)).clip(-most, most)
            low, span = meant.min(), max(meant.max() - meant.min(), 1e-6)
            bytes_[channel] = np.rint((meant - low) * (255 / span)).astype(np.uint8)[self.bytes[channel]]
            scale[channel], shift[channel] = span / 255, low
        return Volume(bytes_, scale, shift)

    def views(self, side: int, crops: int, *, frames: bool) -> list[Volume]:
        """The centre; with 5 the corners too; with 10 their mirror images too."""
        down, across = room(self, side)
        corners = [(down // 2, across // 2), (0, 0), (0, across), (down, 0), (down, across)]
        found = [self.cut(top, left, side) for top, left in corners[: 1 if crops == 1 else 5]]
        return found + [view.mirrored(frames=frames) for view in found] if crops == 10 else found


def room(volume: Volume, side: int) -> tuple[int, int]:
    """By how many pixels a square can be moved down and across.

    Raises:
      SettingError: it is larger than the frame.
    """
    _, height, width = volume.bytes.shape
    if side > min(height, width):
        raise SettingError(f"crop = {side} is larger than the stored frames, {height}x{width}; make it smaller")
    return height - side, width - side


class Augmentation(NamedTuple):
    """A random square, mirroring, and noise of colour."""

    crop: int
    flip: bool
    colour: float

    def __call__(self, volume: Volume, rng: np.random.Generator, *, frames: bool) -> Volume:
        down, across = room(volume, self.crop)
        cut = volume.cut(int(rng.integers(down + 1)), int(rng.integers(across + 1)), self.crop)
        if self.flip and rng.integers(2):
            cut = cut.mirrored(frames=frames)
        if frames and self.colour:
            noise = (COLOURS @ rng.normal(0, self.colour, 3).astype(np.float32)) / DEVIATION
            cut = cut._replace(shift=cut.shift + np.tile(noise, len(cut.shift) // 3))
        return cut


def volume_of(images: list[Array]) -> Volume:
    """Frames in a row, (H, W, 3) each, uint8, RGB, as one volume of ImageNet's normal colours."""
    scale, shift = np.tile(1 / (255 * DEVIATION), len(images)), np.tile(-MEAN / DEVIATION, len(images))
    return Volume(np.concatenate(images, axis=2).transpose(2, 0, 1), scale, shift)


class Reader:
    """Reads volumes of one kind. frames: whether they are of colours, not of flow.

    Args:
      flow_max: pixels a frame; flow beyond it is clipped, after its mean is subtracted. 0 clips nothing.
    """

    def __init__(
        self, dataset: Dataset, kind: Kind, length: int, mean_subtraction: bool, flow_max: float = 0.0
    ) -> None:
        if kind == "both_ways" and length % 2:
            raise SettingError(f"length = {length}: half of the fields go backwards, so it has to be even")
        self.dataset, self.kind, self.length, self.mean_subtraction = dataset, kind, length, mean_subtraction
        self.flow_max = flow_max
        self.frames = kind in ("frame", "frames")

    def read(self, record: Record, start: int) -> Volume:
        """The volume that starts at a frame. What a short video does not have is its last frame or field again.

        Raises:
          SettingError: the fields that it needs are not stored.
        """
        if self.kind == "frame":
            return self._colours(record, [start])
        if self.kind == "frames":
            return self._colours(record, [start + n for n in range(self.length + 1)])
        half = self.length // 2
        if self.kind == "both_ways":
            fields = self._fields(record, "flow", [start + n for n in range(half)])
            # Backward field n is from frame n + 1 to frame n.
            fields += self._fields(record, "back", [start - 1 - n for n in range(half)])
        else:
            fields = self._fields(record, "flow", [start + n for n in range(self.length)])
        return self._moved(fields)

    def _colours(self, record: Record, numbers: list[int]) -> Volume:
        last = record.counts["frames"] - 1
        with self.dataset.reading(record) as value:
            images = [unpack_frame(value("frames", min(number, last))) for number in numbers]
        return volume_of(images)

    def _fields(self, record: Record, column: str, numbers: list[int]) -> list[Quantised]:
        count = record.counts.get(column, 0)
        if not count:
            raise SettingError(
                f"kind = {self.kind!r} needs the column {column!r}, which video {record.facts.get('name')!r} does not "
                "have: it has one frame, or both_ways is not set where it was stored"
            )
        with self.dataset.reading(record) as value:
            return [unpack_field(value(column, min(max(number, 0), count - 1))) for number in numbers]

    def _moved(self, fields: list[Quantised]) -> Volume:
        low = np.concatenate([field.low for field in fields])
        high = np.concatenate([field.high for field in fields])
        mean = np.concatenate([field.mean for field in fields])
        if self.kind == "trajectories":
            along = trajectory_stack([restore(field) for field in fields])
            span = (high - low)[:, None, None]
            bytes_ = np.rint((along - low[:, None, None]) * (255 / span)).clip(0, 255).astype(np.uint8)
        else:
            bytes_ = np.concatenate([field.bytes for field in fields])
        shift = low - mean if self.mean_subtraction else low
        volume = Volume(bytes_, FLOW_SCALE * (high - low) / 255, FLOW_SCALE * shift)
        return volume.limited(float(FLOW_SCALE) * self.flow_max) if self.flow_max else volume


def starts_of(frames: int, reader: Reader) -> range:
    """Where a volume can start in a video of so many frames; in one that is too short, at its beginning alone."""
    first = reader.length // 2 if reader.kind == "both_ways" else 0
    behind = {"frame": 0, "both_ways": first}.get(reader.kind, reader.length)
    if frames - behind > first:
        return range(first, frames - behind)
    start = min(first, max(frames - 1, 0))
    return range(start, start + 1)
