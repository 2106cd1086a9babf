"""What is said of videos and their classes: by samplers to learners, by networks to what fuses them."""

from __future__ import annotations

from jaxtyping import Bool, Float32, Int64, UInt8

from flow import Array, Message


class Volumes(Message):
    """Inputs of a network as they were stored, in bytes, and what each channel's bytes mean.

    A value is `scale * byte + shift`, each by row and channel. So mean subtraction, mirrored flow and colour noise
    change two numbers a channel, and a message is a quarter of what it would be in float32.
    """

    bytes: UInt8[Array, "rows channels height width"]
    scale: Float32[Array, "rows channels"]
    shift: Float32[Array, "rows channels"]
    label: Int64[Array, "rows"]
    """The class, from 0."""
    task: Int64[Array, "rows"]
    """Of which data set it is a class: the head of the network that is asked."""
    video: Int64[Array, "rows"]
    """The number of the video in its list, from 0."""
    test: Bool[Array, "rows"]
    """The video is held out."""
    views: Int64[Array, "rows"]
    """How many rows, of this and other messages, are of this video in this pass."""


class Stored(Message):
    """A video that lies whole in the dataset."""

    key: str
    """32 hexadecimal digits: of what it was made, and how."""
    name: str
    """Class folder and file, or whatever its list calls it."""
    label: int
    task: int
    part: str
    """"train" or "test"."""


class Scores(Message):
    """What a network makes of a video, all views together."""

    video: int
    """Its number in its list."""
    label: int
    task: int
    test: bool
    """It was held out."""
    scores: Float32[Array, "classes"]
    """The mean of the softmax over its views."""
