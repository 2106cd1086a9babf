"""What the nodes of this family say to each other, from a file's name to what is stored of it."""

from __future__ import annotations

from typing import Annotated

from jaxtyping import Float32, Float64, Int64, UInt8

from flow import Array, Message, Range


class Listed(Message):
    """A video file of a data set, and its class."""

    path: str
    name: str
    """Class folder and file, or whatever its list calls it."""
    label: int
    """Its class, from 0."""
    task: int
    """Of which data set it is a class, from 0."""
    part: str
    """"train" or "test"."""


class Video(Message):
    """A video file, and what is to be made of it: both decide its key."""

    path: str
    name: str
    label: int
    task: int
    part: str
    key: str
    """32 hexadecimal digits, of the file's bytes and of what is made of them; "" where there are no more files."""
    side: Annotated[int, Range(1, 8192)]
    """Its smallest side after resizing, in pixels."""
    flow: str
    """Method of optical flow."""
    both_ways: bool
    """Whether flow is also computed backwards, from each frame to the one before."""
    quality: Annotated[int, Range(1, 100)]
    """Of the JPEG images that are stored."""


class Next(Message, repeatable=True):
    """Asks for a file to decode."""

    decoder: Int64[Array, "rows"]
    """Number of the replica that asks."""
    start: Int64[Array, "rows"]
    """How many starts it had before; after one more, the file in its hands is taken to have ended it."""
    number: Int64[Array, "rows"]
    """How many files it has been given. The same number again means that no answer came."""


class Frames(Message):
    """Frames of a video in a row. They say all that is needed of their video, so that anyone can work on any of them.

    Where `start` is above 0 the first frame is also the last of the message before: flow goes from frame to frame.
    """

    key: str
    name: str
    label: int
    task: int
    part: str
    flow: str
    both_ways: bool
    quality: Annotated[int, Range(1, 100)]
    frames: UInt8[Array, "frames height width 3"]
    """RGB."""
    times: Float64[Array, "frames"]
    """Seconds since the video's first frame; their distances differ where its frame rate does."""
    start: int
    """Which frame of the video the first one is."""
    total: int
    """How many frames the video has, in its last message; 0 before that."""
    problem: str
    """Why the video cannot be used, in its last message; "" if it can."""


class Flows(Message):
    """The frames, and optical flow from each to the next."""

    key: str
    name: str
    label: int
    task: int
    part: str
    quality: Annotated[int, Range(1, 100)]
    frames: UInt8[Array, "frames height width 3"]
    times: Float64[Array, "frames"]
    forward: Float32[Array, "pairs 2 height width"]
    """Displacement (x, y) in pixels from frame k to frame k+1, at the pixel of frame k."""
    backward: Float32[Array, "pairs_back 2 height width"]
    """The same from frame k+1 to frame k, at the pixel of frame k+1; no rows where it is not asked for."""
    start: int
    total: int
    problem: str


class Pieces(Message):
    """Values of a record, packed: what `nodes.video.store:store` puts into a dataset."""

    key: str
    name: str
    label: int
    task: int
    part: str
    values: dict[str, UInt8[Array, "..."]]
    """By column, its values one after the other."""
    sizes: dict[str, Int64[Array, "..."]]
    """By column, the bytes of each."""
    first: dict[str, Int64[Array, "..."]]
    """By column, (1,): the number of the first."""
    counts: dict[str, Int64[Array, "..."]]
    """By column, (1,): how many the whole record has; no columns before its last message."""
    problem: str
