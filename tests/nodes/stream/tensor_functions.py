"""A function of torch tensors, for tests of functions as nodes."""

from jaxtyping import Float32

from flow import Message, Tensor


class Sound(Message):
    samples: Float32[Tensor, "time"]


def halved(sound: Sound) -> Sound:
    return Sound(sound.samples / 2)
