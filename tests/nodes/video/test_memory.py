"""Memory is flat over an epoch of long videos: what is held of one does not depend on its length."""

from __future__ import annotations

import json
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from tests.nodes.video.clips_for_tests import FINE

from nodes.video import codec  # isort: skip

ROOT = Path(__file__).parents[3]
SHORT, LONG, HEIGHT, WIDTH = 60, 1200, 96, 128
HELD = (LONG - SHORT) * HEIGHT * WIDTH * 3
"""What the longer one's frames would take more, were they all held; their flow is 2.7 times that."""
# Of memory that a process has for itself: pages of the dataset's file are the system's cache, and it takes them back.
PROGRAM = """
import json, sys
from pathlib import Path
from nodes.recognition import Stored
from nodes.video.decode import pieces
from nodes.video.flow import fields, packed
from nodes.video.messages import Flows, Video
from nodes.video.sample import Source
from nodes.video.store import opened, put
from nodes.video.volume import Augmentation, Reader

most = {"import": 0, "epoch": 0}

def note(what):
    lines = Path("/proc/self/status").read_text().splitlines()
    most[what] = max(most[what], next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")))

video = Video(sys.argv[1], "long", 0, 0, "train", f"{1:032x}", 96, "dis_fast", False, 90)
with opened(Path(sys.argv[2])) as dataset:
    for piece in pieces(video, 16, 1e6, 1):
        forward, backward = fields(piece.frames, "dis_fast", False)
        said = {name: value for name, value in vars(piece).items() if name not in ("flow", "both_ways")}
        part = packed(Flows(**said, forward=forward, backward=backward))
        whole = put(dataset, part, {name: int(count[0]) for name, count in part.counts.items()} or None)
        note("import")
    assert whole
    stored = [Stored(video.key, "long", 0, 0, "train")]
    for kind in ("flow", "frames"):
        source = Source(stored, Reader(dataset, kind, 10, True), Augmentation(56, False, 0.1), "epochs", 0)
        for number in range(60):
            source.batch(number * 4, 4)
            note("epoch")
print(json.dumps(most))
"""


def most_held(folder: Path, frames: int) -> dict[str, int]:
    """The most memory, in bytes, while a video of so many frames is imported, and while it is sampled."""
    whole = np.random.default_rng(0).integers(0, 255, (HEIGHT, WIDTH + 64, 3), dtype=np.uint8)
    path = folder / f"{frames}.avi"
    images = [whole[:, number % 64 :][:, :WIDTH] for number in range(frames)]
    codec.write(path, images, codec="mpeg4", rate=Fraction(25), options=FINE)
    words = [sys.executable, "-c", PROGRAM, str(path), str(folder / f"dataset {frames}")]
    said = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert said.returncode == 0, said.stderr
    return {what: 1024 * held for what, held in json.loads(said.stdout).items()}


@pytest.mark.real_time
def test_a_video_twenty_times_as_long_takes_no_more_memory(tmp_path):
    short, long = most_held(tmp_path, SHORT), most_held(tmp_path, LONG)
    for what in short:
        assert long[what] - short[what] < HELD / 5, (what, short, long, HELD)
