"""Small video files of every kind that the tests are about."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest

av = pytest.importorskip("av", reason='needs PyAV: pip install "flow-research[video]"')
cv2 = pytest.importorskip("cv2", reason='needs OpenCV: pip install "flow-research[video]"')

from nodes.video import codec  # noqa: E402

FAST = {"preset": "ultrafast", "crf": "18"}
FINE = {"qmin": "2", "qmax": "3"}
KINDS: dict[str, tuple[str, str, dict[str, str], dict[str, Any]]] = {
    "h264 mp4": ("libx264", ".mp4", FAST, {}),
    "h264 with b-frames": ("libx264", ".mp4", {"preset": "medium", "crf": "18", "g": "7", "bf": "3"}, {}),
    "h264 avi": ("libx264", ".avi", {**FAST, "bf": "0"}, {}),
    "h264 avi with b-frames": ("libx264", ".avi", {"preset": "medium", "bf": "2"}, {}),
    "h264 mkv": ("libx264", ".mkv", {"preset": "medium", "g": "6"}, {}),
    "mpeg4 avi": ("mpeg4", ".avi", {**FINE, "g": "5"}, {}),
    "mpeg4 mp4 with b-frames": ("mpeg4", ".mp4", {**FINE, "bf": "2"}, {}),
    "lossless": ("ffv1", ".avi", {}, {"pixels": "bgr0"}),
    "10 bit": ("libx264", ".mov", FAST, {"pixels": "yuv444p10le"}),
    "grey": ("libx264", ".mp4", FAST, {"pixels": "gray"}),
    "variable rate": ("libx264", ".mp4", {"preset": "medium"}, {"times": [n * (n + 1) // 2 for n in range(20)]}),
    "turned": ("libx264", ".mp4", FAST, {"rotation": 90}),
}


def texture(frames: int = 20, height: int = 48, width: int = 64, seed: int = 0) -> list[Any]:
    """Frames of a smooth texture that moves by (2, 1) pixels a frame."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 255, (12, 12, 3), dtype=np.uint8)
    whole = cv2.resize(small, (width + 2 * frames, height + frames), interpolation=cv2.INTER_CUBIC)
    return [whole[n : n + height, 2 * n : 2 * n + width] for n in range(frames)]


def written(folder: Path, kind: str, frames: int = 20) -> Path:
    """A file of that kind."""
    encoder, ending, options, more = KINDS[kind]
    path = folder / f"{kind.replace(' ', '_')}{ending}"
    codec.write(path, texture(frames), codec=encoder, rate=Fraction(25), options=options, **more)
    return path
