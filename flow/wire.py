"""Messages to msgpack header and frames, and back. Bytes in, values out; no sockets.

    frame 0    4-byte length of the header │ header (msgpack) │ small arrays, each at a multiple of 8
    frame 1…   one large array each, sent without a copy

The header is a list: format, kind, link, sequence, epoch of the sender, a number whose meaning is the kind's, and
the fields. An array is [name, dtype, shape, where]: the number of its frame, or minus one minus its offset behind
the header. A scalar is [name, value].

A receiver trusts nothing: every count, size, dtype and shape is held against limits and the link's message type
before an array is made. Whatever is wrong is a WireError, and nothing else is ever raised.
"""

from __future__ import annotations

import functools
import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import msgpack
import numpy as np

from flow.errors import MessageError, WireError
from flow.message import DTYPES, Array, Field, Message, Sizes, array_problem

FORMAT = 1
HEADER_MAX = 64 * 1024
FRAMES_MAX = 1024
DIMENSIONS_MAX = 16
# Below this an array travels behind the header: one more frame costs about as much as copying 64 KiB
# (4 µs a frame, both ends together).
INLINE_MAX = 64 * 1024
_LENGTH = struct.Struct("<I")
_ALIGNMENT = 8
_ZEROS = bytes(_ALIGNMENT)
_PACKER = msgpack.Packer()
_PACK: Callable[[Any], bytes] = _PACKER.pack
_LIST_OF_7 = b"\x97"  # msgpack's first byte of such a list
# Of a link, how many headers that were found good are remembered.
_LAYOUTS_MAX = 64


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

    values: of scalars. arrays: the field, the key where it is a table, dtype, shape, bytes, and the frame that
    holds them, or 0 and the offset in the first. inline, size: bytes behind the header, and in all.
    """

    values: dict[str, Any]
    arrays: tuple[tuple[str, str | None, Any, tuple[int, ...], int, int, int], ...]
    tables: tuple[str, ...]
    inline: int
    size: int


Frames = list[Any]
Lookup = Callable[[Kind, int], Schema | None]


def encode(
    kind: Kind, link: int, sequence: int, epoch: int, number: int = 0, message: Message | None = None
) -> tuple[Frames, int]:
    """Frames to send, and the bytes of the message's arrays.

    The frames of large arrays are the arrays' own memory: they must not change until the frames are sent.

    Raises:
      MessageError: a receiver would refuse it.
    """
    entries: list[bytes] = []
    inline: list[Any] = []
    large: list[Any] = []
    offset = size = 0
    for spec in message.fields if message is not None else ():
        value = getattr(message, spec.name)
        if spec.kind == "scalar":
            entries.append(_packed([spec.name, float(value) if spec.scalar is float else value], message))
            continue
        for name, array in _arrays(spec, value):
            nbytes = array.nbytes
            size += nbytes
            if nbytes < INLINE_MAX:
                entries.append(_entry(name, array.dtype, array.shape, -1 - offset))
                padding = -nbytes % _ALIGNMENT
                # A view with a dimension of 0 has no buffer that `join` takes.
                inline.append(array.data if nbytes else b"")
                if padding:
                    inline.append(_ZEROS[:padding])
                offset += nbytes + padding
            else:
                large.append(array.reshape(-1).view(np.uint8).data)
                entries.append(_entry(name, array.dtype, array.shape, len(large)))
    # The parts of one msgpack list: its numbers, and behind them the list of fields, whose parts are remembered.
    numbers = _packed((FORMAT, int(kind), link, sequence, epoch, number), message)
    header = b"".join((_LIST_OF_7, numbers[1:], _PACKER.pack_array_header(len(entries)), *entries))
    if len(header) > HEADER_MAX - _ALIGNMENT or len(large) >= FRAMES_MAX:
        raise MessageError(
            f"{type(message).__name__}: its texts, names and shapes take {len(header)} bytes and its large arrays "
            f"{len(large)} frames, but {HEADER_MAX} and {FRAMES_MAX - 1} are allowed; send long texts as uint8 arrays, "
            "and a long table as one array or in parts"
        )
    padding = -(len(header) + _LENGTH.size) % _ALIGNMENT
    first = b"".join((_LENGTH.pack(len(header) + padding), header, _ZEROS[:padding], *inline))
    return [first, *large], size


def _packed(values: Sequence[Any], message: Message | None) -> bytes:
    try:
        return _PACK(values)
    except (OverflowError, UnicodeEncodeError) as error:
        raise MessageError(
            f"{type(message).__name__}: a number has more than 64 bits or a text is no Unicode: {error}"
        ) from error


@functools.lru_cache(maxsize=4096)
def _entry(name: str, dtype: np.dtype[Any], shape: tuple[int, ...], where: int) -> bytes:
    return _PACK([name, dtype.name, shape, where])


def _arrays(spec: Field, value: Any) -> list[tuple[str, Array]]:
    if spec.kind == "array":
        return [(spec.name, _contiguous(value))]
    return [(f"{spec.name}/{key}", _contiguous(value[key])) for key in value]


def _contiguous(value: Any) -> Array:
    if not isinstance(value, np.ndarray):  # a torch tensor; of a device, it is copied to the host first
        value = value.detach().cpu().numpy()
    array: Array = value if value.flags.c_contiguous else np.ascontiguousarray(value)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


# RecursionError: a text that shows lists nested a thousand deep.
_MALFORMED = (
    ValueError, TypeError, OverflowError, KeyError, IndexError, RecursionError, struct.error, msgpack.UnpackException,
)  # fmt: skip


def decode(frames: Sequence[Any], lookup: Lookup) -> Envelope:
    """Read a message that anybody may have sent.

    Args:
      frames: buffers, frame 0 first. Arrays of the result are read-only views of them.
      lookup: the schema of a link for a kind that carries a message; None where there is no such link.

    Raises:
      WireError: the bytes are not a message this link can carry.
    """
    try:
        return _decode(frames, lookup)
    except WireError:
        raise
    except _MALFORMED as error:
        raise WireError(f"malformed message: {type(error).__name__}: {error}") from error


def head(frames: Sequence[Any]) -> Envelope | None:
    """What a message that was refused says of itself, so that its sender need not wait; None if it says nothing."""
    try:
        first = memoryview(frames[0]).cast("B")
        (length,) = _LENGTH.unpack_from(first)
        kind, link, sequence, epoch, number, _ = _read_header(first[_LENGTH.size : _LENGTH.size + length].tobytes())
    except (WireError, *_MALFORMED):
        return None
    return Envelope(kind, link, sequence, epoch, number)


def _decode(frames: Sequence[Any], lookup: Lookup) -> Envelope:
    if not 1 <= len(frames) <= FRAMES_MAX:
        raise WireError(f"{len(frames)} frames; expected 1 to {FRAMES_MAX}")
    first = memoryview(frames[0]).cast("B")
    if len(first) < _LENGTH.size:
        raise WireError(f"the first frame has {len(first)} bytes, fewer than its length field")
    (length,) = _LENGTH.unpack_from(first)
    if length > min(HEADER_MAX, len(first) - _LENGTH.size):
        raise WireError(f"header of {length} bytes; the frame holds {len(first)} and {HEADER_MAX} are allowed")
    kind, link, sequence, epoch, number, fields = _read_header(first[_LENGTH.size : _LENGTH.size + length].tobytes())
    if kind not in CARRIES_MESSAGE:
        if fields != _NO_FIELDS or len(frames) > 1:
            raise WireError(f"{kind.name} carries no message, but fields or frames came with it")
        return Envelope(kind, link, sequence, epoch, number)
    schema = lookup(kind, link)
    if schema is None:
        raise WireError(f"no link {link} takes {kind.name}")
    layout = schema.layouts.get(fields)
    if layout is None:
        layout = _read_layout(schema, fields, len(first) - _LENGTH.size - length, frames)
        if len(schema.layouts) >= _LAYOUTS_MAX:
            schema.layouts.clear()
        schema.layouts[fields] = layout
    message = _read_message(schema, layout, first, _LENGTH.size + length, frames)
    return Envelope(kind, link, sequence, epoch, number, message, layout.size)


_NO_FIELDS = b"\x90"
_KINDS = {int(kind): kind for kind in Kind}


def _unpacker(raw: bytes) -> msgpack.Unpacker:
    # The two lists that may be long are read item by item: a list is allocated by the length it claims, and lists in
    # lists that each claim 65536 would take 80 MB of a header of 5 KB.
    unpacker = msgpack.Unpacker(
        max_buffer_size=HEADER_MAX,
        read_size=len(raw) or 1,
        max_str_len=HEADER_MAX,
        max_bin_len=0,
        max_ext_len=0,
        max_map_len=0,
        max_array_len=DIMENSIONS_MAX,
    )
    unpacker.feed(raw)
    return unpacker


def _read_header(raw: bytes) -> tuple[Kind, int, int, int, int, bytes]:
    """The numbers, and the bytes of the list of fields."""
    unpacker = _unpacker(raw)
    length = unpacker.read_array_header()
    if length != 7:
        raise WireError(f"expected a header of 7 values, found {length}")
    numbers = [unpacker.unpack() for _ in range(6)]
    if numbers[0] != FORMAT:
        raise WireError(f"expected a header of format {FORMAT}, found {numbers[0]!r:.60}")
    if any(type(value) is not int or not 0 <= value < 1 << 63 for value in numbers):
        raise WireError(f"a header's values are counts, found {numbers[1:]!r:.100}")
    kind = _KINDS.get(numbers[1])
    if kind is None:
        raise WireError(f"malformed message: {numbers[1]} is not a valid Kind")
    begin = unpacker.tell()
    for _ in range(unpacker.read_array_header()):
        unpacker.skip()
    return kind, numbers[2], numbers[3], numbers[4], numbers[5], raw[begin : unpacker.tell()]


def _read_layout(schema: Schema, raw: bytes, room: int, frames: Sequence[Any]) -> Layout:
    unpacker = _unpacker(raw)
    fields = [unpacker.unpack() for _ in range(unpacker.read_array_header())]
    specs = {spec.name: spec for spec in schema.message.fields}
    tables = tuple(spec.name for spec in schema.message.fields if spec.kind == "table")
    values: dict[str, Any] = {}
    arrays: list[tuple[str, str | None, Any, tuple[int, ...], int, int, int]] = []
    bound = dict(schema.sizes)
    seen: set[str] = set(tables)
    used: set[int] = set()
    inline = size = 0
    for entry in fields:
        if type(entry) is not list or not entry or type(entry[0]) is not str:
            raise WireError(f"a field is a list that begins with its name, found {entry!r:.60}")
        name, _, key = entry[0].partition("/")
        spec = specs.get(name)
        if spec is None:  # the sender's type has more fields than this port reads
            continue
        if (name in seen and spec.kind != "table") or (key and spec.kind != "table"):
            raise WireError(f"field {entry[0]} came twice or is no table")
        seen.add(name)
        if spec.kind == "scalar":
            values[name] = _read_scalar(spec, entry)
            continue
        dtype, shape, nbytes = _read_array(spec, entry, bound)
        frame, offset = max(entry[3], 0), -1 - entry[3]
        if frame:
            if frame >= len(frames) or frame in used:
                raise WireError(f"field {spec.name}: frame {frame} of {len(frames)} is not there or already used")
            used.add(frame)
            _frame(spec.name, frames, frame, nbytes)
        elif offset < 0 or offset % _ALIGNMENT or offset + nbytes > room:
            raise WireError(f"field {spec.name}: bytes {offset} to {offset + nbytes} of {room}")
        else:
            inline = max(inline, offset + nbytes)
        arrays.append((name, key if spec.kind == "table" else None, dtype, shape, nbytes, frame, offset))
        size += nbytes
    missing = specs.keys() - seen
    if missing:
        raise WireError(f"{schema.message.__name__} without field {', '.join(sorted(missing))}")
    return Layout(values, tuple(arrays), tables, inline, size)


def _read_scalar(spec: Field, entry: list[Any]) -> Any:
    if len(entry) != 2 or type(entry[1]) is not spec.scalar:
        raise WireError(f"field {spec.name}: expected {spec}, found {entry[1:]!r:.60}")
    return entry[1]


def _read_array(spec: Field, entry: list[Any], bound: dict[str, int]) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    if len(entry) != 4 or entry[1] not in DTYPES or type(entry[2]) is not list or type(entry[3]) is not int:
        raise WireError(f"field {spec.name}: an array is name, dtype, shape and place, found {entry!r:.80}")
    _, dtype_name, shape, _ = entry
    if len(shape) > DIMENSIONS_MAX or any(type(n) is not int or not 0 <= n < 1 << 48 for n in shape):
        raise WireError(f"field {spec.name}: {shape!r:.60} is no shape")
    problem = array_problem(spec, dtype_name, tuple(shape), bound)
    if problem:
        raise WireError(f"field {spec.name}: {problem}")
    dtype = np.dtype(dtype_name)
    return dtype, tuple(shape), math.prod(shape) * dtype.itemsize


def _frame(name: str, frames: Sequence[Any], number: int, nbytes: int) -> memoryview:
    if number >= len(frames):
        raise WireError(f"field {name}: frame {number} of {len(frames)} is not there or already used")
    raw = memoryview(frames[number]).cast("B")
    if len(raw) != nbytes:
        raise WireError(f"field {name}: {nbytes} bytes by its shape, but frame {number} holds {len(raw)}")
    return raw


def _read_message(schema: Schema, layout: Layout, first: memoryview, begin: int, frames: Sequence[Any]) -> Message:
    if layout.inline > len(first) - begin:
        raise WireError(f"{layout.inline} bytes of arrays by the header, {len(first) - begin} behind it")
    values = dict(layout.values)
    for name in layout.tables:
        values[name] = {}
    for name, key, dtype, shape, nbytes, frame, offset in layout.arrays:
        raw, start = first, begin + offset
        if frame:
            raw, start = _frame(name, frames, frame, nbytes), 0
        # Over the frame itself: a slice of it would be one more object that each array keeps.
        array: Array = np.ndarray(shape, dtype, raw, start)
        array.setflags(write=False)
        if key is None:
            values[name] = array
        else:
            values[name][key] = array
    message = schema.message.__new__(schema.message)
    message.__dict__.update(values)  # a frozen dataclass's own __init__ takes a third of decoding's time
    return message
