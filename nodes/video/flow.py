"""Optical flow between the frames of videos, and frames and flow packed as they are stored.

    frames ──► flow ──► frames, fields (pairs, 2, H, W) ──► pack ──► JPEG images, each field with its range and mean

A message needs no other, so any number of replicas may share a stream.
"""

from __future__ import annotations

import struct
import threading
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from flow import Array, Context, In, Out, Promises, compute, node
from flow.errors import MissingError, SettingError
from nodes.algo import optical_flow
from nodes.algo.optical_flow import Quantised
from nodes.video.messages import Flows, Frames, Pieces

# Before the two JPEG images of a field: low, high and mean of x and of y, and the bytes of the first image.
FIELD_HEAD = struct.Struct("<6fI")


@node(needs=("cv2",), promises=Promises(given="nodes.given.video:flowing"))
async def flow(frames: In[Frames], flows: Out[Flows], context: Context, *, device: str = "auto") -> None:
    """Send frames on with the flow from each to the next, by the method that their video asks for; counts `pairs`.

    Args:
      device: "cpu", "cuda", "cuda:1" or "auto", a GPU if there is one: of the method "tvl1_torch", which computes all
        pairs of a message at once. The others are OpenCV's, and of the CPU.
    """
    context.metrics.count("pairs", 0)  # that there was nothing to do is told too
    async for piece in frames:
        forward, backward = await compute(fields, piece.frames, piece.flow, piece.both_ways, device)
        said = {name: value for name, value in vars(piece).items() if name not in ("flow", "both_ways")}
        await flows.send(Flows(**said, forward=forward, backward=backward))
        context.metrics.count("pairs", len(forward))


def fields(frames: Array, method: str, both_ways: bool, device: str = "cpu") -> tuple[Array, Array]:
    """Flow from each frame to the next, (N-1, 2, H, W), and from each to the one before, or none of these.

    Args:
      frames: (N, H, W, 3), uint8.

    Raises:
      SettingError: there is no such method here.
    """
    if len(frames) < 2:
        none = np.zeros((0, 2, *frames.shape[1:3]), np.float32)
        return none, none
    images = optical_flow.grey(frames)
    if method == optical_flow.TORCH:
        forward = _on_device(images[:-1], images[1:], device)
        return forward, _on_device(images[1:], images[:-1], device) if both_ways else forward[:0]
    estimate = _estimator(method)
    forward = np.stack([estimate(first, second) for first, second in pairwise(images)])
    if not both_ways:
        return forward, forward[:0]
    return forward, np.stack([estimate(second, first) for first, second in pairwise(images)])


def _on_device(first: Array, second: Array, device: str) -> Array:
    try:
        import torch

        from nodes.algo.tvl1 import tvl1
        from nodes.nets.device import choose_device
        from nodes.nets.weights import tensor_of
    except ModuleNotFoundError as error:
        raise MissingError(
            f"flow = {optical_flow.TORCH!r} needs the package '{error.name}': pip install \"flow-research[torch]\""
        ) from error
    chosen = choose_device(device)
    with torch.inference_mode():
        return np.asarray(tvl1(tensor_of(first, chosen), tensor_of(second, chosen)).cpu().numpy())


# OpenCV's estimators keep buffers from call to call: shared by two threads they give NaN.
_of_thread = threading.local()


def _estimator(method: str) -> Any:
    made: dict[str, Any] = _of_thread.__dict__
    try:
        return made[method] if method in made else made.setdefault(method, optical_flow.estimator(method))
    except ValueError as error:
        raise SettingError(f"flow = {method!r}: {error}") from error


@node(needs=("cv2",), promises=Promises(given="nodes.given.video:packing"))
async def pack(flows: In[Flows], pieces: Out[Pieces]) -> None:
    """Compress frames and fields into JPEG, each component of a field mapped to 0 … 255 by its own range.

    A field keeps its range and its mean beside it. "back" 0 is the field from frame 1 to frame 0.
    """
    async for piece in flows:
        await pieces.send(await compute(packed, piece))


def packed(piece: Flows) -> Pieces:
    """The columns of a piece."""
    skipped = 1 if piece.start else 0  # this frame came with the message before
    columns: dict[str, tuple[int, list[bytes]]] = {
        "frames": (piece.start + skipped, [pack_frame(image, piece.quality) for image in piece.frames[skipped:]]),
        "times": (piece.start + skipped, [struct.pack("<d", time) for time in piece.times[skipped:]]),
        "flow": (piece.start, [pack_field(field, piece.quality) for field in piece.forward]),
        "back": (piece.start, [pack_field(field, piece.quality) for field in piece.backward]),
    }
    counts: dict[str, Array] = {}
    if piece.total:
        pairs = piece.total - 1
        back = pairs if len(piece.backward) else 0
        whole = {"frames": piece.total, "times": piece.total, "flow": pairs, "back": back}
        counts = {name: np.array([count]) for name, count in whole.items()}
    return Pieces(
        piece.key, piece.name, piece.label, piece.task, piece.part,
        values={name: np.frombuffer(b"".join(values), np.uint8) for name, (_, values) in columns.items()},
        sizes={name: np.array([len(value) for value in values], np.int64) for name, (_, values) in columns.items()},
        first={name: np.array([first]) for name, (first, _) in columns.items()},
        counts=counts,
        problem=piece.problem,
    )  # fmt: skip


def pack_frame(image: Array, quality: int) -> bytes:
    """An RGB image (H, W, 3) as JPEG."""
    import cv2

    return _jpeg(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), quality)


def unpack_frame(value: Any) -> Array:
    """The image (H, W, 3), RGB."""
    import cv2

    return np.asarray(cv2.cvtColor(_image(value, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB))


def pack_field(field: Array, quality: int) -> bytes:
    """A flow field (2, H, W)."""
    stored = optical_flow.quantise(field)
    images = [_jpeg(component, quality) for component in stored.bytes]
    head = FIELD_HEAD.pack(*stored.low, *stored.high, *stored.mean, len(images[0]))
    return head + b"".join(images)


def unpack_field(value: Any) -> Quantised:
    """The field as it is stored; `nodes.algo.optical_flow.restore` gives it in pixels."""
    import cv2

    *numbers, first = FIELD_HEAD.unpack_from(value)
    cut = FIELD_HEAD.size + first
    images = [_image(part, cv2.IMREAD_GRAYSCALE) for part in (value[FIELD_HEAD.size : cut], value[cut:])]
    low, high, mean = np.array(numbers, np.float32).reshape(3, 2)
    return Quantised(np.stack(images), low, high, mean)


def _jpeg(image: Array, quality: int) -> bytes:
    import cv2

    return bytes(cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])[1])


def _image(value: Any, how: int) -> Array:
    import cv2

    return np.asarray(cv2.imdecode(np.frombuffer(value, np.uint8), how))


def columns_of(piece: Pieces) -> dict[str, tuple[int, Sequence[memoryview]]]:
    """A piece's values by column, with the number of the first."""
    found: dict[str, tuple[int, Sequence[memoryview]]] = {}
    for name, sizes in piece.sizes.items():
        ends = np.cumsum(sizes)
        whole: Any = memoryview(np.ascontiguousarray(piece.values[name]))  # type: ignore[arg-type]
        values = [whole[end - size : end] for end, size in zip(ends.tolist(), sizes.tolist(), strict=True)]
        if values:
            found[name] = (int(piece.first[name][0]), values)
    return found
