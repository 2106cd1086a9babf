"""Write audio into WAV files, 16 bits a sample, which anything plays.

clips ──► wav ──► 000000.wav, 000001.wav, …      in the node's place in the run directory
"""

from __future__ import annotations

import wave
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import numpy as np
from jaxtyping import Float32

from flow import Array, Context, In, Message, Promises, Range, Saved, compute, node
from flow.errors import MessageError
from flow.setting import Beside
from nodes.sink.files import place_of, write_whole

LARGEST = 32767


class Audio(Message):
    """A piece of audio, of one channel (time,) or several (time, channels)."""

    samples: Float32[Array, "time ..."]
    """Amplitude in [-1, 1]."""
    rate: int
    """Samples per second, Hz."""


@dataclass
class Progress:
    """How many messages came, and how many files were written."""

    came: int = 0
    written: int = 0


@node(promises=Promises(given="nodes.given.general:sounds"))
async def wav(
    clips: In[Audio],
    context: Context,
    saved: Saved,
    *,
    folder: Annotated[str, Beside()] = "",
    every: Annotated[int, Range(1)] = 1,
    most: Annotated[int | None, Range(1)] = None,
) -> None:
    """Write each clip to a file of its own, numbered from 0; counts `files` and samples that were `clipped`.

    Amplitudes outside [-1, 1] are clipped. Files are written whole, so nobody reads half of one.

    Args:
      folder: where, relative to the graph; in the node's place in the run directory if it is not given.
      every: write one of so many clips, the first of them.
      most: keep so many files; the newest take the numbers of the oldest.
    """
    progress = saved.keep("progress", Progress())
    place = place_of(context, folder)
    async for clip in clips:
        if progress.came % every == 0:
            number = progress.written % most if most else progress.written
            pcm, clipped = pcm_of(clip.samples)
            await compute(write_wav, place / f"{number:06}.wav", pcm, clip.rate)
            context.metrics.count("files")
            context.metrics.count("clipped", clipped)
            progress.written += 1
        progress.came += 1


def pcm_of(samples: Array) -> tuple[Array, int]:
    """The samples as 16-bit integers, and how many were out of range.

    Args:
      samples: (time,) or (time, channels), amplitude in [-1, 1].

    Raises:
      MessageError: they have another rank, or one is no number.
    """
    if samples.ndim > 2 or (samples.ndim == 2 and not 1 <= samples.shape[1] <= 65535):
        raise MessageError(f"field samples: expected (time,) or (time, channels), found {samples.shape}")
    if not np.isfinite(samples).all():
        raise MessageError("field samples: one of them is not finite, and no sound")
    bounded = np.clip(samples, -1, 1)
    return np.round(bounded * LARGEST).astype("<i2"), int((np.abs(samples) > 1).sum())


def write_wav(path: Path, pcm: Array, rate: int) -> None:
    """Write a WAV file, whole or not at all.

    Args:
      pcm: (time,) or (time, channels), int16.
      rate: in Hz.

    Raises:
      StorageError: the disk is full or fails.
    """
    if not 1 <= rate < 1 << 31:
        raise MessageError(f"field rate: {rate} Hz is no sampling rate; expected 1 to {(1 << 31) - 1}")

    def content(file: Path) -> None:
        # Opened here: where the module cannot open a file it complains once more when it is collected.
        with file.open("wb") as opened, wave.open(opened, "wb") as out:
            out.setnchannels(pcm.shape[1] if pcm.ndim == 2 else 1)
            out.setsampwidth(2)
            out.setframerate(rate)
            out.writeframes(pcm.tobytes())

    write_whole(path, content)
