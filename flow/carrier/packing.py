"""Frames of a message that goes to another host, compressed.

    u8 codec, 7 unused, u64 bytes when unpacked, the packed bytes        of each frame; codec 0: as it was

A frame that does not get smaller travels as it is. Who unpacks knows how large the result may be before it is made.
"""

from __future__ import annotations

import struct
from typing import Any

import lz4.frame

from flow.carrier.codecs import CODECS
from flow.carrier.inbox import FRAME_BYTES_MAX
from flow.errors import WireError
from flow.wire import Frames

# As long as keeps what follows aligned.
HEAD = struct.Struct("<B7xQ")
# Below this a packed frame saves less than the call costs.
PACKED_MIN = 512
_AS_IT_WAS = 0
# What a byte can stand for at most: a match that goes on by 255; a block of 128 KiB that repeats one byte, in four.
_RATIO_MAX = {"lz4": 255, "zstd": 1 << 15}
_NUMBERS = {codec: number for number, codec in enumerate(CODECS, 1)}
# Its own default; higher levels take several times as long for a few percent.
_ZSTD_LEVEL = 3


class ToPack(list[Any]):
    """The frames of a message whose edge is compressed where it leaves the host. codec: with what."""

    def __init__(self, frames: Frames, codec: str) -> None:
        super().__init__(frames)
        self.codec = codec


def pack(frames: ToPack) -> Frames:
    """The frames as they travel."""
    return [_pack_one(memoryview(frame).cast("B"), frames.codec) for frame in frames]


def _pack_one(frame: memoryview, codec: str) -> bytes:
    if len(frame) >= PACKED_MIN:
        packed = _compress(frame, codec)
        if len(packed) < len(frame):
            return HEAD.pack(_NUMBERS[codec], len(frame)) + packed
    return HEAD.pack(_AS_IT_WAS, len(frame)) + frame


def unpack(frames: Frames) -> Frames:
    """The frames as they were.

    Raises:
      WireError: they were not packed so.
    """
    return [_unpack_one(memoryview(frame).cast("B")) for frame in frames]


def _unpack_one(frame: memoryview) -> Any:
    if len(frame) < HEAD.size:
        raise WireError(f"a packed frame of {len(frame)} bytes")
    number, size = HEAD.unpack_from(frame)
    body = frame[HEAD.size :]
    if number == _AS_IT_WAS and size == len(body):
        return body
    if not 1 <= number <= len(CODECS) or size > min(FRAME_BYTES_MAX, _RATIO_MAX[CODECS[number - 1]] * len(body)):
        raise WireError(f"{len(body)} bytes of codec {number} say that they hold {size}")
    found = _decompress(body, CODECS[number - 1], size)
    if len(found) != size:
        raise WireError(f"a packed frame says it holds {size} bytes, and holds {len(found)}")
    return found


def _compress(frame: memoryview, codec: str) -> bytes:
    if codec == "lz4":
        packed: bytes = lz4.frame.compress(frame)
        return packed
    import zstandard  # an extra: `flow check` has said so where it is missing

    return zstandard.ZstdCompressor(level=_ZSTD_LEVEL).compress(frame)


def _decompress(body: memoryview, codec: str, size: int) -> bytes:
    """What the codecs' own headers must agree to: they make as much room as those claim."""
    if codec == "lz4":
        try:
            if lz4.frame.get_frame_info(body)["content_size"] != size:
                raise WireError(f"a packed frame of lz4 says that it does not hold {size} bytes")
            found: bytes = lz4.frame.decompress(body)
        except (RuntimeError, EOFError) as error:
            raise WireError(f"a packed frame is no lz4: {error}") from error
        return found
    import zstandard

    try:
        if zstandard.frame_content_size(body) != size:
            raise WireError(f"a packed frame of zstd says that it does not hold {size} bytes")
        return zstandard.ZstdDecompressor().decompress(body)
    except zstandard.ZstdError as error:
        raise WireError(f"a packed frame is no zstd: {error}") from error
