"""Samples as files: every array as NPY, pictures as PNG too, sound as WAV."""

from __future__ import annotations

import re
import wave
from pathlib import Path

import numpy as np

from flow.errors import MissingError
from flow.inspect.pictures import sampled_picture
from flow.inspect.samples import Sample, SampledArray
from flow.inspect.shown import NO_PILLOW, picture_of_text
from flow.message import Array

RATES = ("rate", "sample_rate", "sampling_rate")
"""Scalar fields that say that a message's row of floats is sound, in Hz."""


def save(sample: Sample, directory: Path, name: str) -> list[Path]:
    """Write a sample's arrays; returns the files.

    Args:
      name: how the files' names begin.

    Raises:
      MissingError: a picture is to be written and Pillow is not installed.
      OSError: the directory cannot be written to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    rate = rate_of(sample)
    written = []
    for field, value in sample.fields.items():
        if not isinstance(value, SampledArray):
            continue
        path = directory / f"{name}-{re.sub(r'[^A-Za-z0-9_.@=-]', '_', field)}"
        written.append(_save_array(path, value.values))
        picture = sampled_picture(value)
        if picture is not None:
            written.append(_save_picture(path, picture))
        if rate is not None and value.values.ndim in (1, 2) and value.values.dtype.kind in "fi" and picture is None:
            written.append(_save_sound(path, value.values, rate))
    return written


def save_texts(texts: list[str], directory: Path, name: str) -> list[Path]:
    """Write texts that a message shows, each as a PNG; returns the files.

    Raises:
      MissingError: Pillow is not installed.
      OSError: the directory cannot be written to.
    """
    directory.mkdir(parents=True, exist_ok=True)
    return [
        _save_picture(directory / f"{name}-shown{number}", picture_of_text(text)) for number, text in enumerate(texts)
    ]


def rate_of(sample: Sample) -> int | None:
    """Samples a second of the sound that a message is, if it is one."""
    return next((value for key in RATES if isinstance(value := sample.fields.get(key), int) and value > 0), None)


def _save_array(path: Path, values: Array) -> Path:
    target = path.with_name(f"{path.name}.npy")
    np.save(target, values)
    return target


def _save_picture(path: Path, picture: Array) -> Path:
    try:
        from PIL import Image  # only who saves pictures needs it
    except ImportError as error:
        raise MissingError(NO_PILLOW) from error
    target = path.with_name(f"{path.name}.png")
    Image.fromarray(picture).save(target)
    return target


def _save_sound(path: Path, values: Array, rate: int) -> Path:
    """16-bit PCM; of a (channels, time) or (time, channels) array the shorter dimension is the channels."""
    sound = values if values.ndim == 2 else values[:, None]
    if sound.shape[0] < sound.shape[1]:
        sound = sound.T
    if sound.dtype.kind == "f":
        sound = np.clip(np.nan_to_num(sound), -1, 1) * 32767
    target = path.with_name(f"{path.name}.wav")
    with wave.open(str(target), "wb") as file:
        file.setnchannels(sound.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(np.ascontiguousarray(sound.astype("<i2")).tobytes())
    return target
