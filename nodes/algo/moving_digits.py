"""Short clips of handwritten digits that move over a photograph that moves too: what neither a frame nor motion tells.

    class = (which digit, how it moves)      a frame tells the digit, flow tells the motion, both together the class

Made of what scikit-learn has in its package: pictures of 8x8 pixels of the digits 0 to 4, and two photographs. Training
clips use other pictures of a digit and the other half of a photograph than test clips. The background pans at a speed
of its own and shakes, as a hand-held camera does, so that the sprite's motion is not the frame's. The digits are cut
from photographs too: a plain bright sprite is so easily found in every frame that a network needs no flow to follow it.
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Images = NDArray[np.uint8]
MOTIONS = ("left and right", "up and down", "clockwise", "anticlockwise")
DIGITS = 5
SPLIT = 1257  # pictures of scikit-learn's digits from here on are for tests
NOISE, PAN, SHAKE = 3.0, 3.0, 0.5  # levels of 255; pixels a frame of a clip 64 pixels high


class Scene(NamedTuple):
    """What one clip shows. digit: from 0. motion: index in MOTIONS. test: made of what is held out."""

    digit: int
    motion: int
    test: bool
    height: int
    width: int
    frames: int


def render(scene: Scene, rng: np.random.Generator) -> Images:
    """The frames of a clip, (frames, height, width, 3), RGB."""
    import cv2

    unit = min(scene.height, scene.width) / 64
    picture = _picture(scene, rng)
    size = round(int(rng.integers(24, 32)) * unit)
    sprite = cv2.resize(picture, (size, size), interpolation=cv2.INTER_CUBIC).clip(0, 1)[..., None]
    texture = _texture(scene, size, rng)
    places = path(scene.motion, scene.frames, rng) * unit + (np.array([scene.width, scene.height]) - size) / 2
    photograph = _photographs()[scene.test][rng.integers(2)]
    corners = _camera(photograph.shape[:2], scene, rng, unit)
    images = np.empty((scene.frames, scene.height, scene.width, 3), np.uint8)
    for frame, place, corner in zip(images, places, corners, strict=True):
        at = np.array([[1, 0, -corner[0]], [0, 1, -corner[1]]], np.float32)
        seen = cv2.warpAffine(photograph, at, (scene.width, scene.height), borderMode=cv2.BORDER_REFLECT)
        at = np.array([[1, 0, place[0]], [0, 1, place[1]]], np.float32)
        ink = cv2.warpAffine(sprite, at, (scene.width, scene.height))[..., None]
        paint = cv2.warpAffine(texture, at, (scene.width, scene.height), borderMode=cv2.BORDER_REFLECT)
        seen = 0.5 * seen * (1 - ink) + paint * ink + np.asarray(rng.normal(0, NOISE, seen.shape), np.float32)
        frame[:] = seen.clip(0, 255)
    return images


def still(digit: int, height: int, width: int, rng: np.random.Generator) -> Images:
    """One frame of any of the ten digits, (height, width, 3), of what is not held out: to learn appearance from."""
    images = render(Scene(digit, int(rng.integers(len(MOTIONS))), False, height, width, 1), rng)
    return np.asarray(images[0])


def path(motion: int, frames: int, rng: np.random.Generator) -> NDArray[np.float64]:
    """Where the sprite is at each frame, (frames, 2) as (x, y) in pixels from the middle of a clip 64 pixels high.

    Oscillates or circles with a period of 9 to 14 frames and an amplitude of 5 to 8 pixels, from any phase, about a
    point within 9 pixels of the middle. y points down, so clockwise is from x to y.
    """
    phase = rng.uniform(0, 2 * np.pi) + 2 * np.pi * np.arange(frames) / rng.uniform(9, 14)
    across, down = np.cos(phase), np.sin(phase)
    still_ = np.zeros(frames)
    x, y = [(across, still_), (still_, across), (across, down), (across, -down)][motion]
    return np.asarray(rng.uniform(5, 8) * np.stack([x, y], 1) + rng.uniform(-9, 9, 2))


def _camera(photograph: Any, scene: Scene, rng: np.random.Generator, unit: float) -> NDArray[np.float64]:
    """Where the upper left corner of each frame is in the photograph, (frames, 2) as (x, y)."""
    room = np.array([photograph[1] - scene.width, photograph[0] - scene.height])
    pan = rng.normal(0, PAN * unit, 2) * np.arange(scene.frames)[:, None]
    shake = rng.normal(0, SHAKE * unit, (scene.frames, 2))
    return np.asarray(rng.uniform(0.1, 0.9, 2) * room + pan + shake)


def _texture(scene: Scene, size: int, rng: np.random.Generator) -> Any:
    """A piece of a photograph that the digit is cut from, (size, size, 3), brighter than any background."""
    photograph = _photographs()[scene.test][rng.integers(2)]
    top, left = (int(rng.integers(most - size)) for most in photograph.shape[:2])
    return 80 + 0.7 * photograph[top : top + size, left : left + size]


def _picture(scene: Scene, rng: np.random.Generator) -> NDArray[np.float32]:
    images, labels = _digits()
    kept = slice(SPLIT, None) if scene.test else slice(None, SPLIT)
    return np.asarray(rng.choice(images[kept][labels[kept] == scene.digit]))


@functools.cache
def _digits() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    from sklearn.datasets import load_digits

    found = load_digits()
    return (found.images / 16).astype(np.float32), found.target


@functools.cache
def _photographs() -> tuple[list[NDArray[np.float32]], list[NDArray[np.float32]]]:
    """Left halves, for training, and right halves."""
    from sklearn.datasets import load_sample_image

    found = [load_sample_image(name).astype(np.float32) for name in ("china.jpg", "flower.jpg")]
    return [image[:, : image.shape[1] // 2] for image in found], [image[:, image.shape[1] // 2 :] for image in found]
