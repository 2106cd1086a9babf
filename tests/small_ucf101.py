"""A data set in UCF-101's layout: three classes, four short videos of each, its lists.

python -m tests.small_ucf101 FOLDER [SEED]      another seed makes other videos, of classes with the same names
"""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np

from nodes.algo.moving_digits import Scene, render
from nodes.video import codec

CLASSES = ("ApplyEyeMakeup", "HandstandPushups", "YoYo")
FRAMES = 12


def make(root: Path, seed: int = 0) -> Path:
    """Write it, and say where it is."""
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True, exist_ok=True)
    lines: dict[str, list[str]] = {"train": [], "test": []}
    for label, name in enumerate(CLASSES):
        folder = root / "UCF-101" / name
        folder.mkdir(parents=True, exist_ok=True)
        for group in range(1, 5):
            # UCF-101 writes this class otherwise in the names of its files.
            file = folder / f"v_{name.replace('dstand', 'dStand')}_g{group:02}_c01.avi"
            scene = Scene(label, label, group == 4, 64, 80, FRAMES)
            images = list(render(scene, np.random.default_rng([label, group, seed])))
            codec.write(file, images, codec="mpeg4", rate=Fraction(25), options={"qmin": "8", "qmax": "12"})
            part = "test" if group == 4 else "train"
            lines[part].append(f"{name}/{file.name}" + (f" {label + 1}" if part == "train" else ""))
    (lists / "classInd.txt").write_text("".join(f"{n} {name}\n" for n, name in enumerate(CLASSES, 1)))
    for part, names in lines.items():
        (lists / f"{part}list01.txt").write_text("".join(f"{line}\n" for line in names))
    return root


if __name__ == "__main__":
    make(Path(sys.argv[1]), *map(int, sys.argv[2:]))
