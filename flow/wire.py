"""Messages to msgpack header and frames, and back; `wire_layout.py` draws them. Bytes in, values out; no sockets.

A receiver trusts nothing: every count, size, dtype and shape is held against limits and the link's message type
before an array is made. Whatever is wrong is a WireError, and nothing else is ever raised.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import msgpack
import numpy as np

from flow.errors import MessageError, WireError
from flow.message import DTYPES, Array, Field, Message, array_problem
from flow.wire_layout import ALIGNMENT, BEGIN, CARRIES_MESSAGE, DIMENSIONS_MAX, FORMAT, PREFIX, Layout, Lookup
from flow.wire_layout import FRAMES_MAX as FRAMES_MAX
from flow.wire_layout import HEADER_MAX as HEADER_MAX
from flow.wire_layout import INLINE_MAX as INLINE_MAX
from flow.wire_layout import Envelope as Envelope
from flow.wire_layout import Frames as Frames
from flow.wire_layout import Kind as Kind
from flow.wire_layout import Schema as Schema

# How many headers are remembered: of a link those found good, and in all those written.
_LAYOUTS_MAX = 64
_TEMPLATES_MAX = 4096
_ZEROS = bytes(ALIGNMENT)
_PACK: Callable[[Any], bytes] = msgpack.Packer().pack
# So many values are read at once, as one list; more of them one by one, since a list in a list in a list may claim
# as many each time.
_LIST_MAX = 32


@dataclass(frozen=True)
class _Template:
    """What the messages of one type have in common whose arrays have the same dtypes and shapes.

    padding: of each array, how many bytes follow it; -1 where it is in a frame of its own. size: bytes of all arrays.
    """

    fields: bytes
    padding: tuple[int, ...]
    size: int


_templates: dict[object, _Template] = {}


def encode(
    kind: Kind, link: int, sequence: int, epoch: int, number: int = 0, message: Message | None = None
) -> tuple[Frames, int]:
    """Frames to send, and the bytes of the message's arrays.

    The frames of large arrays are the arrays' own memory: they must not change until the frames are sent.

    Raises:
      MessageError: a receiver would refuse it.
    """
    if message is None:
        return [PREFIX.pack(FORMAT, kind, 0, 0, link, sequence, epoch, number)], 0
    scalars: list[Any] = []
    arrays: list[Array] = []
    key: list[Any] = [type(message)]
    for spec in message.fields:
        value = getattr(message, spec.name)
        if spec.kind == "scalar":
            scalars.append(float(value) if spec.scalar is float else value)
            continue
        if spec.kind == "table":
            key.append(tuple(value))
        for array in (value,) if spec.kind == "array" else value.values():
            if type(array) is not np.ndarray or not array.flags.c_contiguous or not array.dtype.isnative:
                array = _plain(array)
            arrays.append(array)
            key += array.dtype, array.shape
    template = _templates.get(known := tuple(key)) or _learn(known, message, arrays)
    values = _packed(scalars, message) if scalars else b""
    fields = template.fields
    if len(fields) + len(values) > HEADER_MAX or len(template.padding) >= FRAMES_MAX:
        _hold_to_limits(message, len(fields) + len(values), template.padding.count(-1))
    prefix = PREFIX.pack(FORMAT, kind, len(fields), len(values), link, sequence, epoch, number)
    parts: list[Any] = [prefix, fields, values, _ZEROS[: -(BEGIN + len(fields) + len(values)) % ALIGNMENT]]
    frames: Frames = [b""]
    for array, padding in zip(arrays, template.padding, strict=True):
        if padding < 0:
            frames.append(array.reshape(-1).view(np.uint8).data)
        elif array.nbytes:  # a view with a dimension of 0 has no buffer that `join` takes
            parts.append(array.data)
            if padding:
                parts.append(_ZEROS[:padding])
    frames[0] = b"".join(parts)
    return frames, template.size


def _hold_to_limits(message: Message, header: int, large: int) -> None:
    if header > HEADER_MAX or large >= FRAMES_MAX:
        raise MessageError(
            f"{type(message).__name__}: its texts, names and shapes take {header} bytes and its large arrays {large} "
            f"frames, but {HEADER_MAX} and {FRAMES_MAX - 1} are allowed; send long texts as uint8 arrays, and a long "
            "table as one array or in parts"
        )


def _learn(key: object, message: Message, arrays: list[Array]) -> _Template:
    """The template of messages like this one, from now on remembered."""
    entries: list[list[Any]] = []
    padding: list[int] = []
    offset = large = 0
    left = iter(arrays)
    for spec in message.fields:
        if spec.kind == "scalar":
            entries.append([spec.name])
            continue
        names = (f"{spec.name}/{key}" for key in getattr(message, spec.name)) if spec.kind == "table" else (spec.name,)
        for name in names:
            array = next(left)
            if array.nbytes < INLINE_MAX:
                entries.append([name, array.dtype.name, array.shape, -1 - offset])
                padding.append(-array.nbytes % ALIGNMENT)
                offset += array.nbytes + padding[-1]
            else:
                large += 1
                entries.append([name, array.dtype.name, array.shape, large])
                padding.append(-1)
    if len(_templates) >= _TEMPLATES_MAX:
        _templates.clear()
    size = sum(array.nbytes for array in arrays)
    template = _templates[key] = _Template(_packed(entries, message), tuple(padding), size)
    return template


def _packed(values: Sequence[Any], message: Message | None) -> bytes:
    try:
        return _PACK(values)
    except (OverflowError, UnicodeEncodeError) as error:
        raise MessageError(
            f"{type(message).__name__}: a number has more than 64 bits or a text is no Unicode: {error}"
        ) from error


def _plain(value: Any) -> Array:
    if not isinstance(value, np.ndarray):  # a torch tensor; of a device, it is copied to the host first
        value = value.detach().cpu().numpy()
    array: Array = np.ascontiguousarray(value) if not value.flags.c_contiguous else value
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
        kind, link, sequence, epoch, number, _, _ = _read_prefix(memoryview(frames[0]).cast("B"))
    except (WireError, *_MALFORMED):
        return None
    return Envelope(kind, link, sequence, epoch, number)


def _decode(frames: Sequence[Any], lookup: Lookup) -> Envelope:
    if not 1 <= len(frames) <= FRAMES_MAX:
        raise WireError(f"{len(frames)} frames; expected 1 to {FRAMES_MAX}")
    first = memoryview(frames[0]).cast("B")
    kind, link, sequence, epoch, number, fields_end, begin = _read_prefix(first)
    if kind not in CARRIES_MESSAGE:
        if len(first) > BEGIN or len(frames) > 1:
            raise WireError(f"{kind.name} carries no message, but fields or frames came with it")
        return Envelope(kind, link, sequence, epoch, number)
    schema = lookup(kind, link)
    if schema is None:
        raise WireError(f"no link {link} takes {kind.name}")
    fields = first[BEGIN:fields_end].tobytes()
    layout = schema.layouts.get(fields)
    if layout is None:
        layout = _read_layout(schema, fields, len(first) - _up(begin), frames)
        if len(schema.layouts) >= _LAYOUTS_MAX:
            schema.layouts.clear()
        schema.layouts[fields] = layout
    values = _read_values(layout, first[fields_end:begin].tobytes())
    message = _read_message(schema, layout, values, first, _up(begin), frames)
    return Envelope(kind, link, sequence, epoch, number, message, layout.size)


_KINDS = {int(kind): kind for kind in Kind}


def _up(size: int) -> int:
    return (size + ALIGNMENT - 1) & -ALIGNMENT


def _read_prefix(first: memoryview) -> tuple[Kind, int, int, int, int, int, int]:
    """Kind, link, sequence, epoch, number, and where the fields and the values end."""
    if len(first) < BEGIN:
        raise WireError(f"the first frame has {len(first)} bytes, fewer than its prefix of {BEGIN}")
    version, number_of_kind, fields, values, link, sequence, epoch, number = PREFIX.unpack_from(first)
    if version != FORMAT:
        raise WireError(f"expected a message of format {FORMAT}, found {version}")
    if fields + values > min(HEADER_MAX, len(first) - BEGIN):
        raise WireError(
            f"header of {fields} and {values} bytes; the frame holds {len(first)} and {HEADER_MAX} are allowed"
        )
    if (link | sequence | epoch | number) >> 63:
        raise WireError(f"a prefix's counts have 63 bits, found {(link, sequence, epoch, number)}")
    kind = _KINDS.get(number_of_kind)
    if kind is None:
        raise WireError(f"malformed message: {number_of_kind} is not a valid Kind")
    return kind, link, sequence, epoch, number, BEGIN + fields, BEGIN + fields + values


_LIMITS = {"max_str_len": HEADER_MAX, "max_bin_len": 0, "max_ext_len": 0, "max_map_len": 0}


def _items(raw: bytes) -> list[Any]:
    """The items of a list that may be long, one by one.

    A list is allocated by the length it claims, and lists in lists that each claim 65536 would take 80 MB of a
    header of 5 KB.
    """
    unpacker = msgpack.Unpacker(
        max_buffer_size=HEADER_MAX, read_size=len(raw) or 1, max_array_len=DIMENSIONS_MAX, **_LIMITS
    )
    unpacker.feed(raw)
    items = [unpacker.unpack() for _ in range(unpacker.read_array_header())]
    if unpacker.tell() != len(raw):
        raise WireError(f"a list of {len(items)} items takes {unpacker.tell()} of {len(raw)} bytes")
    return items


def _read_values(layout: Layout, raw: bytes) -> dict[str, Any]:
    """The scalars by name."""
    count = len(layout.scalars)
    if not count and not raw:
        return {}
    values = msgpack.unpackb(raw, max_array_len=count, **_LIMITS) if count <= _LIST_MAX else _items(raw)
    if type(values) is not list or len(values) != count:
        raise WireError(f"expected {count} values, found {values!r:.60}")
    found: dict[str, Any] = {}
    for spec, value in zip(layout.scalars, values, strict=True):
        if spec is not None:
            if type(value) is not spec.scalar:
                raise WireError(f"field {spec.name}: expected {spec}, found {value!r:.60}")
            found[spec.name] = value
    return found


def _read_layout(schema: Schema, raw: bytes, room: int, frames: Sequence[Any]) -> Layout:
    fields = _items(raw)
    specs = {spec.name: spec for spec in schema.message.fields}
    tables = tuple(spec.name for spec in schema.message.fields if spec.kind == "table")
    scalars: list[Field | None] = []
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
            if len(entry) == 1:
                scalars.append(None)
            continue
        if (name in seen and spec.kind != "table") or (key and spec.kind != "table"):
            raise WireError(f"field {entry[0]} came twice or is no table")
        seen.add(name)
        if spec.kind == "scalar":
            if len(entry) != 1:
                raise WireError(f"field {spec.name}: expected {spec}, found {entry[1:]!r:.60}")
            scalars.append(spec)
            continue
        dtype, shape, nbytes = _read_array(spec, entry, bound)
        frame, offset = max(entry[3], 0), -1 - entry[3]
        if frame:
            if frame >= len(frames) or frame in used:
                raise WireError(f"field {spec.name}: frame {frame} of {len(frames)} is not there or already used")
            used.add(frame)
            _frame(spec.name, frames, frame, nbytes)
        elif offset < 0 or offset % ALIGNMENT or offset + nbytes > room:
            raise WireError(f"field {spec.name}: bytes {offset} to {offset + nbytes} of {room}")
        else:
            inline = max(inline, offset + nbytes)
        arrays.append((name, key if spec.kind == "table" else None, dtype, shape, nbytes, frame, offset))
        size += nbytes
    missing = specs.keys() - seen
    if missing:
        raise WireError(f"{schema.message.__name__} without field {', '.join(sorted(missing))}")
    return Layout(tuple(scalars), tuple(arrays), tables, inline, size)


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


def _read_message(
    schema: Schema, layout: Layout, values: dict[str, Any], first: memoryview, begin: int, frames: Sequence[Any]
) -> Message:
    """values: of the scalars, to which the arrays are added. begin: where the small arrays do."""
    if layout.inline > len(first) - begin:
        raise WireError(f"{layout.inline} bytes of arrays by the header, {len(first) - begin} behind it")
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
