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
from flow.inspect.sound import may_be_sound, pcm, rate_of
from flow.message import Array


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
        if rate is not None and may_be_sound(value.values) and picture is None:
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
    sound = pcm(values)
    target = path.with_name(f"{path.name}.wav")
    with wave.open(str(target), "wb") as file:
        file.setnchannels(sound.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(sound.tobytes())
    return target
