"""A message that passed a port as the page shows it: statistics, a histogram, a picture, a waveform with its sound."""

from __future__ import annotations

import base64
import math
from dataclasses import asdict
from typing import Any

import numpy as np

from flow.inspect.pictures import sampled_picture
from flow.inspect.samples import Sample, SampledArray
from flow.inspect.sound import may_be_sound, pcm, rate_of
from flow.inspect.statistics import statistics
from flow.message import Array

SIDE_MOST = 288
"""Pixels of a picture's longer side; larger ones are thinned."""
PICTURES_MOST, FIELDS_MOST = 4, 40
BINS, VALUES_MOST = 40, 1 << 15
SOUND_MOST, CHANNELS_MOST = 1 << 17, 2
"""Samples of a sound, and its channels."""
LARGEST = 1e300
TABLE_MOST = 28
"""Rows or columns of what is a table rather than a picture, unless it is square."""
LINE_MOST = 512
"""Values of a row that are drawn as a line."""


def shown(title: str, sample: Sample) -> dict[str, Any]:
    """A sample as JSON."""
    rate = rate_of(sample)
    fields: list[dict[str, Any]] = []
    pictures = 0
    for name, value in list(sample.fields.items())[:FIELDS_MOST]:
        if isinstance(value, SampledArray):
            field = _array(name, value, rate, pictures < PICTURES_MOST)
            pictures += "picture" in field
            fields.append(field)
        else:
            finite = not isinstance(value, float) or math.isfinite(value)
            fields.append({"name": name, "type": type(value).__name__, "value": value if finite else str(value)})
    return {
        "port": title,
        "type": sample.type,
        "what": sample.what,
        "number": sample.number,
        "time": sample.time,
        "skipped": sample.skipped,
        "dropped": sample.dropped,
        "fields": fields,
        "more": max(len(sample.fields) - FIELDS_MOST, 0),
    }


def _array(name: str, sampled: SampledArray, rate: int | None, may_show: bool) -> dict[str, Any]:
    values = sampled.values
    few = _thinned(values)
    found = {"name": name, "type": values.dtype.name, "shape": sampled.shape, "cut": sampled.is_cut}
    found["statistics"] = asdict(statistics(few))
    picture = sampled_picture(sampled) if may_show and _may_be_picture(sampled) else None
    if picture is not None:
        found["picture"] = _picture(picture)
    elif rate is not None and may_be_sound(values):
        found["sound"] = _sound(values, rate)
    elif values.ndim == 1 and 2 <= values.size <= LINE_MOST and values.dtype.kind in "fiu":
        line = np.clip(np.nan_to_num(values).astype(np.float64), -LARGEST, LARGEST)
        found["line"] = [float(f"{each:.4g}") for each in line]
    if values.size > 1 and not np.iscomplexobj(values):
        found["histogram"] = _histogram(few)
    return found


def _may_be_picture(sampled: SampledArray) -> bool:
    """Whether an array is no small table: steps by lanes, say, which says more as numbers."""
    shape = sampled.shape
    return len(shape) > 2 or (len(shape) == 2 and (shape[0] == shape[1] or min(shape) >= TABLE_MOST))


def _thinned(values: Array) -> Array:
    """At most so many values, evenly spread over the array."""
    flat = values.reshape(-1)
    return flat[:: -(-flat.size // VALUES_MOST)] if flat.size > VALUES_MOST else flat


def _picture(picture: Array) -> dict[str, Any]:
    step = -(-max(picture.shape[:2]) // SIDE_MOST)
    small = np.ascontiguousarray(picture[::step, ::step])
    return {
        "height": small.shape[0],
        "width": small.shape[1],
        "channels": 1 if small.ndim == 2 else 3,
        "bytes": base64.b64encode(small.tobytes()).decode(),
    }


def _sound(values: Array, rate: int) -> dict[str, Any]:
    """16-bit PCM, at most two channels in turn: enough to hear what passes."""
    sound = pcm(values)[:SOUND_MOST, :CHANNELS_MOST]
    told = base64.b64encode(sound.tobytes()).decode()
    return {"rate": rate, "channels": sound.shape[1], "bytes": told}


def _histogram(values: Array) -> dict[str, Any] | None:
    real = values[np.isfinite(values)].astype(np.float64)
    if not real.size:
        return None
    low, high = float(real.min()), float(real.max())
    if max(abs(low), abs(high)) > LARGEST or high - low <= 1e-12 * max(abs(low), abs(high)):
        return None
    counts, _ = np.histogram(real, BINS, (low, high))
    return {"low": float(f"{low:.4g}"), "high": float(f"{high:.4g}"), "counts": counts.tolist()}
