"""A data set of real video files, made on the spot: digits that move over a photograph (nodes.algo.moving_digits).

    generate ──► folder/train/3-2-00017.mp4, its class      H.264 and MPEG-4, .mp4 and .avi, several sizes and rates

Files are written through an encoder and are then decoded like any other. Those that are there are not made again.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Literal, NamedTuple

import numpy as np

from flow import Context, Out, Promises, Range, Saved, compute, node
from flow.setting import Beside
from nodes.algo.moving_digits import DIGITS, MOTIONS, Scene, render, still
from nodes.recognition import Volumes
from nodes.video import codec
from nodes.video.messages import Listed
from nodes.video.volume import Augmentation, volume_of

CODECS = (
    ("libx264", ".mp4", {"preset": "veryfast", "crf": "18"}),
    ("mpeg4", ".avi", {"qmin": "2", "qmax": "3"}),
    ("libx264", ".avi", {"preset": "veryfast", "crf": "18", "bf": "0"}),
    ("mpeg4", ".mp4", {"qmin": "2", "qmax": "3", "bf": "2"}),
)
SIZES = ((64, 64), (64, 80), (80, 80), (80, 100), (96, 96), (96, 120))  # height, width
RATES = (Fraction(12), Fraction(25), Fraction(30000, 1001))
# What a file shows is decided by this and its name, so that a file is the same whoever makes it.
VERSION = 5


@dataclass
class Position:
    """How far a source is; kept in checkpoints."""

    sent: int = 0


class Planned(NamedTuple):
    """One file of the data set, by its number. part: "train" or "test"."""

    digit: int
    motion: int
    number: int
    part: str

    @property
    def name(self) -> str:
        chosen = CODECS[self._seed % len(CODECS)][1]
        return f"{self.part}/{self.digit}-{self.motion}-{self.number:05}{chosen}"

    @property
    def _seed(self) -> int:
        return zlib.crc32(f"{VERSION} {self.part} {self.digit} {self.motion} {self.number}".encode())

    def write(self, folder: Path, frames: int) -> None:
        """Encode the file, whole or not at all."""
        path = folder / self.name
        rng = np.random.default_rng(self._seed)
        height, width = SIZES[rng.integers(len(SIZES))]
        scene = Scene(self.digit, self.motion, self.part == "test", height, width, frames)
        encoder, _, options = CODECS[self._seed % len(CODECS)]
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = path.with_name(f".{path.name}")
        rate = RATES[rng.integers(len(RATES))]
        # FFmpeg knows the container by the name's ending, which the unfinished name keeps.
        codec.write(unfinished, list(render(scene, rng)), codec=encoder, rate=rate, options=options)
        unfinished.replace(path)


@node(needs=("av", "cv2", "sklearn"), promises=Promises(given="nodes.given.video:generated"))
async def clips(
    files: Out[Listed],
    context: Context,
    saved: Saved,
    *,
    folder: Annotated[str, Beside()] = "",
    train: Annotated[int, Range(0, 99_999)] = 40,
    test: Annotated[int, Range(0, 99_999)] = 40,
    frames: Annotated[int, Range(2, 10_000)] = 12,
    label: Literal["digit and motion", "motion", "digit"] = "digit and motion",
) -> None:
    """Write the files that are missing, and send each: training clips first, classes in turn. Ends after the last.

    Args:
      folder: where, relative to the graph; in the node's place in the run directory if it is not given.
      train: training clips of each of the 20 pairs of a digit and a motion.
      test: test clips of each.
      frames: of each clip.
      label: what a clip's class is: the pair, 20 classes; the motion, 4; or the digit, 5.
    """
    # Files of another version or length have the same names, so they have a folder of their own.
    place = (Path(folder) if folder else context.directory / "clips") / f"version_{VERSION}_of_{frames}_frames"
    position = saved.keep("position", Position())
    pairs = DIGITS * len(MOTIONS)
    while position.sent < pairs * (train + test):
        index, pair = divmod(position.sent, pairs)
        digit, motion = divmod(pair, len(MOTIONS))
        planned = Planned(
            digit, motion, index if index < train else index - train, "train" if index < train else "test"
        )
        if not (place / planned.name).exists():
            await compute(planned.write, place, frames)
        classes = {"digit and motion": pair, "motion": motion, "digit": digit}
        await files.send(Listed(str(place / planned.name), planned.name, classes[label], 0, planned.part))
        position.sent += 1
        context.metrics.count("files")


@node(needs=("cv2", "sklearn"), promises=Promises(given="nodes.given.video:stills", seeded=True))
async def stills(
    batches: Out[Volumes],
    context: Context,
    saved: Saved,
    *,
    crop: Annotated[int, Range(8, 64)] = 56,
    batch: Annotated[int, Range(1, 4096)] = 64,
    updates: Annotated[int, Range(1)] = 400,
) -> None:
    """Send batches of pictures of all ten digits, each on its photograph, none twice: to learn appearance from.

    Args:
      crop: side of the square that is cut out of 64x64 pixels.
      batch: pictures in a message.
      updates: messages.
    """
    position = saved.keep("position", Position())
    while position.sent < updates:
        rng = np.random.default_rng([context.seed, position.sent])
        await batches.send(await compute(drawn_stills, rng, batch, crop))
        position.sent += 1
        context.metrics.count("stills", batch)


def drawn_stills(rng: np.random.Generator, count: int, crop: int) -> Volumes:
    """Pictures of digits drawn at random, and which each is."""
    digits = rng.integers(10, size=count)
    cut = Augmentation(crop, False, 0.0)
    volumes = [cut(volume_of([still(digit, 64, 64, rng)]), rng, frames=True) for digit in digits.tolist()]
    none = np.zeros(count, np.int64)
    return Volumes(
        np.stack([each.bytes for each in volumes]),
        np.stack([each.scale for each in volumes]),
        np.stack([each.shift for each in volumes]),
        digits, none, none, np.zeros(count, bool), none + 1,
    )  # fmt: skip
