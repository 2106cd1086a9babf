"""What the nodes of video recognition are given: real files, a real dataset, small networks."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import strategies as st

from flow.testing import Given
from nodes.messages import Weights
from nodes.recognition import Scores, Stored, Volumes
from nodes.video import codec
from nodes.video.flow import columns_of, fields, packed
from nodes.video.generate import VERSION, Planned
from nodes.video.messages import Flows, Frames, Listed, Next, Pieces, Video
from nodes.video.queue import NONE_LEFT
from storage.dataset import Dataset

_SEEDS = st.integers(0, 1 << 16)
HEIGHT, WIDTH = 16, 20
CHANNELS, SIZE, CLASSES = 2, 16, [3, 2]
# What is made of the files here; frames alone of the first, so that a node meets a video without flow too.
RECIPE = {"side": 16, "flow": "farneback", "both_ways": True, "quality": 90}


def _place(name: str) -> Path:
    return Path(tempfile.mkdtemp(prefix="flow-given-")) / name


def moving(frames: int, seed: int) -> Any:
    """Frames (frames, HEIGHT, WIDTH, 3) of a texture that moves by a pixel a frame."""
    whole = np.random.default_rng(seed).integers(0, 255, (HEIGHT, WIDTH + frames, 3), dtype=np.uint8)
    return np.stack([whole[:, number : number + WIDTH] for number in range(frames)])


@functools.cache
def _files() -> list[str]:
    """Three videos of 5, 6 and 7 frames, and a file that is none."""
    folder = _place("clips")
    folder.mkdir()
    paths = [folder / name for name in ("a.avi", "b.mp4", "c.avi", "d.mp4")]
    for number, path in enumerate(paths[:3]):
        images = list(moving(5 + number, number))
        codec.write(path, images, codec="mpeg4", rate=Fraction(25), options={"qmin": "2", "qmax": "3"})
    paths[3].write_bytes(b"no video")
    return [str(path) for path in paths]


def listed(number: int) -> Listed:
    return Listed(_files()[number % 4], f"class/{number}", number % 2, 0, ("train", "test")[number % 2])


def video(number: int) -> Video:
    return Video(**vars(listed(number)), key=f"{number + 1:032x}", **RECIPE)  # type: ignore[arg-type]


def _chosen(make: Any, most: int = 3) -> st.SearchStrategy[list[Any]]:
    return st.lists(st.integers(0, most), max_size=4, unique=True).map(lambda numbers: [make(each) for each in numbers])


@functools.cache
def _made() -> str:
    place = _place("made") / f"version_{VERSION}_of_2_frames"
    for pair in range(20):
        Planned(*divmod(pair, 4), 0, "train").write(place, 2)
    return str(place.parent)


def generated() -> Given:
    return Given({"folder": _made(), "train": st.integers(0, 1), "test": 0, "frames": 2})


def stills() -> Given:
    return Given({"batch": st.integers(1, 2), "updates": st.integers(1, 3), "crop": 56})


@functools.cache
def _empty() -> str:
    return str(_place("dataset"))


def absent() -> Given:
    return Given({**RECIPE, "path": _empty()}, streams={"files": _chosen(listed)})


def queued() -> Given:
    def asked(count: int) -> list[Next]:
        return [Next(np.array([0]), np.array([0]), np.array([number])) for number in range(count)]

    return Given(streams={"files": _chosen(video), "work": st.integers(0, 5).map(asked)})


def decoding() -> Given:
    def answers(settings: Mapping[str, Any]) -> Any:
        def answer(asked: Next) -> Video:
            number = int(asked.number[0])
            return video(number) if number < 4 else NONE_LEFT

        return answer

    return Given({"chunk": st.integers(1, 8), "threads": 1}, answers={"work": answers})


def frames_of(count: int, seed: int, method: str = "farneback") -> Frames:
    """A whole video in one message."""
    key = f"{(count << 32) + seed + 1:032x}"
    return Frames(
        key, f"video {seed}", seed % 2, 0, "train", method, True, 90, moving(count, seed), np.arange(count) / 25, 0,
        count, "",
    )  # fmt: skip


def flows_of(count: int, seed: int) -> Flows:
    frames = frames_of(count, seed)
    forward, backward = fields(frames.frames, "farneback", True)
    said = {name: value for name, value in vars(frames).items() if name not in ("flow", "both_ways")}
    return Flows(**said, forward=forward, backward=backward)


def pieces_of(count: int, seed: int) -> Pieces:
    return packed(flows_of(count, seed))


def flowing() -> Given:
    return Given(messages={"frames": st.builds(frames_of, st.integers(1, 4), _SEEDS)})


def packing() -> Given:
    return Given(messages={"flows": st.builds(flows_of, st.integers(1, 4), _SEEDS)})


@functools.cache
def _filled() -> str:
    return str(_place("stored"))


def storing() -> Given:
    return Given({"path": _filled()}, {"pieces": st.builds(pieces_of, st.integers(2, 4), st.integers(0, 9))})


VIDEOS = 6


@functools.cache
def _dataset() -> str:
    path = _place("read")
    with Dataset(path, create=True) as dataset:
        for number in range(VIDEOS):
            piece = pieces_of(4 + number % 3, number)
            dataset.put(piece.key, columns_of(piece))
            counts = {name: int(count[0]) for name, count in piece.counts.items()}
            assert dataset.finish(piece.key, counts, {"name": piece.name})
    return str(path)


def stored(number: int) -> Stored:
    piece = frames_of(4 + number % 3, number)
    return Stored(piece.key, piece.name, number % 2, 0, ("train", "test")[number // 2 % 2])


def _stored() -> st.SearchStrategy[list[Any]]:
    return st.lists(st.integers(0, VIDEOS - 1), max_size=4, unique=True).map(lambda found: [stored(n) for n in found])


_READ = {"length": 2, "kind": st.sampled_from(["frame", "frames", "flow", "trajectories", "both_ways"]), "crop": 12}


def sampled() -> Given:
    settings = {
        **_READ, "path": _dataset(), "part": st.sampled_from(["train", "test"]), "batch": st.integers(1, 3),
        "updates": st.integers(1, 5), "seed": None,
    }  # fmt: skip
    stream = st.permutations(range(VIDEOS)).map(lambda found: [stored(number) for number in found])
    return Given(settings, streams={"stored": stream})


def viewed() -> Given:
    settings = {**_READ, "path": _dataset(), "task": 0, "frames": st.integers(1, 3), "views_max": st.integers(1, 30)}
    return Given(settings, streams={"stored": _stored()})


def volumes(rows: int, seed: int) -> Volumes:
    """Volumes of videos of their own, a view each."""
    rng = np.random.default_rng(seed)
    task = rng.integers(0, 2, rows)
    return Volumes(
        rng.integers(0, 255, (rows, CHANNELS, SIZE, SIZE), dtype=np.uint8),
        np.full((rows, CHANNELS), 1 / 64, np.float32),
        np.full((rows, CHANNELS), -2, np.float32),
        rng.integers(0, 2, rows),
        task,
        np.arange(rows) + 8 * seed,
        rng.random(rows) < 0.5,
        np.ones(rows, np.int64),
    )


_NETWORK = {
    "network": "small", "channels": CHANNELS, "size": SIZE, "classes": st.just(CLASSES), "device": "cpu",
}  # fmt: skip


def recogniser() -> Given:
    settings = {**_NETWORK, "pretrained": "", "falls_at": st.just([2]), "learning_rate": 0.01, "dropout": 0.3}
    return Given(settings, {"batches": st.builds(volumes, st.integers(0, 3), _SEEDS)})


def scorer() -> Given:
    def weights(settings: Mapping[str, Any]) -> st.SearchStrategy[Weights]:
        def of_seed(seed: int) -> Weights:
            import torch

            from nodes.nets.two_stream import TwoStreamNet
            from nodes.nets.weights import weights_of

            torch.manual_seed(seed)
            return Weights(weights_of(TwoStreamNet("small", CHANNELS, SIZE, CLASSES, 0.0, False)))

        return st.integers(0, 3).map(of_seed)

    return Given(_NETWORK, {"views": st.builds(volumes, st.integers(1, 3), _SEEDS), "weights": weights})


def scores_of(number: int) -> Scores:
    rng = np.random.default_rng(number)
    return Scores(number, number % 3, 0, number % 2 == 0, rng.dirichlet(np.ones(3)).astype(np.float32))


def fused() -> Given:
    said = st.lists(st.integers(0, 12), max_size=6, unique=True).map(lambda found: [scores_of(n) for n in found])
    return Given(streams={"first": said, "second": said})


def written_weights() -> Given:
    tensors = st.integers(0, 9).map(lambda n: Weights({"weight": np.full((2, 3), n, np.float32)}))
    return Given({"file": ""}, {"weights": tensors})


def listings() -> Given:
    settings = {
        "path": str(Path(_files()[0]).parents[1]),
        "layout": "folders",
        "test_share": st.sampled_from([0.0, 0.4]),
    }
    return Given(settings)
