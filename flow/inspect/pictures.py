"""Arrays that are pictures, as pictures: which are, and how they become one grid of grey or colour.

(…, H, W)     grey          (…, H, W, 3) or (…, 3, H, W)    colour
(…, H, W, 4)  a stack of four grey frames, side by side, as games are shown to a network
"""

from __future__ import annotations

import math

import numpy as np

from flow.inspect.samples import SampledArray
from flow.message import Array

SIDE_LEAST, SIDE_MOST = 8, 4096
TILES_MOST = 16


def sampled_picture(sampled: SampledArray) -> Array | None:
    """A sample's array as one picture. What was cut to three of many grey pictures is none in colour."""
    values, whole = sampled.values, sampled.shape
    if values.ndim >= 3 and values.shape[-3] == 3 and whole[-3] != 3:
        values = values.reshape(-1, 1, *values.shape[-2:])
    return picture_of(values)


def picture_of(values: Array) -> Array | None:
    """An array as one picture: uint8 (height, width) or (height, width, 3); None if it is none.

    Of many, the first 16 are tiled.
    """
    if values.dtype not in (np.uint8, np.float32, np.float16, np.float64) or values.ndim < 2 or not values.size:
        return None
    tiles = _tiles(values)
    if tiles is None:
        return None
    tiles = tiles[:TILES_MOST]
    if tiles.dtype != np.uint8:
        tiles = _as_bytes(tiles)
    count, height, width = tiles.shape[:3]
    columns = min(count, max(1, math.isqrt(count - 1) + 1))
    rows = -(-count // columns)
    grid = np.zeros((rows * columns, *tiles.shape[1:]), np.uint8)
    grid[:count] = tiles
    grid = grid.reshape(rows, columns, *tiles.shape[1:]).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, *tiles.shape[3:])


def _tiles(values: Array) -> Array | None:
    """Pictures along the first dimension: (N, H, W) or (N, H, W, 3)."""
    shape = values.shape
    if values.ndim >= 3 and shape[-1] == 3 and _are_sides(shape[-3:-1]):
        return values.reshape(-1, *shape[-3:])
    if values.ndim >= 3 and shape[-3] == 3 and _are_sides(shape[-2:]):
        return np.moveaxis(values.reshape(-1, *shape[-3:]), 1, -1)
    if values.ndim >= 3 and shape[-1] in (1, 2, 4) and _are_sides(shape[-3:-1]):
        return np.moveaxis(values.reshape(-1, *shape[-3:]), -1, 1).reshape(-1, *shape[-3:-1])
    if _are_sides(shape[-2:]):
        return values.reshape(-1, *shape[-2:])
    return None


def _are_sides(sides: tuple[int, ...]) -> bool:
    return all(SIDE_LEAST <= side <= SIDE_MOST for side in sides) and max(sides) <= 8 * min(sides)


def _as_bytes(tiles: Array) -> Array:
    """Floats from 0 to 1 as they are, others stretched from their least to their most."""
    finite = np.nan_to_num(tiles.astype(np.float32), nan=0.0, posinf=0.0, neginf=0.0)
    low, high = float(finite.min()), float(finite.max())
    if low >= 0.0 and high <= 1.0:
        low, high = 0.0, 1.0
    found: Array = np.clip((finite - low) / max(high - low, 1e-12) * 255, 0, 255).astype(np.uint8)
    return found
