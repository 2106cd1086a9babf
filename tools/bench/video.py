"""Video through a graph beside what it is made of: PyAV, OpenCV, and a bare loop over the dataset.

    python -m tools.bench.video                     some minutes
    python -m tools.bench.video --files 8 --rounds 1

Decoding: frames/s of one decoder node, and of a loop over PyAV that makes the same arrays of the same files.
Flow: pairs/s of one flow node at 240x320, and of the same OpenCV calls. Reading: samples/s of the node that samples
stored flow (10 fields of 64x64), of a loop that makes the same batches, and of a first epoch, which decodes, computes
flow and stores. Each pair is measured in turn, on one core each.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from flow.graph.build import Graph
from nodes.algo.moving_digits import Scene, render
from nodes.algo.optical_flow import estimator, grey
from nodes.recognition import Stored
from nodes.video import codec, flow
from nodes.video.sample import Source
from nodes.video.store import opened
from nodes.video.volume import Augmentation, Reader
from tools.bench.nodes_for_video import PIECE, SIDE
from tools.bench.table import Figures, interleaved, print_table

FRAMES, BATCH, CLIPS = 64, 64, 40
NODES = "tools.bench.nodes_for_video"


def main() -> None:
    """Measure in rounds, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m tools.bench.video", description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=40, help="of 64 frames of 240x320, H.264 and MPEG-4 [%(default)d]")
    parser.add_argument("--pieces", type=int, default=15, help="of 16 frames, for flow [%(default)d]")
    parser.add_argument("--batches", type=int, default=200, help="of 64 samples [%(default)d]")
    parser.add_argument("--rounds", type=int, default=3, help="[%(default)d]")
    options = parser.parse_args()
    figures = Figures()
    with tempfile.TemporaryDirectory(prefix="flow-bench-video-") as name:
        place = Path(name)
        folder = _written(place / "videos", options.files)
        images = place / "images.npy"
        np.save(images, np.stack(_images(PIECE, 0)))
        stored = _first_epoch(place, figures)
        cases = [
            partial(_bare_decoding, folder, figures),
            partial(_decoding, folder, place, figures),
            partial(_bare_flow, images, options.pieces, figures),
            partial(_flow, images, place, options.pieces, figures),
            partial(_bare_reading, place, stored, options.batches, figures),
            partial(_reading, place, options.batches, figures),
        ]
        interleaved(options.rounds, cases)
    for per in ("s", "CPU-s"):  # on cores that others use too, the second is what can be compared
        figures.relate("decoder node", f"frames/{per}", "bare PyAV", target=0.9)
        figures.relate("flow node, DIS", f"pairs/{per}", "bare OpenCV", target=0.9)
        figures.relate("sampling node, from LMDB", f"samples/{per}", "bare loop over LMDB", target=0.8)
        figures.relate("bare loop over LMDB", f"samples/{per}", "first epoch: decode, flow, store", target=10)
    print_table(figures, ["av", "opencv-contrib-python-headless", "numpy", "lmdb"])


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _note(figures: Figures, name: str, what: str, count: float, began: tuple[float, float]) -> None:
    wall, cpu = (now - then for now, then in zip(_now(), began, strict=True))
    _rates(figures, name, what, count, {"wall": wall, "cpu": cpu})


def _rates(figures: Figures, name: str, what: str, count: float, took: dict[str, float]) -> None:
    figures.add(name, f"{what}/s", count / took["wall"])
    figures.add(name, f"{what}/CPU-s", count / took["cpu"])


def _images(count: int, seed: int) -> list[Any]:
    return list(render(Scene(seed % 5, seed % 4, False, SIDE, 320, count), np.random.default_rng(seed)))


def _written(folder: Path, files: int) -> Path:
    folder.mkdir()
    images = _images(FRAMES, 1)
    for number in range(files):
        encoder, ending = (("libx264", ".mp4"), ("mpeg4", ".avi"))[number % 2]
        options = ({"preset": "veryfast"}, {"qmin": "3", "qmax": "8"})[number % 2]
        codec.write(folder / f"{number:03}{ending}", images, codec=encoder, rate=Fraction(25), options=options)
    return folder


def _bare_decoding(folder: Path, figures: Figures) -> None:
    import av

    paths = sorted(folder.iterdir())
    began, count = _now(), 0
    for path in paths:
        with av.open(str(path)) as container:
            container.streams.video[0].codec_context.thread_count = 1
            for frame in container.decode(video=0):
                frame.reformat(frame.width, frame.height, format="rgb24", interpolation="BILINEAR").to_ndarray()
                count += 1
    _note(figures, "bare PyAV", "frames", count, began)


def _timed(place: Path, count: int, build: Callable[[Graph, Any], None]) -> dict[str, float]:
    """What the clock at the end of a graph says."""
    graph, file = Graph("bench"), place / "clock.json"
    build(graph, graph.add("clock", f"{NODES}:clock", file=str(file), count=count))
    result = graph.run(directory=place / "runs")
    if result.outcome != "done":
        raise SystemExit(f"a run ended otherwise: {result.cause}")
    found: dict[str, float] = json.loads(file.read_text())
    return found


def _decoding(folder: Path, place: Path, figures: Figures) -> None:
    files = len(list(folder.iterdir()))

    def build(graph: Graph, clock: Any) -> None:
        source = graph.add("files", f"{NODES}:files", folder=str(folder))
        queue = graph.add("queue", "nodes.video.queue:queue")
        decoder = graph.add("decoder", "nodes.video.decode:decoder", chunk=PIECE)
        graph.connect(source.files, queue.files)
        graph.connect(decoder.work, queue.work)
        graph.connect(decoder.frames, clock["items"], credit=4)

    # A message has the last frame of the one before too, and the first of a file 17: four messages a file.
    found = _timed(place, files * -(-(FRAMES - 1) // PIECE), build)
    _rates(figures, "decoder node", "frames", found["n"] * FRAMES / 4, found)


def _bare_flow(images: Path, count: int, figures: Figures) -> None:
    frames, estimate = np.load(images), estimator("dis")
    began = _now()
    for _ in range(count):
        greys = grey(frames)
        np.stack([estimate(one, other) for one, other in zip(greys, greys[1:], strict=False)])  # noqa: RUF007
    _note(figures, "bare OpenCV", "pairs", count * (PIECE - 1), began)


def _flow(images: Path, place: Path, count: int, figures: Figures) -> None:
    def build(graph: Graph, clock: Any) -> None:
        source = graph.add("pieces", f"{NODES}:pieces", file=str(images), count=count)
        flow_node = graph.add("flow", "nodes.video.flow:flow")
        graph.connect(source.frames, flow_node.frames, credit=2)
        graph.connect(flow_node.flows, clock["items"], credit=2)

    found = _timed(place, count, build)
    _rates(figures, "flow node, DIS", "pairs", found["n"] * (PIECE - 1), found)


def _first_epoch(place: Path, figures: Figures) -> list[Stored]:
    """Decode, compute flow and store as one loop; what a first epoch costs, graph or not."""
    stored = []
    files = [place / f"small{number}.avi" for number in range(CLIPS)]
    for number, path in enumerate(files):
        scene = Scene(number % 5, number % 4, False, 64, 64, 12)
        images = list(render(scene, np.random.default_rng(number)))
        codec.write(path, images, codec="mpeg4", rate=Fraction(25), options={"qmin": "2", "qmax": "3"})
    began = _now()
    with opened(place / "dataset") as dataset:
        for number, path in enumerate(files):
            key = f"{number:032x}"
            found = np.stack([frame.image for frame in codec.frames(path, 64)])
            fields = flow.fields(found, "dis", False)[0]
            dataset.put(key, {"frames": (0, [flow.pack_frame(image, 90) for image in found])})
            dataset.put(key, {"flow": (0, [flow.pack_field(field, 90) for field in fields])})
            dataset.finish(key, {"frames": len(found), "flow": len(fields)}, {"name": path.name})
            stored.append(Stored(key, path.name, number % 4, 0, "train"))
        dataset.sync()
    _note(figures, "first epoch: decode, flow, store", "samples", CLIPS, began)
    return stored


def _bare_reading(place: Path, stored: list[Stored], batches: int, figures: Figures) -> None:
    with opened(place / "dataset") as dataset:
        source = Source(stored, Reader(dataset, "flow", 10, True), Augmentation(56, False, 0.0), "epochs", 0)
        began = _now()
        for number in range(batches):
            source.batch(number * BATCH, BATCH)
        _note(figures, "bare loop over LMDB", "samples", batches * BATCH, began)


def _reading(place: Path, batches: int, figures: Figures) -> None:
    def build(graph: Graph, clock: Any) -> None:
        source = graph.add("stored", f"{NODES}:stored", count=CLIPS)
        samples = graph.add(
            "samples", "nodes.video.sample:samples", path=str(place / "dataset"), kind="flow", crop=56, flip=False,
            batch=BATCH, updates=batches,
        )  # fmt: skip
        graph.connect(source.stored, samples.stored)
        graph.connect(samples.batches, clock["items"], credit=4)

    found = _timed(place, batches, build)
    _rates(figures, "sampling node, from LMDB", "samples", found["n"] * BATCH, found)


if __name__ == "__main__":
    main()
