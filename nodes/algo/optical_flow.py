"""Dense optical flow, how it is stored, and how the fields of several frames become one input of a network.

    flow (2, H, W): component 0 is x, 1 is y, in pixels; the pixel (v, u) of frame t is at (v + y, u + x) in frame t+1

Paper: Simonyan and Zisserman, Two-Stream Convolutional Networks, arXiv:1406.2199. Brox's method, which the paper used,
is in no package for CPUs; here are DIS (Kroeger et al., arXiv:1603.03590), TV-L1 (Zach et al., 2007) and Farnebäck's
(2003), all OpenCV's. For GPUs there is TV-L1 in torch (nodes.algo.tvl1).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

Flow = NDArray[np.float32]
METHODS = ("dis", "dis_fast", "tvl1", "farneback")
TORCH = "tvl1_torch"  # nodes.algo.tvl1, on a GPU where there is one


def grey(images: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """(N, H, W, 3) RGB as (N, H, W): what flow is computed from."""
    import cv2

    return np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in images])


def estimator(method: str) -> Callable[[NDArray[np.uint8], NDArray[np.uint8]], Flow]:
    """A function that gives the flow (2, H, W) from one grey image (H, W) to another; used by one thread at a time.

    Args:
      method: one of METHODS, or "none": no motion at all, where flow is not used.

    Raises:
      ValueError: none of these, or not in the OpenCV that is installed.
    """
    import cv2

    cv2.setNumThreads(1)  # a core for each node of flow; OpenCV's own threads would only contend
    if method == "none":
        return lambda first, second: np.zeros((2, *first.shape), np.float32)
    calculate = _made(method)
    return lambda first, second: _split(calculate(first, second, None))


def _made(method: str) -> Any:
    import cv2

    opencv: Any = cv2  # its stubs lack half of what it has
    if method == "dis":
        return opencv.DISOpticalFlow_create(opencv.DISOPTICAL_FLOW_PRESET_MEDIUM).calc
    if method == "dis_fast":
        return opencv.DISOpticalFlow_create(opencv.DISOPTICAL_FLOW_PRESET_ULTRAFAST).calc
    if method == "farneback":
        return functools.partial(
            opencv.calcOpticalFlowFarneback,
            pyr_scale=0.5, levels=3, winsize=11, iterations=3, poly_n=5, poly_sigma=1.1, flags=0,
        )  # fmt: skip
    if method == "tvl1":
        if not hasattr(opencv, "optflow"):
            raise ValueError("TV-L1 is not in this OpenCV; pip install opencv-contrib-python-headless")
        return opencv.optflow.DualTVL1OpticalFlow_create().calc
    raise ValueError(f"{method!r} is no method of optical flow; there are {', '.join((*METHODS, TORCH))} and none")


def _split(flow: NDArray[np.float32]) -> Flow:
    return np.ascontiguousarray(flow.transpose(2, 0, 1))


class Quantised(NamedTuple):
    """A field in bytes: `low + byte * (high - low) / 255` is its value. mean: of the field, by component."""

    bytes: NDArray[np.uint8]
    """(2, H, W)."""
    low: NDArray[np.float32]
    """(2,), as the next two."""
    high: NDArray[np.float32]
    mean: NDArray[np.float32]


def quantise(flow: Flow) -> Quantised:
    """Map each component linearly to 0 … 255 by its own range, as the paper stores it; half a step is lost."""
    low, high = flow.min((1, 2)), flow.max((1, 2))
    span = np.maximum(high - low, np.float32(1e-6))
    scaled = (flow - low[:, None, None]) * (255 / span)[:, None, None]
    return Quantised(np.rint(scaled).clip(0, 255).astype(np.uint8), low, low + span, flow.mean((1, 2)))


def restore(stored: Quantised) -> Flow:
    """The field in pixels."""
    step = (stored.high - stored.low) / 255
    return np.asarray(stored.low[:, None, None] + stored.bytes * step[:, None, None], np.float32)


def flow_stack(fields: Sequence[Flow]) -> Flow:
    """Flow stacking (eq. 1): (2L, H, W), channel 2k the x and 2k+1 the y of field k, each at its own pixel."""
    return np.concatenate(fields)


def trajectory_stack(fields: Sequence[Flow]) -> Flow:
    """Trajectory stacking (eq. 2): channels 2k and 2k+1 are field k where the pixel of the first frame has moved to.

    The paper does not say how a place between pixels is read, or one outside: here bilinearly, and at the border.
    """
    import cv2

    _, height, width = fields[0].shape
    v, u = np.mgrid[:height, :width].astype(np.float32)
    stacked = []
    for field in fields:
        at_u, at_v = u.clip(0, width - 1), v.clip(0, height - 1)
        moved = [cv2.remap(part, at_u, at_v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for part in field]
        stacked += moved
        u, v = u + moved[0], v + moved[1]
    return np.stack(stacked)
