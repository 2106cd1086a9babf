"""Short clips of handwritten digits that move over a photograph that moves too: what neither a frame nor motion tells.

    class = (which digit, how it moves)      a frame tells the digit, flow tells the motion, both together the class

Made of what scikit-learn has in its package: pictures of 8x8 pixels of the digits 0 to 4, and two photographs. Training
clips use other pictures of a digit and the other half of a photograph than test clips. The camera follows the sprite as
it pans; and it trembles and sways as a hand does, in one of the very motions that a sprite may have, which moves sprite
and background alike and says nothing of the class. So what is told is how the sprite moves against its background.

The photographs are grained. They are of a sky and of blurred leaves over half of the frame, where no method can tell
flow: without grain the mean of a field was off from the camera's motion by more than half of it. The digits are cut
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
PHOTOGRAPHS = ("china.jpg", "flower.jpg")
SPLIT = 1257  # pictures of scikit-learn's digits from here on are for tests
NOISE, GRAIN, GRAIN_SIZE = 3.0, 60.0, 2.5  # deviations in levels of 255; pixels of the photograph
DARKENED = 0.35  # of the background, beside the sprite
PAN, SHAKE = 1.0, 0.3  # deviations: pixels a frame, pixels; of a clip 64 pixels high
SWAY = 0.6  # of the camera, as much of a sprite's


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
    photograph = _photographs()[scene.test][rng.integers(2)]
    followed, swayed = _camera(scene.frames, rng)
    # The camera follows the sprite where it pans; what it sways moves the sprite in the frame too.
    middle = (np.array([scene.width, scene.height]) - size) / 2
    places = middle + unit * (path(scene.motion, scene.frames, rng) - swayed)
    room = np.array([photograph.shape[1] - scene.width, photograph.shape[0] - scene.height])
    corners = rng.uniform(0.1, 0.9, 2) * room + unit * (followed + swayed)
    images = np.empty((scene.frames, scene.height, scene.width, 3), np.uint8)
    for frame, place, corner in zip(images, places, corners, strict=True):
        at = np.array([[1, 0, -corner[0]], [0, 1, -corner[1]]], np.float32)
        seen = cv2.warpAffine(photograph, at, (scene.width, scene.height), borderMode=cv2.BORDER_REFLECT)
        at = np.array([[1, 0, place[0]], [0, 1, place[1]]], np.float32)
        ink = cv2.warpAffine(sprite, at, (scene.width, scene.height))[..., None]
        paint = cv2.warpAffine(texture, at, (scene.width, scene.height), borderMode=cv2.BORDER_REFLECT)
        seen = DARKENED * seen * (1 - ink) + paint * ink + np.asarray(rng.normal(0, NOISE, seen.shape), np.float32)
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


def _camera(frames: int, rng: np.random.Generator) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """How the camera pans, and how it sways and trembles: (frames, 2) each as (x, y), as `path` has them."""
    pan = rng.normal(0, PAN, 2) * np.arange(frames)[:, None]
    sway = SWAY * path(int(rng.integers(len(MOTIONS))), frames, rng)
    return pan, sway - sway.mean(0) + rng.normal(0, SHAKE, (frames, 2))


def _texture(scene: Scene, size: int, rng: np.random.Generator) -> Any:
    """A piece of a photograph that the digit is cut from, (size, size, 3), brighter than any background."""
    photograph = _photographs()[scene.test][rng.integers(2)]
    top, left = (int(rng.integers(most - size)) for most in photograph.shape[:2])
    return 140 + 0.45 * photograph[top : top + size, left : left + size]


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

    found = [_grained(load_sample_image(name).astype(np.float32), seed) for seed, name in enumerate(PHOTOGRAPHS)]
    return [image[:, : image.shape[1] // 2] for image in found], [image[:, image.shape[1] // 2 :] for image in found]


def _grained(photograph: NDArray[np.float32], seed: int) -> NDArray[np.float32]:
    import cv2

    noise = np.random.default_rng(seed).normal(size=photograph.shape[:2]).astype(np.float32)
    grain = cv2.GaussianBlur(noise, (0, 0), GRAIN_SIZE)
    return photograph + GRAIN * np.asarray(grain / grain.std(), np.float32)[..., None]
