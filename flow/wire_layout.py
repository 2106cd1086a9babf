"""The form of a message on the wire: what `wire.py` writes and reads.

    frame 0    prefix (48 bytes) │ fields (msgpack) │ values (msgpack) │ small arrays, each at a multiple of 8
    frame 1…   one large array each, sent without a copy

The prefix says format, kind, how long fields and values are, link, sequence, epoch of the sender, and a number whose
meaning is the kind's. A field is [name, dtype, shape, where] of an array, where: the number of its frame, or minus one
minus its offset among the small arrays; or [name] of a scalar, whose value is the next of the values. So messages
that differ in values alone have the same fields, and what those say is worked out once, at both ends.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from flow.message import Field, Message, Sizes

FORMAT = 2
HEADER_MAX = 64 * 1024
FRAMES_MAX = 1024
DIMENSIONS_MAX = 16
# Below this an array travels behind the header: one more frame costs about as much as copying 64 KiB
# (4 µs a frame, both ends together).
INLINE_MAX = 64 * 1024
# Format, kind, bytes of fields, bytes of values, link, sequence, epoch, number.
PREFIX = struct.Struct("<BB2xII4xQQQQ")
BEGIN = PREFIX.size
ALIGNMENT = 8


class Kind(IntEnum):
    """What a message on the wire is. The header's number is given in brackets."""

    DATA = 0  # a message of a stream
    END = 1  # a stream's end [0]
    CREDIT = 2  # the receiver took messages in hand [how many]; the sequence field holds their bytes
    QUESTION = 3  # of a call [request]
    ANSWER = 4  # of a call [request]
    FAILURE = 5  # a call will not be answered [request]; the sequence field is 1 if the server ended for good
    NEWEST = 6  # a published value [version]; the sequence field holds the publisher's generation
    SEEN = 7  # the receiver has the published value [version]
    BARRIER = 8  # a checkpoint cuts a stream here [attempt]


CARRIES_MESSAGE = frozenset((Kind.DATA, Kind.QUESTION, Kind.ANSWER, Kind.NEWEST))


@dataclass(slots=True)
class Envelope:
    """A decoded message with what stood around it. size: bytes of its arrays."""

    kind: Kind
    link: int
    sequence: int
    epoch: int
    number: int
    message: Message | None = None
    size: int = 0


@dataclass(frozen=True)
class Schema:
    """What a link may carry: a message type, and the sizes that settings of the receiving node fix.

    layouts: what fields' headers that were found good say, by their bytes. A stream repeats few of them.
    """

    message: type[Message]
    sizes: Sizes
    layouts: dict[bytes, Layout] = field(default_factory=dict, repr=False, compare=False)


@dataclass(frozen=True)
class Layout:
    """What the header of a message's fields says, held against the schema already.

    scalars: the field of each value, None for one this end does not read. arrays: the field, the key where it is a
    table, dtype, shape, bytes, and the frame that holds them, or 0 and the offset among the small arrays. inline,
    size: bytes behind the header, and in all.
    """

    scalars: tuple[Field | None, ...]
    arrays: tuple[tuple[str, str | None, Any, tuple[int, ...], int, int, int], ...]
    tables: tuple[str, ...]
    inline: int
    size: int


Frames = list[Any]
Lookup = Callable[[Kind, int], Schema | None]
