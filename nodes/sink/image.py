"""Write images into PNG files.

pictures ──► image(field = "frames") ──► 000000.png, 000001.png, …     in the node's place in the run directory
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np

from flow import Array, Context, In, Message, Promises, Range, Saved, compute, node
from flow.errors import MessageError, SettingError
from flow.setting import Beside
from nodes.fields import require_field
from nodes.sink.files import place_of, write_whole

M = TypeVar("M", bound=Message)
CHANNELS = {1: "L", 3: "RGB", 4: "RGBA"}


def _checked(settings: Mapping[str, Any], known: Mapping[str, type[Message]]) -> Mapping[str, type[Message]]:
    if "M" in known:
        field = require_field(known["M"], settings["field"], "field")
        if field.kind != "array" or not {"uint8", "float32", "float64"} & set(field.dtypes):
            raise SettingError(
                f"field = {field.name!r} is {field}, no image; expected uint8 (height, width) or (height, width, 3), "
                "or floats from 0 to 1"
            )
    return {}


@dataclass
class Progress:
    """How many messages came, and how many files were written."""

    came: int = 0
    written: int = 0


@node(needs=("PIL",), binds=_checked, promises=Promises(given="nodes.given.general:pictures"))
async def image(
    items: In[M],
    context: Context,
    saved: Saved,
    *,
    field: str = "image",
    folder: Annotated[str, Beside()] = "",
    every: Annotated[int, Range(1)] = 1,
    most: Annotated[int | None, Range(1)] = None,
) -> None:
    """Write an image of each message to a file of its own, numbered from 0; counts `files`.

    An image is (height, width) or (height, width, channels) with 1, 3 or 4 channels, of bytes or of floats from 0 to
    1; of several side by side in further first dimensions a sheet is made, as square as they allow.

    Args:
      field: the field that holds it.
      folder: where, relative to the graph; in the node's place in the run directory if it is not given.
      every: write one of so many messages, the first of them.
      most: keep so many files; the newest take the numbers of the oldest.
    """
    progress = saved.keep("progress", Progress())
    place = place_of(context, folder)
    async for item in items:
        if progress.came % every == 0:
            number = progress.written % most if most else progress.written
            await compute(write_png, place / f"{number:06}.png", pixels_of(getattr(item, field)))
            context.metrics.count("files")
            progress.written += 1
        progress.came += 1


def pixels_of(values: Array) -> Array:
    """Bytes of an image, (height, width) or (height, width, channels).

    Args:
      values: uint8, or floats from 0 to 1; (…, height, width) or (…, height, width, channels).

    Raises:
      MessageError: they are no image.
    """
    values = np.asarray(values)
    if values.dtype.kind == "f":
        values = np.round(np.clip(np.nan_to_num(values), 0, 1) * 255).astype(np.uint8)
    if values.dtype != np.uint8 or values.ndim < 2 or not values.size:
        raise MessageError(
            f"expected an image of uint8 or floats, (height, width, channels), found {values.dtype} {values.shape}"
        )
    coloured = values.ndim > 2 and values.shape[-1] in CHANNELS
    inner = 3 if coloured else 2
    if values.ndim == inner:
        return values[..., 0] if coloured and values.shape[-1] == 1 else values
    many = values.reshape(-1, *values.shape[-inner:])
    return pixels_of(sheet(many))


def sheet(images: Array) -> Array:
    """Several images as one: rows of them from left to right, black where there are none left.

    Args:
      images: (count, height, width, …).
    """
    count, height, width, *rest = images.shape
    columns = int(np.ceil(np.sqrt(count)))
    rows = -(-count // columns)
    full = np.zeros((rows * columns, height, width, *rest), images.dtype)
    full[:count] = images
    grid = full.reshape(rows, columns, height, width, *rest).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, *rest)


def write_png(path: Path, pixels: Array) -> None:
    """Write a PNG file, whole or not at all.

    Args:
      pixels: (height, width) or (height, width, 3 or 4), uint8.

    Raises:
      StorageError: the disk is full or fails.
    """
    from PIL import Image

    picture = Image.fromarray(np.ascontiguousarray(pixels))
    write_whole(path, lambda file: picture.save(file, format="PNG"))
