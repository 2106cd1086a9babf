"""Nodes that say a tone, for tests of what an inspector makes of sound."""

from __future__ import annotations

import numpy as np
import trio
from jaxtyping import Float32, Int16

from flow import Array, In, Message, Out, node


class Tone(Message):
    """A quarter of a second of sound. samples: amplitudes in [-1, 1]. rate: Hz."""

    samples: Float32[Array, "..."]
    rate: int


class Pcm(Message):
    """A quarter of a second of sound. samples: 16-bit. sample_rate: Hz."""

    samples: Int16[Array, "time"]
    sample_rate: int


def tone(hz: float, rate: int) -> Array:
    return np.float32(0.5) * np.sin(2 * np.pi * hz * np.arange(rate // 4) / rate).astype(np.float32)


@node
async def tones(sounds: Out[Tone], *, hz: float, second_hz: float = 0.0, rate: int) -> None:
    """Say a tone of one frequency, or of another in a second channel, again and again."""
    samples = tone(hz, rate)
    if second_hz:
        samples = np.stack([samples, tone(second_hz, rate)], axis=1)
    while True:
        await sounds.send(Tone(samples, rate))
        await trio.sleep(0.1)


@node
async def pcm_tones(sounds: Out[Pcm], *, hz: float, rate: int) -> None:
    """The same of one channel in 16 bits."""
    while True:
        await sounds.send(Pcm((tone(hz, rate) * 32767).astype(np.int16), rate))
        await trio.sleep(0.1)


@node
async def listener(tones: In[Tone], pcm: In[Pcm]) -> None:
    """Take it all."""
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_drain, tones)
        nursery.start_soon(_drain, pcm)


async def _drain(port: In[Tone] | In[Pcm]) -> None:
    async for _ in port:
        pass
