"""The sound that a message is, as 16-bit PCM."""

from __future__ import annotations

import numpy as np

from flow.inspect.samples import Sample
from flow.message import Array

RATES = ("rate", "sample_rate", "sampling_rate")
"""Scalar fields that say that a message's row of numbers is sound, in Hz."""


def rate_of(sample: Sample) -> int | None:
    """Samples a second of the sound that a message is, if it is one."""
    return next((value for key in RATES if isinstance(value := sample.fields.get(key), int) and value > 0), None)


def may_be_sound(values: Array) -> bool:
    """Whether an array of a message that has a rate is sound: a row of signed numbers, or a row a channel."""
    return values.size > 0 and values.ndim in (1, 2) and values.dtype.kind in "fi"


def pcm(values: Array) -> Array:
    """int16 (time, channels).

    Args:
      values: (time,), or (time, channels) or (channels, time), where the shorter dimension is the channels. Floats are
        amplitudes in [-1, 1], clipped there; integers have their dtype's full scale.
    """
    sound = values if values.ndim == 2 else values[:, None]
    if sound.shape[0] < sound.shape[1]:
        sound = sound.T
    if sound.dtype.kind == "f":
        # What is no number is silence. A half float would round full scale up, and out of 16 bits.
        sound = np.clip(np.nan_to_num(sound, posinf=1, neginf=-1), -1, 1).astype(np.float32) * 32767
    else:
        shift = 8 * sound.dtype.itemsize - 16
        sound = sound >> shift if shift >= 0 else sound.astype(np.int16) << -shift
    return np.ascontiguousarray(sound.astype("<i2"))
